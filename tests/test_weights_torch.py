"""Weights of torchvision and timm: their logits, and why some cannot be taken."""

import gzip
import json
import re
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unallocated import unallocated

from keras_resnet import UsageError, create_model, weights
from keras_resnet.catalogue import build_model
from keras_resnet.weights.assign import weights_of

GOLDEN = Path(__file__).parent / "golden"
RECORDED = json.loads(gzip.decompress((GOLDEN / "torch.json.gz").read_bytes()))


def not_in_torchvision(name: str) -> bool:
    """Whether timm's network has other names, or torchvision none."""
    return RECORDED["timm"][name] != RECORDED["torchvision"].get(name)


CASES = [
    (library, name)
    for library in ("torchvision", "timm")
    for name in RECORDED[library]
    if name != "googlenet" and (library == "torchvision" or not_in_torchvision(name))
]


@lru_cache(maxsize=2)  # the first dense layers of all VGGs, drawn once
def drawn_once(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return draw(name, shape)


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """As in make_torch_golden.py, which cannot be imported without torch."""
    return (drawn_once if np.prod(shape) > 1e7 else draw)(name, shape)


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    import zlib

    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, "int64")
    if len(shape) < 2:
        spread = rng.random(shape, "float32")
        if name.endswith("running_var"):
            return spread + np.float32(0.5)
        return spread / 2 if name.endswith("weight") else (spread - 0.5) / 5
    fan_in = int(np.prod(shape[1:]))
    return rng.standard_normal(shape, "float32") * np.float32((2 / fan_in) ** 0.5)


def image() -> np.ndarray:
    y, x = np.mgrid[:224, :224].astype("float32") / 32
    return np.stack(
        [np.sin(x + c) * np.cos((c + 1) * y / 2) for c in range(3)], axis=-1
    )[None]


def state_dict(library: str, name: str) -> dict[str, np.ndarray]:
    parameters = RECORDED[library][name]["parameters"]
    return {key: drawn(key, tuple(shape)) for key, shape in parameters.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("library", "name"), CASES)
def test_logits_are_theirs(library: str, name: str, undrawn: None) -> None:
    model = create_model(name)
    weights.load_torch(model, state_dict(library, name))
    recorded = RECORDED[library][name]
    logits = np.asarray(model(image(), training=False))[0]
    assert np.abs(logits).max() == pytest.approx(recorded["largest"], rel=1e-4)
    np.testing.assert_allclose(
        logits[: len(recorded["logits"])],
        recorded["logits"],
        rtol=0,
        atol=1e-4 * recorded["largest"],
    )


@pytest.mark.slow
def test_layers_within_others_are_found() -> None:
    """So are DenseNet's published names, which torchvision's densenet.py renames."""
    name, two_stages = "densenet121", {"depths": (6, 12), "input_shape": (32, 32, 3)}
    plain = create_model(name, **two_stages)
    nested = create_model(name, memory_efficient=True, **two_stages)
    last = re.compile(r"norm5|classifier.weight")  # read the second stage's channels
    state = {
        key: value[..., :512] if last.search(key) else value
        for key, value in state_dict("torchvision", name).items()
        if not re.search(r"denseblock[34]|transition[23]|num_batches_tracked", key)
    }
    weights.load_torch(plain, state)
    published = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value
        for key, value in state.items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in published
    weights.load_torch(nested, published)
    expected = weights_of(plain)
    for path, variable in weights_of(nested).items():
        np.testing.assert_array_equal(variable, expected.pop(path), err_msg=path)
    assert not expected


def test_every_network_that_they_have_is_recorded() -> None:
    names = set(RECORDED["torchvision"]) | set(RECORDED["timm"])
    assert {f"vgg{d}{bn}" for d in (11, 13, 16, 19) for bn in ("", "_bn")} <= names
    assert {f"densenet{d}" for d in (121, 161, 169, 201)} <= names
    assert {"resnet18", "resnet34", "resnext101_32x4d", "alexnet_one_tower"} <= names


class Tensor:
    """What ``load_torch`` uses of a tensor in bfloat16."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = value

    def detach(self) -> "Tensor":
        return self

    cpu = float = detach

    def numpy(self) -> np.ndarray:
        return self.value


TINY: dict[str, Any] = {"depths": (1,), "input_shape": (32, 32, 3)}


def tiny_state(classes: int = 1000) -> dict[str, np.ndarray]:
    """A ResNet of one basic unit."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)}
    shapes |= {f"layer1.0.conv{i}.weight": (64, 64, 3, 3) for i in (1, 2)}
    for norm in ("bn1", "layer1.0.bn1", "layer1.0.bn2"):
        for kind in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{kind}"] = (64,)
        shapes[f"{norm}.num_batches_tracked"] = ()
    shapes |= {"fc.weight": (classes, 64), "fc.bias": (classes,)}
    return {name: drawn(name, shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("prefix", "keys"),
    [
        ("", ()),
        ("module.", ("state_dict",)),
        ("_orig_mod.", ("model_state_dict",)),
        ("model.", ("model_ema",)),
        ("module._orig_mod.", ("net",)),
        ("model._orig_mod.", ()),
        ("", ("net",)),
    ],
)
def test_tensors_and_wrapped_names_are_taken(
    prefix: str, keys: tuple[str, ...]
) -> None:
    model = create_model("resnet18", **TINY)
    state = tiny_state()
    wrapped: dict[str, Any] = {f"{prefix}{n}": Tensor(v) for n, v in state.items()}
    wrapped["n_averaged"] = Tensor(np.array(3))  # of PyTorch's AveragedModel
    for key in keys:
        wrapped = {key: wrapped, "epoch": 3, "optimizer": {"lr": 0.1}}
    weights.load_torch(model, wrapped)
    kernel = np.asarray(model.get_layer("stem_conv").kernel)
    np.testing.assert_array_equal(kernel, state["conv1.weight"].transpose(2, 3, 1, 0))


@pytest.mark.slow
def test_pth_files_are_read_and_nothing_in_them_runs(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs residual-keras[torch]")
    path = tmp_path / "model.pth"
    state = tiny_state()
    tensors = {name: torch.from_numpy(value) for name, value in state.items()}
    tensors["conv1.weight"] = tensors["conv1.weight"].bfloat16()
    torch.save({"state_dict": tensors}, path)
    model = create_model("resnet18", weights=path, **TINY)
    kernel = np.asarray(model.get_layer("stem_conv").kernel).transpose(3, 2, 0, 1)
    np.testing.assert_allclose(kernel, state["conv1.weight"], rtol=2**-8)
    dense = np.asarray(model.get_layer("logits").kernel)
    np.testing.assert_array_equal(dense, state["fc.weight"].T)

    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(UsageError, match="it is not a state dict or is damaged"):
        create_model("resnet18", weights=path, **TINY)


def test_two_networks_in_one_state_dict_are_refused() -> None:
    model = create_model("resnet18", **TINY)
    state = tiny_state()
    both = {**state, **{f"model.{name}": value for name, value in state.items()}}
    message = "must hold one network, got 'conv1.weight' and 'model.conv1.weight'"
    with pytest.raises(UsageError, match=message):
        weights.load_torch(model, both)


@pytest.mark.parametrize(
    "fields",
    [
        {"order": "relu_before_addition"},
        {"skip": "constant_scaling"},
        {"shortcut": "none"},
    ],
    ids=str,
)
def test_another_function_is_refused(fields: dict[str, Any]) -> None:
    model = create_model("resnet18", **TINY, **fields)
    before = model.get_weights()
    with pytest.raises(
        UsageError, match=r"dict must come from a network that computes what resnet18"
    ):
        weights.load_torch(model, tiny_state())
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_branches_that_are_dropped_in_training_answer_the_same() -> None:
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    logits = []
    for survival in (1.0, 0.5):
        model = create_model("resnet18", survival=survival, **TINY)
        weights.load_torch(model, tiny_state())
        logits.append(np.asarray(model(images, training=False)))
    np.testing.assert_allclose(*logits, rtol=0, atol=1e-5 * np.ptp(logits[0]))


def test_other_classes_keep_a_fresh_head() -> None:
    model = create_model("resnet18", classes=5, **TINY)
    head = np.array(model.get_layer("logits").kernel)
    with pytest.warns(UserWarning, match="no head for 5 classes: resnet18"):
        weights.load_torch(model, tiny_state())
    np.testing.assert_array_equal(model.get_layer("logits").kernel, head)
    assert np.any(model.get_layer("stage1_block1_norm2").moving_mean)


def test_features_need_no_head() -> None:
    model = create_model("resnet18", classes=0, **TINY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weights.load_torch(model, tiny_state())
    assert np.any(model.get_layer("stage1_block1_norm2").moving_mean)


def test_mismatch_is_a_short_diff_and_changes_nothing() -> None:
    model = create_model("resnet18", **TINY)
    before = {name: np.array(v) for name, v in weights_of(model).items()}
    state = tiny_state()
    del state["layer1.0.bn2.weight"]
    state["layer1.1.conv1.weight"] = np.zeros((64, 64, 3, 3))
    state["conv1.weight"] = np.zeros((64, 3, 3, 3))
    with pytest.raises(UsageError) as error:
        weights.load_torch(model, state)
    assert str(error.value) == (
        "weights of the state dict must fit resnet18, got 1 missing "
        "(stage1_block1_norm2/gamma (64,)), 1 unknown (layer1.1.conv1.weight "
        "(64, 64, 3, 3)), 1 of a different shape (stem_conv/kernel (3, 3, 3, 64) for "
        "(7, 7, 3, 64))"
    )
    for name, variable in weights_of(model).items():
        np.testing.assert_array_equal(variable, before[name])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("googlenet", {}, "3×3 convolutions where the paper and this network have 5×5"),
        ("resnet50", {"depths": (1, 1)}, "in the first 1×1; load it into a '_v1_5'"),
        ("resnet50_v2", {"depths": (2,)}, "residual networks do not use pre-"),
        ("alexnet", {"hidden": 8}, "one-tower network of 2014; load it into"),
        ("lenet5", {}, "they have no such network"),
        ("highway20_cifar", {"depths": (1,)}, "they have no such network"),
    ],
)
def test_a_network_they_lack_is_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with unallocated():
        model = build_model(name, **options)
    with pytest.raises(UsageError, match=message):
        weights.load_torch(model, {})


@pytest.mark.parametrize("given", ["model.pth", None, {1: np.zeros(1)}, {"a": None}])
def test_what_is_no_state_dict_is_refused(given: Any) -> None:
    model = create_model("resnet18", depths=(1,), input_shape=(32, 32, 3))
    with pytest.raises(UsageError, match="state_dict must map names to"):
        weights.load_torch(model, given)

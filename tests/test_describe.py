"""What is told of a network: the walk, multiply-accumulates, the table for people."""

from typing import Any

import keras
import pytest
from unallocated import unallocated

from keras_resnet import count_macs, count_params, create_model
from keras_resnet.catalogue import build_model
from keras_resnet.describe import describe, layer_macs, network_cost, walk

# He et al., 2015, table 1, column "50-layer": name, output side, units, convolutions of
# a unit (the paper's conv1 is stem, its conv2_x stage1).
TABLE_1 = [
    ("stem", 112, 1, ["7×7 64/2"]),
    ("stem_pool", 56, 1, ["max-pool 3×3/2"]),
    ("stage1", 56, 3, ["1×1 64", "3×3 64", "1×1 256"]),
    ("stage2", 28, 4, ["1×1 128/2", "3×3 128", "1×1 512"]),
    ("stage3", 14, 6, ["1×1 256/2", "3×3 256", "1×1 1024"]),
    ("stage4", 7, 3, ["1×1 512/2", "3×3 512", "1×1 2048"]),
]
TINY = {"input_shape": (5, 6, 3), "classes": 7, "depths": (1, 1)}


@pytest.fixture(scope="module")
def resnet50() -> keras.Model:
    with unallocated():
        return build_model("resnet50")


def test_walk_is_table_1(resnet50: keras.Model) -> None:
    *stages, pool, logits = walk(resnet50)
    assert [
        (
            stage.name,
            stage.output[0],
            stage.units,
            [x for x in stage.unit.split(", ") if "shortcut" not in x],
        )
        for stage in stages
    ] == TABLE_1
    assert [s.output[0] for s in stages] == [s.output[1] for s in stages]
    assert [s.output[2] for s in stages] == [64, 64, 256, 512, 1024, 2048]
    assert (pool.name, pool.unit, pool.output) == ("pool", "average", (2048,))
    assert (logits.name, logits.unit) == ("logits", "dense 1000")
    assert (logits.params, logits.macs) == (2048 * 1000 + 1000, 2048 * 1000)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("resnet20_cifar", {}),
        ("resnet20_cifar", {"survival": 0.5}),
        ("densenet40_k12_cifar", {"memory_efficient": True}),
    ],
)
def test_rows_add_up_to_the_network(name: str, fields: dict[str, Any]) -> None:
    model = create_model(name, **TINY, **fields)
    rows = walk(model)
    assert sum(row.params for row in rows) == count_params(model)
    assert sum(row.macs or 0 for row in rows) == count_macs(model)


def test_table_has_totals(resnet50: keras.Model) -> None:
    title, blank, head, *rows, total = describe(resnet50).splitlines()
    assert title == "resnet50: 224×224×3 → 1000" and not blank
    assert head.split() == ["stage", "output", "units", "parameters", "MACs"]
    assert [row.split()[0] for row in rows] == [row.name for row in walk(resnet50)]
    assert total.split() == ["total", "25,557,032", "3,857,973,248"]
    assert len({len(row) for row in [head, *rows, total]}) == 1  # columns are flush


def test_macs_by_hand() -> None:
    model = create_model("resnet20_cifar", shortcut="B", **TINY)
    by_hand = {
        "stem_conv": 5 * 6 * 9 * 3 * 16,
        "stage1_block1_conv1": 5 * 6 * 9 * 16 * 16,
        "stage1_block1_conv2": 5 * 6 * 9 * 16 * 16,
        "stage2_block1_conv1": 3 * 3 * 9 * 16 * 32,
        "stage2_block1_conv2": 3 * 3 * 9 * 32 * 32,
        "stage2_block1_shortcut": 3 * 3 * 16 * 32,
        "logits": 32 * 7,
    }
    counted = {x.name: layer_macs(x) for x in model.layers if layer_macs(x)}
    assert counted == by_hand
    assert count_macs(model) == sum(by_hand.values())
    # Biases, γ and β are parameters; statistics are not trained.
    norms = 2 * (16 * 3 + 32 * 3)
    kernels = 9 * (3 * 16 + 2 * 16 * 16 + 16 * 32 + 32 * 32) + 16 * 32
    assert count_params(model) == kernels + norms + 32 * 7 + 7


def test_frozen_layers_have_no_trainable_parameters() -> None:
    model = create_model("resnet20_cifar", **TINY)
    whole = count_params(model)
    model.get_layer("logits").trainable = False
    assert count_params(model) == whole - 32 * 7 - 7


@pytest.mark.parametrize("shape", [(None, None, 3), (8, None, 3), (None, 8, 3)])
def test_open_size_has_no_macs(shape: tuple[int | None, int | None, int]) -> None:
    model = create_model("resnet20_cifar", **{**TINY, "input_shape": shape})
    with pytest.raises(ValueError, match=r"need a fixed input size, got \(None, "):
        count_macs(model)
    stem, *_, logits = walk(model)
    assert (stem.macs, logits.macs) == (None, 32 * 7)
    text = describe(model).splitlines()
    assert "?" in text[0]
    assert text[-1].split() == ["total", f"{count_params(model):,}", "?"]


class Classifier(keras.Model):
    def __init__(self, backbone: keras.Model, *, twice: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = keras.layers.Dense(10)
        if twice:
            self.net = keras.Sequential([self.backbone, self.head])
        self(keras.ops.zeros((1, *backbone.input_shape[1:])))

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return self.head(self.backbone(x))


def test_macs_of_a_backbone_within_a_model() -> None:
    backbone = create_model("resnet20_cifar", classes=0, depths=(1, 1))
    image = keras.Input((32, 32, 3))
    head = keras.layers.Dense(10)
    expected = count_macs(backbone) + 32 * 10
    for model in (
        keras.Model(image, head(backbone(image))),
        keras.Sequential([image, backbone, keras.layers.Dense(10)]),
        Classifier(backbone),
        Classifier(backbone, twice=True),
    ):
        assert count_macs(model) == expected


def test_what_a_network_costs_changes_no_setting_of_keras() -> None:
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        network_cost("resnet20_cifar", (("width", 17),), (8, 8, 3), 7)
        assert keras.config.dtype_policy().name == "mixed_float16"
        with keras.StatelessScope():  # allocates at its end what is listed
            pass
    finally:
        keras.config.set_dtype_policy(before)

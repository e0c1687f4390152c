"""Pictures: what they are drawn from, what they say, how they are saved."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import keras
import pytest
from matplotlib.font_manager import FontProperties, findfont, get_font
from PIL import Image
from unallocated import unallocated

from keras_resnet import UsageError, __main__, command, create_model
from keras_resnet.catalogue import build_model
from keras_resnet.families.branch import ORDERS
from keras_resnet.families.ops import STEPS
from keras_resnet.families.residual import SKIPS
from keras_resnet.figures import SUFFIXES, new_figure, save, units, walk, write
from keras_resnet.figures.units import diagram
from keras_resnet.figures.volumes import groups, volumes

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_text_is_in_a_font_that_has_its_characters(suffix: str, tmp_path: Path) -> None:
    """Ⓐ is in a font that comes with matplotlib, cuneiform in hardly any."""
    figure = new_figure(2, 2)
    known, unknown = figure.text(0, 0, "Ⓐ"), figure.text(0, 0.5, "\U00012000")
    save(figure, tmp_path / f"text{suffix}", title="text", text="text")
    fonts = [FontProperties(family=[name]) for name in known.get_fontfamily()]
    assert any(get_font(findfont(font)).get_char_index(ord("Ⓐ")) for font in fonts)
    assert unknown.get_text() == "\U00012000"


def test_volumes_of_a_residual_network() -> None:
    found = volumes(create_model("resnet20_cifar", depths=(2, 2)))
    assert [(v.name, v.shape, v.shortcut) for v in found] == [
        ("image", (32, 32, 3), ""),
        ("stem_conv", (32, 32, 16), ""),
        ("stage1_block1", (32, 32, 16), "identity"),
        ("stage1_block2", (32, 32, 16), "identity"),
        ("stage2_block1", (16, 16, 32), "zero-padded"),
        ("stage2_block2", (16, 16, 32), "identity"),
        ("pool", (32,), ""),
        ("logits", (10,), ""),
    ]
    assert found[4].layers == ("3×3 32/2", "3×3 32")
    names = [(group.name, group.count) for group in groups(found)]
    assert names[2:4] == [("stage1", 2), ("stage2", 2)]


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({"shortcut": "B"}, ["identity", "projection"]),
        ({"shortcut": "C"}, ["projection", "projection"]),
        ({"survival": 0.5}, ["identity", "zero-padded"]),
    ],
)
def test_shortcuts_are_told_apart(fields: dict[str, object], kinds: list[str]) -> None:
    found = volumes(create_model("resnet20_cifar", depths=(1, 1), **fields))
    assert [v.shortcut for v in found if v.shortcut] == kinds


def test_plain_and_highway_networks() -> None:
    plain = volumes(create_model("plain20_cifar", depths=(1, 1)))
    assert not any(v.shortcut for v in plain)
    highway = volumes(create_model("highway20_cifar", depths=(1, 2)))
    assert [v.shortcut for v in highway[2:5]] == ["identity", "", "identity"]


def test_long_stages_are_shortened() -> None:
    found = volumes(create_model("densenet40_k12_cifar", depths=(7, 2)))
    stage = next(g for g in groups(found) if g.name == "stage1")
    assert stage.count == 7
    assert [v and v.name for v in stage.shown] == [
        "stage1_layer1",
        "stage1_layer2",
        "stage1_layer3",
        "stage1_layer4",
        None,
        "stage1_layer7",
    ]
    assert stage.first.shortcut == "dense"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lenet5", "c3 10×10×16 (5×5 16)"),
        ("alexnet_one_tower", "4096 (dense 4096)"),
        ("vgg11", "stage3 56×56×256 (2 × 3×3 256)"),
        ("googlenet", "inception5 7×7×1024 (2 × 1×1 256, 1×1 160 → 3×3 320"),
        ("highway20_cifar", "stage2 16×16×32 (6 × 3×3 32/2)"),
        ("plain20_cifar", "stage3 8×8×64 (3 × 3×3 64/2, 3×3 64)"),
        ("resnet50", "stage2 28×28×512 (4 × 1×1 128/2, 3×3 128, 1×1 512)"),
        ("resnext29_8x64d_cifar", "Shortcuts: identity, projection."),
        ("densenet40_k12_cifar", "transition1 16×16×160"),
    ],
)
def test_every_family_is_drawn(name: str, said: str, tmp_path: Path) -> None:
    with unallocated():
        figure, text = walk.draw(build_model(name))
    path = tmp_path / "walk.svg"
    save(figure, path, title=name, text=text)
    root = ET.parse(path).getroot()
    drawn = " ".join(e.text or "" for e in root.iter(f"{SVG}text"))
    assert name in drawn
    described = root.find(f"{SVG}desc")
    assert described is not None and described.text == text
    assert said in text
    assert root.get("role") == "img" and root.get("aria-label") == name


@pytest.mark.parametrize("order", ORDERS)
def test_diagram_is_the_order_of_activations(order: str) -> None:
    shown = diagram(order, "identity")
    steps = [s for s in shown.branch if "conv" not in s]
    row = ORDERS[order]
    assert tuple(steps) == row.before + row.between + row.after
    assert shown.out == row.after_addition and shown.shortcut == () and shown.gate == ()
    assert sum("conv" in s for s in shown.branch) == 2


@pytest.mark.parametrize(
    ("skip", "shortcut", "ends", "gated"),
    [
        ("identity", (), "norm", False),
        ("constant_scaling", ("× 0.5",), "× 0.5", False),
        ("exclusive_gating", ("1 − g", "× (1 − g)"), "× g", True),
        ("shortcut_only_gating", ("1 − g", "× (1 − g)"), "norm", True),
        ("conv1x1", ("1×1 conv, 64", "norm"), "norm", False),
        ("dropout", ("dropout 0.5",), "norm", False),
    ],
)
def test_diagram_is_the_kind_of_shortcut(
    skip: str, shortcut: tuple[str, ...], ends: str, gated: bool
) -> None:
    shown = diagram("original", skip)
    assert (shown.shortcut, shown.branch[-1]) == (shortcut, ends)
    assert shown.gate == (("1×1 conv, 64", "sigmoid") if gated else ())


@pytest.mark.slow
def test_every_unit_is_drawn() -> None:
    figure, text = units.draw(list(ORDERS), list(SKIPS), "bottleneck")
    assert len(figure.axes) == len(ORDERS) * len(SKIPS)
    assert text.count("branch ") == len(figure.axes)
    figure, _ = units.draw(list(ORDERS), ["identity"])
    assert len(figure.axes) == len(ORDERS)


def test_png_carries_its_text(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write(new_figure(1, 1), path, title="a & b", text="what it shows")
    with Image.open(path) as image:
        assert image.text["Description"] == "what it shows"  # type: ignore[attr-defined]


def test_other_suffixes_and_places_are_refused(tmp_path: Path) -> None:
    assert SUFFIXES == (".svg", ".png")
    with pytest.raises(UsageError, match=r"must end in \.svg or \.png, got 'a\.pdf'"):
        save(new_figure(1, 1), Path("a.pdf"), title="", text="")
    with pytest.raises(UsageError, match="figure must be writable, got"):
        write(new_figure(1, 1), tmp_path / "no" / "a.svg", title="", text="")


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["keras_resnet", *arguments])
    command.run(__main__.main)


@pytest.mark.slow
def test_commands_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "walk.svg"
    call(monkeypatch, "describe", "resnet20_cifar", "--figure", str(path))
    assert "resnet20_cifar" in path.read_text("utf-8")
    path = tmp_path / "units.png"
    call(monkeypatch, "units", str(path), "--skip", "dropout")
    assert path.is_file() and "dropout 0.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("describe", "resnet20_cifar", "--figure", "a.pdf"), "got 'a.pdf'"),
        (("units", "a.gif"), "got 'a.gif'"),
        (("units", "a.svg", "--skip", "none"), "skip must be one of identity"),
        (("units", "a.svg", "--order", "v3"), "order must be one of original"),
    ],
)
def test_mistake_is_one_line(
    arguments: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, *arguments)
    error = capsys.readouterr().err
    assert (stop.value.code, error.count("\n")) == (2, 1) and said in error


@pytest.mark.parametrize("kind", ["tanh", "elu"])
def test_diagram_names_the_activation_that_a_unit_has(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def activation(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        return keras.layers.Activation(kind, name=name)(x)

    monkeypatch.setitem(STEPS, "relu", activation)
    shown = diagram("original", "identity")
    convolution = f"3×3 conv, {units.WIDTH}"
    assert shown.branch == (convolution, "norm", kind, convolution, "norm")
    assert shown.out == (kind,)


def test_diagram_of_a_layer_that_is_an_activation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(
        STEPS, "relu", lambda x, *, name: keras.layers.PReLU(name=name)(x)
    )
    assert diagram("original", "identity").out == ("prelu",)

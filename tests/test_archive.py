"""A .keras file is loaded only where it holds these networks and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import keras
import pytest
from backends import NETWORKS, SMALL

from keras_resnet import UsageError, create_model, load_model
from keras_resnet.archive import require_known_objects


@keras.saving.register_keras_serializable("elsewhere")
class Registered(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x


class Custom(Registered):
    pass


def with_layer(layer: keras.layers.Layer) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        image = keras.Input((4, 4, 3))
        keras.Model(image, layer(image)).save(path)

    return save


def damaged(path: Path) -> None:
    create_model("lenet5").save(path)
    data = bytearray(path.read_bytes())
    with ZipFile(path) as archive:
        weights = archive.getinfo("model.weights.h5")
    data[weights.header_offset + weights.file_size // 2] ^= 255
    path.write_bytes(data)


def packed_by(path: Path, method: int) -> None:
    """Saves a network and says of its first member that it is packed in that way."""
    create_model("lenet5").save(path)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")  # of the central directory
    data[entry + 10 : entry + 12] = method.to_bytes(2, "little")
    path.write_bytes(data)


def with_config(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Saves a small network with a changed config."""

    def save(path: Path) -> None:
        model = create_model("lenet5")
        model.save(path)
        with ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        config = json.loads(files["config.json"])
        change(config)
        files["config.json"] = json.dumps(config).encode()
        with ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)

    return save


def first_layer(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["config"]["layers"][1].update(changes)


CRAFTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a Lambda": (with_layer(keras.layers.Lambda(lambda x: 2 * x)), "got Lambda in"),
    "a named Lambda": (with_layer(keras.layers.Lambda(keras.ops.abs)), "got Lambda"),
    "a custom class": (with_layer(Custom()), "got Custom in"),
    "a registered class": (with_layer(Registered()), "got elsewhere>Registered in"),
    "another layer of Keras": (
        with_config(first_layer(module="keras.layers", class_name="TFSMLayer")),
        "got TFSMLayer in",
    ),
    "any module": (
        with_config(first_layer(module="os", class_name="system")),
        "got system in",
    ),
    "any function": (
        with_config(
            lambda config: config["config"]["layers"][1]["config"].update(
                activation={
                    **{"module": "builtins", "class_name": "function"},
                    **{"config": "eval", "registered_name": "function"},
                }
            )
        ),
        "got function in",
    ),
    "a name of ours that is none": (
        with_config(first_layer(registered_name="keras_resnet>Nothing")),
        "got keras_resnet>Nothing in",
    ),
    "no config": (lambda path: ZipFile(path, "w").close(), "complete .keras file"),
    "no zip": (lambda path: path.write_bytes(b"PK"), "complete .keras file"),
    "a method that is none": (
        lambda path: packed_by(path, method=99),
        "complete .keras file",
    ),
    "damaged weights": (damaged, r"file, got .*: model\.weights\.h5 is damaged"),
}


@pytest.mark.parametrize("when", ["description", "weights"])
def test_an_unreadable_file_is_told_in_one_line(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    path = tmp_path / "model.keras"
    create_model("lenet5").save(path)
    opened = {
        "description": "keras_resnet.archive.ZipFile",
        "weights": "keras.models.load_model",
    }
    monkeypatch.setattr(opened[when], fail)
    with pytest.raises(
        UsageError, match=r"readable, got .*\.keras: Input/output error$"
    ):
        load_model(path)


@pytest.mark.parametrize("name", CRAFTED)
def test_anything_else_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    save, said = CRAFTED[name]
    path = tmp_path / "model.keras"
    save(path)
    with pytest.raises(UsageError, match=said) as refusal:
        load_model(path)
    assert "\n" not in str(refusal.value) and str(path) in str(refusal.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_family_is_known(name: str, tmp_path: Path) -> None:
    model = create_model(name, **{**SMALL, **NETWORKS[name]})
    model.compile("sgd", "mse")  # an optimizer is stored, and not looked at
    model.save(tmp_path / "model.keras")
    require_known_objects(tmp_path / "model.keras")

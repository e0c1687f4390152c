"""Every kind of image file becomes the same pixels everywhere, or is refused alike."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from image_kinds import FILES

from export.graph.guard import reject_oversized
from export.metadata.description import Description
from export.prediction.decode import decode
from keras_resnet.errors import UsageError
from training.data.decoding import images
from training.data.examples import read_window
from training.data.preprocessing import Preprocessing
from training.data.sources import load_dataset
from training.data.sources.inspection import image_info, inspect
from training.data.types import strings

MAX_PIXELS = 10_000
Way = Callable[[bytes, int, tuple[int, int]], np.ndarray]


def training(data: bytes, channels: int, size: tuple[int, int]) -> np.ndarray:
    finding = inspect(data, MAX_PIXELS)
    if finding.bad is not None:
        raise ValueError(finding.bad)
    split = strings([data], [0], image_info([finding]))
    preprocessing = Preprocessing(size, channels, 1.0, (), ())
    return read_window(split, tf.constant(0), preprocessing.input_shape, None).numpy()


@cache
def served(channels: int) -> Callable[[bytes], tf.Tensor]:
    def whole(data: tf.Tensor) -> tf.Tensor:
        data = reject_oversized(data, MAX_PIXELS)
        return images.decode_window(
            data, lambda shape: tf.concat([[0, 0], shape], 0), channels
        )

    return tf.function(whole, [tf.TensorSpec((), tf.string)], autograph=False)


def saved_model(data: bytes, channels: int, size: tuple[int, int]) -> np.ndarray:
    return served(channels)(data).numpy()


def with_pillow(data: bytes, channels: int, size: tuple[int, int]) -> np.ndarray:
    return decode(data, Description((), size, channels, 1.0), MAX_PIXELS)


WAYS: dict[str, Way] = {
    "training": training,
    "SavedModel": saved_model,
    "TFLite and ONNX": with_pillow,
}
READ = [name for name, kind in FILES.items() if kind.pixels is not None]
REFUSED = [name for name in FILES if name not in READ]


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("way", WAYS)
def test_pixels_are_those_the_file_was_made_of(
    way: str, channels: int, name: str
) -> None:
    kind = FILES[name]
    expected = kind.expected(channels)
    found = WAYS[way](kind.data, channels, expected.shape[:2])
    assert found.shape == expected.shape
    # Grey values of colours are rounded differently.
    assert np.abs(found - expected).max() <= kind.limit + (channels == 1)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("way", ["SavedModel", "TFLite and ONNX"])
def test_other_kinds_are_refused_in_the_same_words(way: str, name: str) -> None:
    kind = FILES[name]
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)) as caught:
        WAYS[way](kind.data, 3, (8, 8))
    assert kind.refusal in str(caught.value)


@pytest.mark.parametrize("name", REFUSED)
def test_training_refuses_them_in_these_words(name: str, tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "file").write_bytes(FILES[name].data)
    with pytest.raises(UsageError) as caught:
        load_dataset(f"folder:{tmp_path}")
    assert FILES[name].refusal in str(caught.value)

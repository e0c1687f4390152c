"""Local response normalisation against the paper's formula and TensorFlow's kernel."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet import UsageError, load_model
from keras_resnet.layers import LocalResponseNormalization

VARIANTS: dict[str, dict[str, Any]] = {
    "alexnet": {},
    "googlenet": {"alpha": 2e-5, "k": 1.0},
    "strong": {"alpha": 0.5, "k": 0.7},
    "another_power": {"alpha": 0.5, "beta": 0.5},
    "narrow": {"size": 3, "alpha": 0.5},
    "one_channel": {"size": 1, "alpha": 0.5},
    "wider_than_the_image": {"size": 15, "alpha": 0.5},
}


def images(*shape: int, scale: float = 3.0) -> np.ndarray:
    return (np.random.default_rng(0).normal(size=shape) * scale).astype("float32")


def formula(
    a: np.ndarray,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
) -> np.ndarray:
    """Krizhevsky et al., 2012, section 3.3, as it is printed."""
    a, channels = a.astype("float64"), a.shape[-1]
    b = np.empty_like(a)
    for i in range(channels):
        first, last = max(0, i - size // 2), min(channels - 1, i + size // 2)
        total = sum(a[..., j] ** 2 for j in range(first, last + 1))
        b[..., i] = a[..., i] / (k + alpha * total) ** beta
    return b


@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_the_papers_formula(variant: str) -> None:
    options, x = VARIANTS[variant], images(2, 3, 4, 7)
    y = LocalResponseNormalization(**options)(x)
    np.testing.assert_allclose(y, formula(x, **options), rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_tensorflows_kernel_and_gradient(variant: str) -> None:
    options = VARIANTS[variant]
    layer = LocalResponseNormalization(**options)
    x = tf.constant(images(2, 5, 4, 12))
    weight = images(2, 5, 4, 12)[::-1]

    def reference(x: tf.Tensor) -> tf.Tensor:
        return tf.nn.local_response_normalization(
            x, layer.size // 2, layer.k, layer.alpha, layer.beta
        )

    gradients = []
    for normalise in (layer, reference):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(normalise(x) * weight)
        gradients.append(tape.gradient(total, x))
    np.testing.assert_allclose(layer(x), reference(x), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(*gradients, rtol=1e-3, atol=1e-5)


def test_alpha_is_of_the_sum_not_of_the_mean() -> None:
    """Of ones, n = 3: Caffe and PyTorch would divide all but the edges by 2 + 3/3."""
    layer = LocalResponseNormalization(size=3, alpha=1.0, beta=1.0, k=2.0)
    y = np.asarray(layer(np.ones((1, 1, 1, 4))))
    np.testing.assert_allclose(y[0, 0, 0], [1 / 4, 1 / 5, 1 / 5, 1 / 4], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_the_float32_result_rounded(dtype: str) -> None:
    layer = LocalResponseNormalization(alpha=1.0, dtype=f"mixed_{dtype}")
    x = tf.cast(images(2, 3, 3, 8, scale=300), dtype)  # its squares overflow float16
    y = layer(x)
    assert y.dtype == dtype
    assert layer.dtype == "float32"
    expected = LocalResponseNormalization(alpha=1.0)(tf.cast(x, "float32"))
    np.testing.assert_array_equal(y, tf.cast(expected, dtype))
    assert np.isfinite(np.asarray(tf.cast(y, "float32"))).all()


def test_size_may_be_open_and_the_layer_is_saved(tmp_path: Path) -> None:
    options = {"size": 3, "alpha": 0.2, "beta": 0.6, "k": 1.5}
    image = keras.Input((None, None, 6), name="image")
    layer = LocalResponseNormalization(**options, name="lrn")
    model = keras.Model(image, layer(image))
    assert model.output_shape == (None, None, None, 6)
    assert not model.weights
    model.save(tmp_path / "lrn.keras")
    loaded = load_model(tmp_path / "lrn.keras")
    found = loaded.get_layer("lrn").get_config()
    assert {key: found[key] for key in options} == options
    x = images(2, 5, 3, 6)
    np.testing.assert_array_equal(loaded(x), model(x))
    np.testing.assert_allclose(loaded(x), formula(x, **options), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 4}, "size must be an odd number of channels, got 4"),
        ({"size": -1}, "size must be an odd number of channels, got -1"),
        ({"k": 0}, "k must be greater than 0, got 0"),
    ],
)
def test_impossible_constant_is_refused(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LocalResponseNormalization(**options)

"""The layers against Keras' own, TensorFlow's kernels and NumPy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet.layers import BatchNormalization, MaxPooling2D, ZeroPaddedShortcut

Layer = keras.layers.Layer
Factory = Callable[..., Layer]

# Keras computes in float32 and rounds once, the fused kernel rounds its input's
# gradient to half precision too: a few units in the last place (2⁻⁸, 2⁻¹¹).
TOLERANCES = {"float32": 2e-5, "mixed_bfloat16": 4e-2, "mixed_float16": 6e-3}
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "no_center": {"center": False},
    "no_scale": {"scale": False},
    "neither": {"center": False, "scale": False},
    "last_axis": {"axis": 3, "momentum": 0.9, "epsilon": 1e-5},
    "frozen": {"trainable": False},
    "synchronized": {"synchronized": True},
}


@contextmanager
def policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.0, 2.0, shape).astype("float32")


def twins(shape: tuple[int, ...], **arguments: Any) -> tuple[Layer, Layer]:
    """Ours and Keras' layer with equal random weights."""
    ours = BatchNormalization(**arguments)
    theirs = keras.layers.BatchNormalization(**arguments)
    for layer in (ours, theirs):
        layer.build(shape)
        layer.set_weights(
            [
                np.random.default_rng(i).uniform(0.5, 1.5, w.shape)
                for i, w in enumerate(layer.weights)
            ]
        )
    return ours, theirs


def close(ours: Any, theirs: Any, tolerance: float) -> None:
    ours, theirs = (
        keras.ops.convert_to_numpy(keras.ops.cast(a, "float32")) for a in (ours, theirs)
    )
    np.testing.assert_allclose(
        ours, theirs, rtol=tolerance, atol=tolerance * max(1.0, np.abs(theirs).max())
    )


def gradients(
    layer: Layer, x: np.ndarray, training: bool
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """The output, and the gradients of its weighted sum by input and weights."""
    image = tf.cast(x, layer.compute_dtype)
    weights = [w.value for w in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(image)
        y = layer(image, training=training)
        total = tf.reduce_sum(tf.cast(y, tf.float32) * normal(*y.shape, seed=1))
    return y, tape.gradient(total, [image, *weights])


def op_types(layer: Layer, x: np.ndarray, training: bool) -> set[str]:
    step = tf.function(lambda image: layer(image, training=training))
    graph = step.get_concrete_function(tf.cast(x, layer.compute_dtype)).graph
    return {operation.type for operation in graph.get_operations()}


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "mixed_bfloat16",
        pytest.param("mixed_float16", marks=pytest.mark.slow),
    ],
)
def test_batch_norm_equals_keras(dtype: str, variant: str, training: bool) -> None:
    with policy(dtype):
        ours, theirs = twins((None, None, None, 3), **VARIANTS[variant])
    assert [w.path.split("/")[-1] for w in ours.weights] == [
        w.path.split("/")[-1] for w in theirs.weights
    ]
    assert {w.dtype for w in ours.weights} == {"float32"}
    x = normal(4, 5, 6, 3)
    tolerance = TOLERANCES[dtype]
    for step in range(2):  # the second starts from statistics the first one moved
        y, grads = gradients(ours, x + step, training)
        expected, expected_grads = gradients(theirs, x + step, training)
        assert y.dtype == expected.dtype == ours.compute_dtype
        close(y, expected, tolerance)
        assert len(grads) == 1 + len(ours.trainable_variables)
        for grad, expected_grad in zip(grads, expected_grads, strict=True):
            assert grad.dtype == expected_grad.dtype
            close(grad, expected_grad, tolerance)
    moves = training and ours.trainable
    fresh, _ = twins(x.shape, **VARIANTS[variant])
    for old, new in zip(fresh.weights, ours.weights, strict=True):
        assert np.array_equal(old, new) == ("moving" not in new.name or not moves)
    for weight, expected in zip(ours.weights, theirs.weights, strict=True):
        close(weight, expected, 1e-5)  # float32 even where images are not


def test_batch_norm_of_one_value_has_no_variance() -> None:
    ours, theirs = twins((1, 1, 1, 2))
    x = normal(1, 1, 1, 2)
    close(ours(x, training=True), theirs(x, training=True), 1e-5)
    close(ours.moving_variance, theirs.moving_variance, 1e-6)
    assert np.isfinite(ours.moving_variance).all()


def classifier(norm: Layer) -> keras.Model:
    """Whose first layers oneDNN runs as one kernel; float32 outputs."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            norm,
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, dtype="float32"),
        ]
    )


def first_loss(model: keras.Model, x: np.ndarray, **options: Any) -> float:
    model.compile("sgd", "mse", jit_compile=False, **options)
    return float(model.fit(x, np.zeros((8, 2)), verbose=0).history["loss"][0])


@pytest.mark.parametrize(
    ("bad", "dtype", "options"),
    [
        (np.nan, "float32", {}),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (np.inf, "float32", {"steps_per_execution": 2}),
                (np.inf, "mixed_bfloat16", {}),
                (np.nan, "mixed_bfloat16", {"steps_per_execution": 2}),
                (np.nan, "mixed_float16", {}),
                (np.inf, "mixed_float16", {"steps_per_execution": 2}),
            )
        ),
    ],
)
def test_a_batch_that_is_not_finite_is_told(
    bad: float, dtype: str, options: dict[str, int]
) -> None:
    x = normal(8, 6, 6, 3)
    x[0, 2, 2, 1] = bad
    with policy(dtype):
        ours, theirs = (
            BatchNormalization(name="first"),
            keras.layers.BatchNormalization(),
        )
        models = [classifier(ours), classifier(theirs)]
    assert np.isnan(first_loss(models[1], x))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="variance in first must be finite"
    ):
        first_loss(models[0], x, **options)
    assert np.isfinite([ours.moving_mean, ours.moving_variance]).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_batch_norm_with_weights_in_half_precision(dtype: str) -> None:
    with policy(dtype):
        ours, theirs = twins((None, 5, 6, 3))
    x = tf.cast(normal(4, 5, 6, 3), dtype)
    for training in (True, False):
        close(ours(x, training=training), theirs(x, training=training), 1e-6)


@pytest.mark.slow
def test_xla_keeps_a_batch_that_is_not_finite_in_the_loss() -> None:
    x = normal(8, 6, 6, 3)
    x[0, 2, 2, 1] = np.nan
    model = classifier(BatchNormalization())
    model.compile("sgd", "mse", jit_compile=True)
    assert np.isnan(model.train_on_batch(x, np.zeros((8, 2))))


@pytest.mark.slow
def test_an_overflow_of_scaled_gradients_only_skips_the_update() -> None:
    with policy("mixed_float16"):
        model = classifier(BatchNormalization())
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(), initial_scale=2.0**40
    )
    model.compile(optimizer, "mse", jit_compile=False)
    before = model.layers[-1].get_weights()
    model.fit(normal(8, 6, 6, 3), np.zeros((8, 2)), verbose=0)
    assert float(optimizer.dynamic_scale) == 2.0**39
    for old, new in zip(before, model.layers[-1].get_weights(), strict=True):
        assert np.array_equal(old, new)


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_batch_norm_runs_the_fused_kernel(dtype: str, training: bool) -> None:
    with policy(dtype):
        ours, theirs = twins((None, 4, 4, 3))
    x = normal(2, 4, 4, 3)
    assert "FusedBatchNormV3" in op_types(ours, x, training)
    # Half-precision images are read as they are.
    assert "Cast" not in op_types(ours, x, training=False)
    assert "FusedBatchNormV3" not in op_types(theirs, x, training)


FALLBACKS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "rank_2": ((6, 3), {}),
    "rank_3": ((6, 5, 3), {}),
    "channels_first": ((4, 3, 5, 6), {"axis": 1}),
    "renorm": ((4, 5, 6, 3), {"renorm": True}),
    "float64": ((4, 5, 6, 3), {"dtype": "float64"}),
}


@pytest.mark.parametrize("name", FALLBACKS)
def test_batch_norm_falls_back_on_keras(name: str) -> None:
    shape, arguments = FALLBACKS[name]
    ours, theirs = twins(shape, **arguments)
    x = normal(*shape)
    assert "FusedBatchNormV3" not in op_types(ours, x, training=False)
    for training in (True, False):
        y, grads = gradients(ours, x, training)
        expected, expected_grads = gradients(theirs, x, training)
        close(y, expected, 0)
        for grad, expected_grad in zip(grads, expected_grads, strict=True):
            close(grad, expected_grad, 0)


def test_batch_norm_exchanges_a_vector_each_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a replica that has the same images nothing changes."""
    sent = []

    class Twin:
        def all_reduce(self, how: object, vector: tf.Tensor) -> tf.Tensor:
            assert how == tf.distribute.ReduceOp.SUM
            sent.append(vector.shape[0])
            return 2 * vector

    ours, _ = twins((4, 5, 6, 3))
    together, _ = twins((4, 5, 6, 3), synchronized=True)
    y, grads = gradients(ours, x := normal(4, 5, 6, 3), True)
    monkeypatch.setattr(tf.distribute, "get_replica_context", Twin)
    again, again_grads = gradients(together, x, True)
    close(again, y, 1e-5)
    for grad, expected in zip(again_grads, grads, strict=True):
        close(grad, expected, 1e-5)
    for weight, expected in zip(together.weights, ours.weights, strict=True):
        close(weight, expected, 1e-5)
    assert sent == [3 + 3 + 1, 3 + 3]


def test_batch_norm_heeds_a_mask() -> None:
    ours, theirs = twins((2, 4, 4, 3))
    x = normal(2, 4, 4, 3)
    mask = normal(2, 4, 4) > 1
    close(ours(x, training=True, mask=mask), theirs(x, training=True, mask=mask), 1e-6)
    close(ours.moving_mean, theirs.moving_mean, 1e-6)


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_batch_norm_compiles(training: bool) -> None:
    ours, theirs = twins((None, 5, 6, 3))
    x = normal(4, 5, 6, 3)
    compiled = tf.function(
        lambda image: ours(image, training=training), jit_compile=True
    )
    close(compiled(tf.constant(x)), theirs(x, training=training), 1e-5)
    for weight, expected in zip(ours.weights, theirs.weights, strict=True):
        close(weight, expected, 1e-5)


def max_pool(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Maxima over windows of ``x`` padded by −∞."""
    pad = size // 2
    padded = np.pad(
        x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=-np.inf
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))
    return windows[:, ::stride, ::stride].max((-2, -1))


@pytest.mark.parametrize("sides", [(6, 6), (7, 7), (5, 8), (3, 3)], ids=str)
@pytest.mark.parametrize(("size", "stride"), [(3, 2), (3, 1), (3, 3), (5, 2)])
def test_max_pool_pads_with_minus_infinity(
    sides: tuple[int, int], size: int, stride: int
) -> None:
    x = normal(2, *sides, 3)
    x[:, [0, -1]] -= 20  # a border padded with zeros would win over these
    x[:, :, [0, -1]] -= 20
    layer = MaxPooling2D(size, stride)
    y = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_array_equal(y, max_pool(x, size, stride))
    assert layer.compute_output_shape(x.shape) == y.shape
    assert layer.compute_output_shape((None, None, None, 3)) == (None, None, None, 3)
    assert y.shape == (2, *(-(-side // stride) for side in sides), 3)


@pytest.mark.parametrize("sides", [(6, 6), (7, 7), (5, 8)], ids=str)
def test_max_pool_gradient(sides: tuple[int, int]) -> None:
    _, (ours,) = gradients(MaxPooling2D(3, 2), x := normal(2, *sides, 3), True)
    image = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(image)
        y = tf.nn.max_pool2d(image, 3, 2, [[0, 0], [1, 1], [1, 1], [0, 0]])
        total = tf.reduce_sum(y * normal(*y.shape, seed=1))
    close(ours, tape.gradient(total, image), 1e-6)


@pytest.mark.parametrize("sides", [(4, 4), (5, 7)], ids=str)
@pytest.mark.parametrize(("filters", "stride"), [(3, 2), (5, 1), (6, 2)])
def test_zero_padded_shortcut(
    sides: tuple[int, int], filters: int, stride: int
) -> None:
    x = normal(2, *sides, 3)
    layer = ZeroPaddedShortcut(filters, stride)
    y = keras.ops.convert_to_numpy(layer(x))
    expected = np.zeros((2, *(-(-side // stride) for side in sides), filters))
    expected[..., :3] = x[:, ::stride, ::stride]
    np.testing.assert_array_equal(y, expected)
    assert layer.compute_output_shape(x.shape) == y.shape
    assert layer.compute_output_shape((None, None, 4, 3)) == (
        None,
        None,
        -(-4 // stride),
        filters,
    )
    assert not layer.weights


LAYERS: dict[str, Factory] = {
    "batch_norm": lambda: BatchNormalization(momentum=0.9, epsilon=1e-5, center=False),
    "max_pool": lambda: MaxPooling2D(3, 2, name="pool"),
    "shortcut": lambda: ZeroPaddedShortcut(8, 2, name="shortcut"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_comes_back_from_its_config(name: str) -> None:
    layer = LAYERS[name]()
    saved = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(saved)
    assert saved["registered_name"] == f"keras_resnet>{type(layer).__name__}"
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    assert type(layer).from_config(layer.get_config()).get_config() == (
        layer.get_config()
    )
    x = normal(1, 5, 5, 3)
    close(again(x), layer(x), 0)


def test_batch_norm_has_the_arguments_of_keras() -> None:
    ours, theirs = (
        c(name="n") for c in (BatchNormalization, keras.layers.BatchNormalization)
    )
    assert ours.get_config() == theirs.get_config()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_synchronised_batch_that_is_not_finite_is_told(bad: float) -> None:
    x = normal(8, 6, 6, 3)
    x[0, 2, 2, 1] = bad
    norm = BatchNormalization(name="first", synchronized=True)
    before = [np.array(moving) for moving in (norm(x), norm.moving_mean)][1:]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="variance in first must be finite"
    ):
        norm(x, training=True)
    close(norm.moving_mean, before[0], 0)
    assert np.isfinite(norm.moving_variance).all()

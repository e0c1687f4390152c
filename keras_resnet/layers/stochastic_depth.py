"""Implements stochastic depth: training randomly drops a residual branch."""

from typing import Any

import keras
from keras import KerasTensor, ops

from keras_resnet.layers.nested import Nested
from keras_resnet.layers.registry import register

DROP_MODES = ("batch", "sample")


@register
class StochasticDepth(Nested):
    """The addition ``h + d·F(x)`` of a branch F that survives with probability p.

    Training draws d from Bernoulli(p); inference uses its mean, ``d = p``. Mode
    ``"batch"`` draws once for all images and skips a dropped branch in the forward and
    backward pass; its batch norms do not see the batch. Exceptions are JAX, whose
    conditionals cannot update statistics, and TensorFlow with several replicas, which
    cannot exchange statistics inside a conditional: they compute a dropped branch and
    discard it. All replicas share the draw. Mode ``"sample"`` draws for each image and
    always computes the branch.

    Reference: Huang et al., "Deep Networks with Stochastic Depth", 2016, eq. 2 and 5.

    Args:
        branch: F, a model with one or more inputs.
        survival: p, in (0, 1].
        mode: ``"batch"`` or ``"sample"``.
        seed: Seed of the draws; None uses Keras' global seed.
        **kwargs: Arguments of ``keras.layers.Layer``.
    """

    def __init__(
        self,
        branch: keras.Model,
        survival: float,
        mode: str = "batch",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(branch, **kwargs)
        self.survival = survival
        self.mode = mode
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(
        self, inputs: list[KerasTensor], training: bool | None = None
    ) -> KerasTensor:
        """Maps ``[h, x, …]`` to ``h + d·F(x, …)``; h has the shape of F(x, …)."""
        h, *x = inputs
        x = x[0] if len(x) == 1 else x
        if not training:
            return h + self.survival * self.branch(x, training=False)
        keep = self._draw(h)
        if self.mode == "batch" and _conditionals_reach_everything():
            return ops.cond(keep, lambda: h + self.branch(x, training=True), lambda: h)
        return h + ops.cast(keep, h.dtype) * self.branch(x, training=True)

    def _branch_shapes(self, input_shape: Any) -> list[tuple[int | None, ...]]:
        return list(input_shape[1:])

    def _draw(self, h: KerasTensor) -> KerasTensor:
        shape = (ops.shape(h)[0], 1, 1, 1) if self.mode == "sample" else ()
        # Always float32: bfloat16 cannot represent 0.999.
        uniform = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        return uniform < self.survival

    def compute_output_shape(
        self, input_shape: list[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """Returns the shape of h."""
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "survival": self.survival,
            "mode": self.mode,
            "seed": self.seed,
        }


def _conditionals_reach_everything() -> bool:
    if keras.backend.backend() != "tensorflow":
        return keras.backend.backend() != "jax"
    import tensorflow as tf

    return bool(tf.distribute.get_strategy().num_replicas_in_sync == 1)

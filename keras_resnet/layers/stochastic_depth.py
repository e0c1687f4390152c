"""Stochastic depth: a residual branch that training leaves out at random."""

from typing import Any

import keras
from keras import KerasTensor, ops

from keras_resnet.layers.nested import Nested
from keras_resnet.layers.registry import register

DROP_MODES = ("batch", "sample")


@register
class StochasticDepth(Nested):
    """The addition ``h + d·F(x)`` of a branch F that survives with probability p.

    Training draws d from Bernoulli(p), inference takes its mean, ``d = p``. With mode
    ``"batch"`` one draw holds for all images and a dropped branch is computed neither
    forward nor backward; nor do its batch norms see the batch. (On JAX, whose
    conditionals cannot update statistics, and where TensorFlow trains several replicas,
    which cannot exchange statistics within one, it is computed and then left out. The
    draw is the same on all replicas.) With mode
    ``"sample"`` each image has a draw of its own and the branch is always computed.

    Reference: Huang et al., "Deep Networks with Stochastic Depth", 2016, eq. 2 and 5.

    Args:
        branch: F, a model of one or more inputs.
        survival: p, in (0, 1].
        mode: ``"batch"`` or ``"sample"``.
        seed: Of the draws; None: from Keras' global seed.
        **kwargs: Of ``keras.layers.Layer``.
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
        """Maps ``[h, x, …]``, h shaped like F(x), to ``h + d·F(x, …)``."""
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
        # In float32 whatever the precision: bfloat16 has no 0.999.
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

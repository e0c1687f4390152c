"""Implements recomputation in the backward pass: less memory for more time."""

from typing import Any

import keras
from keras import KerasTensor

from keras_resnet.layers.nested import Nested
from keras_resnet.layers.registry import register


@register
class Recomputed(Nested):
    """A branch of which training stores only the inputs and the output.

    The backward pass computes the branch again, without a second update of statistics.
    TensorFlow prunes parts that no gradient needs, e.g. the output of a convolution at
    the end of the branch. Outputs and gradients equal those of the branch. On other
    backends the branch runs without recomputation.

    Reference: Pleiss et al., "Memory-Efficient Implementation of DenseNets", 2017.

    Args:
        branch: A model with one or more inputs and without random layers.
        **kwargs: Arguments of ``keras.layers.Layer``.
    """

    def call(
        self,
        inputs: KerasTensor | list[KerasTensor],
        training: bool | None = None,
    ) -> KerasTensor:
        """Maps the branch's inputs to its output."""
        if not training or keras.backend.backend() != "tensorflow":
            return self.branch(inputs, training=training)
        import tensorflow as tf

        @tf.custom_gradient
        def remembered(*x: Any) -> Any:
            def backward(upstream: Any, variables: Any = ()) -> Any:
                # The dependency prevents a merge with the first pass.
                with tf.control_dependencies([upstream]):
                    again = [tf.identity(value) for value in x]
                # The stateless scope discards updates of statistics.
                with tf.GradientTape() as tape, keras.StatelessScope():
                    tape.watch(again)
                    y = self._run(again)
                gradients = tape.gradient(y, (again, list(variables)), upstream)
                return gradients if variables else gradients[0]

            return self._run(x), backward

        return remembered(*(inputs if isinstance(inputs, list) else [inputs]))

    def _run(self, x: Any) -> Any:
        return self.branch(x[0] if len(x) == 1 else list(x), training=True)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the shape of the branch's output."""
        return tuple(self.branch.compute_output_shape(input_shape))

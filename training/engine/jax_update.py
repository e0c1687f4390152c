"""Updates a model with JAX, on one or several devices."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from training.data.types import Tensor
from training.engine.forward import ForwardPass
from training.optimisation.averaging import Average

Values = list[Any]  # of variables


class JaxUpdate:
    """Computes gradients and updates a model's variables, as one compiled function.

    Between two calls of ``sync`` only this object has the variables' values: each step
    uses the memory of the last values for the new ones.

    Args:
        forward: The model, its objective and its optimizer.
    """

    def __init__(self, forward: ForwardPass) -> None:
        self._forward = forward
        self._values: list[Values] | None = None
        self._replicas = forward.execution.replicas
        self._compiled = jax.jit(
            self._run, donate_argnums=0, out_shardings=self._replicas.replicated
        )

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Updates the variables; returns the result without waiting for it."""
        if self._values is None:
            *values, average = [[v.value for v in vs] for vs in self._variables()]
            # A new average has the very arrays of the model, whose memory is reused.
            values.append([jnp.copy(x) for x in average])
            self._values = self._replicas.to_all(values)
        batch = [
            x if isinstance(x, jax.Array) else np.asarray(x) for x in (images, labels)
        ]
        results, self._values = self._compiled(self._values, *batch)
        return results

    def read(self, results: Sequence[Tensor]) -> np.ndarray:
        """Waits for the results of steps and returns them, one row for each."""
        return np.asarray(jax.device_get(list(results)))

    def sync(self) -> None:
        """Gives the variables the values of the last step."""
        if self._values is None:
            return
        own = self._replicas.to_worker(self._values)
        for group, values in zip(self._variables(), own, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        self._values = None

    def _variables(self) -> list[list[Any]]:
        """Returns the variables: trained, other, the optimizer's, the average's."""
        training_model, average = self._forward.training_model, self._forward.average
        return [
            training_model.trainable_variables,
            training_model.non_trainable_variables,
            self._forward.optimizer.variables,
            average.variables if average else [],
        ]

    def _run(self, values: list[Values], images: Tensor, labels: Tensor) -> Any:
        """Maps values and a batch to the results and the new values."""
        results, gradients, state = self._accumulate(values, images, labels)
        trained, _, slots, average = values
        trained, slots = self._forward.optimizer.stateless_apply(
            slots, gradients, trained
        )
        if self._forward.average:
            new = [trained, state, slots, average]
            average = self._updated(self._forward.average, new)
        floats = [x for x in (*trained, *state) if x.dtype == jnp.float32]
        finite = jnp.isfinite(sum(jnp.sum(jnp.square(x)) for x in floats))
        return jnp.where(finite, results, math.nan), [trained, state, slots, average]

    def _updated(self, average: Average, values: list[Values]) -> Values:
        """Returns the values of the average after a step that led to ``values``."""
        with self._scope(values) as scope:
            average.update(self._forward.optimizer.iterations)
        return [scope.get_current_value(v) for v in self._variables()[3]]

    def _accumulate(
        self, values: list[Values], images: Tensor, labels: Tensor
    ) -> tuple[Tensor, Values, Values]:
        """Computes a batch in parts; returns results, gradients and the new state."""
        trained, state, *rest = values
        count = len(images)
        size = -(-count // self._forward.execution.accumulation)
        whole = count // size

        def part(sums: Any, batch: Any) -> tuple[Any, None]:
            *totals, state = sums
            images, labels = batch
            *new, state = self._part([trained, state, *rest], images, labels, count)
            return (*jax.tree.map(jnp.add, totals, new), state), None

        if size == count:
            return self._part(values, images, labels, count)
        zeros = jnp.zeros(1 + len(self._forward.metrics.sums))
        sums: Any = (zeros, [jnp.zeros_like(x) for x in trained], state)
        parts = [
            x[: whole * size].reshape(whole, size, *x.shape[1:])
            for x in (images, labels)
        ]
        sums, _ = jax.lax.scan(part, sums, parts)
        if count % size:
            sums, _ = part(sums, [x[whole * size :] for x in (images, labels)])
        return sums

    def _part(
        self, values: list[Values], images: Tensor, labels: Tensor, count: int
    ) -> tuple[Tensor, Values, Values]:
        """Returns the results of a part of a batch, gradients and the new state."""
        share = len(images) / count

        def objective(trained: Values) -> tuple[Tensor, Any]:
            with self._scope([trained, *values[1:]]) as scope:
                loss, results = self._forward(images, labels, share, float(count))
            state = [scope.get_current_value(v) for v in self._variables()[1]]
            return loss, (results, state)

        gradients, (results, state) = jax.grad(objective, has_aux=True)(values[0])
        return results, gradients, state

    def _scope(self, values: list[Values]) -> keras.StatelessScope:
        """Returns a context in which the variables have these values."""
        variables, values = (
            [x for group in groups for x in group]
            for groups in (self._variables(), values)
        )
        return keras.StatelessScope(list(zip(variables, values, strict=True)))

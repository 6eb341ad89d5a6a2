"""Margins: by how much examples are classified rightly."""

import jax.numpy as jnp

from descentlab._types import Array, PyTree
from descentlab.axis import Axis
from descentlab.point import Point
from descentlab.probes.base import AbstractProbe
from descentlab.schedule import AbstractSchedule, LogSpaced

__all__ = ["Margin"]


class Margin(AbstractProbe):
    r"""The smallest and the mean margin of the batch.

    The margin of a sign is $y F$, that of a class $F_y - \max_{c \ne y} F_c$; it is above 0 where the example is
    classified rightly. Examples that do not count in the loss are left out.

    Args:
        when: the steps at which they are recorded.

    Raises:
        DefinitionError: if targets are neither classes nor signs.
    """

    when: AbstractSchedule = LogSpaced()

    def __call__(self, point: Point) -> Array:
        """Smallest and mean."""
        objective = point.objective
        measure, (_, targets, weights, _) = objective.loss_function, objective.examples
        margins = measure.margins(objective.outputs(point.params), targets)
        counted = measure.counted(targets, weights)
        if counted is None:
            return jnp.stack([margins.min(), margins.mean()])
        spread = (counted > 0).reshape(*counted.shape, *(1,) * (margins.ndim - counted.ndim))
        counts = jnp.broadcast_to(spread, margins.shape)
        smallest = jnp.min(jnp.where(counts, margins, jnp.inf))
        return jnp.stack([smallest, jnp.sum(jnp.where(counts, margins, 0)) / counts.sum()])

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """Smallest and mean."""
        del params
        return (Axis("quantity", ("smallest", "mean")),)

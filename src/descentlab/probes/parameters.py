"""The trained parameters themselves."""

from jax.flatten_util import ravel_pytree

from descentlab._types import Array, PyTree
from descentlab.axis import Axis
from descentlab.point import Point
from descentlab.probes.base import AbstractProbe
from descentlab.schedule import AbstractSchedule, At

__all__ = ["Parameters"]


class Parameters(AbstractProbe):
    """The trained blocks as one vector, in tree order.

    Args:
        when: the steps at which they are recorded.
    """

    when: AbstractSchedule = At((0,))

    def __call__(self, point: Point) -> Array:
        """All trained parameters."""
        return ravel_pytree(point.params)[0]

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The parameters, numbered."""
        del params
        return (Axis("parameter"),)

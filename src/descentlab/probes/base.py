"""The probe interface: what is recorded, and when."""

from abc import abstractmethod

import equinox as eqx

from descentlab._types import Array, PyTree
from descentlab.point import Point
from descentlab.schedule import AbstractSchedule


class AbstractProbe(eqx.Module):
    """A quantity of a point. A probe looks and never changes the run.

    What can be computed from recorded series is not a probe.
    """

    when: eqx.AbstractVar[AbstractSchedule]

    @abstractmethod
    def __call__(self, point: Point) -> Array:
        """The quantity, an array whose shape is the same at every point of a run."""

    @abstractmethod
    def labels(self, params: PyTree) -> tuple[str, ...]:
        """Names of the entries along the last axis, empty for a single number or unnamed entries."""

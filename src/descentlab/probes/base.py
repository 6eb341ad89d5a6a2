"""The probe interface: what is recorded, and when."""

from abc import abstractmethod

import equinox as eqx

from descentlab._definition import Definition
from descentlab._types import Array, PyTree
from descentlab.point import Point
from descentlab.schedule import AbstractSchedule


class AbstractProbe(Definition):
    """A quantity of a point. A probe looks and never changes the run.

    What can be computed from recorded series is not a probe. Most need `__call__` and `labels` only; one that works
    faster from what it found at the last look keeps that as its memory.
    """

    when: eqx.AbstractVar[AbstractSchedule]

    @abstractmethod
    def __call__(self, point: Point) -> Array:
        """The quantity, an array whose shape is the same at every point of a run."""

    def begin(self, point: Point) -> PyTree:
        """The memory before the first look; none, unless a probe says otherwise."""
        del point

    def look(self, point: Point, memory: PyTree) -> tuple[Array, PyTree]:
        """The quantity, and the memory for the next look."""
        return self(point), memory

    @abstractmethod
    def labels(self, params: PyTree) -> tuple[str, ...]:
        """Names of the entries along the last axis, empty for a single number or unnamed entries."""

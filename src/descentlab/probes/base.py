"""The probe interface: what is recorded, and when."""

from abc import abstractmethod

import equinox as eqx

from descentlab._definition import Definition
from descentlab._types import Array, PyTree
from descentlab.axis import Axis
from descentlab.point import Point
from descentlab.schedule import AbstractSchedule


class AbstractProbe(Definition):
    """A quantity of a point. A probe looks and never changes the run.

    What can be computed from recorded series is not a probe. Most need `__call__` only, and `axes` where they record
    more than a number; one that works faster from what it found at the last look keeps that as its memory.
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

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The name of every axis of the quantity, in order; none, for a single number, unless a probe says otherwise.

        Args:
            params: the trained blocks, with which names may vary.
        """
        del params
        return ()

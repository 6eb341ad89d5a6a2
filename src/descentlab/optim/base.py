"""The optimizer interface."""

from abc import abstractmethod
from typing import NamedTuple

from descentlab._definition import Definition
from descentlab._types import Array, Bool, Float, PyTree
from descentlab.point import Point


class Update(NamedTuple):
    """One update of the trained blocks.

    Attributes:
        params: the new trained blocks.
        state: what the next update needs.
        step_size: the factor of the gradient in this update; 0 where no step was made.
        accurate: false where the update could not be made to its tolerance.
    """

    params: PyTree
    state: PyTree
    step_size: Float[Array, ""]
    accurate: Bool[Array, ""]


class AbstractOptimizer(Definition):
    """A rule that moves the trained blocks from a point."""

    @abstractmethod
    def init(self, point: Point) -> PyTree:
        """The state before the first update; may look at the curvature at the start."""

    @abstractmethod
    def step(self, point: Point, state: PyTree) -> Update:
        """One update."""

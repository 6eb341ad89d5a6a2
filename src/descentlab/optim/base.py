"""The optimizer interface."""

from abc import abstractmethod
from typing import ClassVar, NamedTuple

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
    """A rule that moves the trained blocks from a point.

    Attributes:
        adaptive: whether the rule has a preconditioner.
    """

    adaptive: ClassVar[bool] = False

    @abstractmethod
    def init(self, point: Point) -> PyTree:
        """The state before the first update; may look at the curvature at the start."""

    @abstractmethod
    def step(self, point: Point, state: PyTree) -> Update:
        """One update."""

    def preconditioner(self, state: PyTree) -> PyTree | None:
        r"""The diagonal of P where steps are along $P^{-1} m$, from the state after an update; `None` for P = 1."""
        del state

    @property
    def threshold(self) -> Float[Array, ""] | float | None:
        r"""The sharpness above which the rule moves away from the minimum of a quadratic; `None` where it is not known.

        It is that of the Hessian, or of $P^{-1/2} H P^{-1/2}$ where the rule is `adaptive`.
        """

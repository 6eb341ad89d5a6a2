"""When a lane has come where it was to go: `LossBelow`, `GradientBelow`, or a rule of one's own."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp

from descentlab._check import positive, real
from descentlab._definition import Definition
from descentlab._tree import norm_squared
from descentlab._types import Array, Bool
from descentlab.point import Point

__all__ = ["AbstractStop", "GradientBelow", "LossBelow"]


class AbstractStop(Definition):
    """The rule by which a lane ends before its last step."""

    @abstractmethod
    def reached(self, point: Point) -> Bool[Array, ""]:
        """Whether the lane ends at a point; it is asked at every step, the first and the last included."""


class LossBelow(AbstractStop):
    r"""The loss of the step is below a number, $f < \epsilon$.

    Args:
        loss: the number $\epsilon$.

    Raises:
        Mistake: if it is not above 0.
    """

    loss: float = eqx.field(default=0.01, converter=real)

    def __check_init__(self):
        positive(self, "loss")

    def reached(self, point: Point) -> Bool[Array, ""]:
        """Whether the lane ends at a point."""
        return point.loss < self.loss


class GradientBelow(AbstractStop):
    r"""The norm of the gradient in all trained blocks together is below a number, $\|\nabla f\| < \epsilon$.

    Args:
        norm: the number $\epsilon$.

    Raises:
        Mistake: if it is not above 0.
    """

    norm: float = eqx.field(default=1e-6, converter=real)

    def __check_init__(self):
        positive(self, "norm")

    def reached(self, point: Point) -> Bool[Array, ""]:
        """Whether the lane ends at a point."""
        return jnp.sqrt(norm_squared(point.gradient)) < self.norm

"""Loss and step size."""

from descentlab._types import Array
from descentlab.point import Point
from descentlab.probes.base import AbstractProbe
from descentlab.schedule import AbstractSchedule, LogSpaced

__all__ = ["Loss", "StepSize"]


class Loss(AbstractProbe):
    """The objective f = 1/(2N) sum of squared residuals.

    Args:
        when: the steps at which it is recorded.
    """

    when: AbstractSchedule = LogSpaced()

    def __call__(self, point: Point) -> Array:
        """The loss."""
        return point.loss


class StepSize(AbstractProbe):
    """The step size of the update that led to a point; NaN at step 0.

    Args:
        when: the steps at which it is recorded.
    """

    when: AbstractSchedule = LogSpaced()

    def __call__(self, point: Point) -> Array:
        """The step size."""
        return point.step_size

"""A number with its error, and a number with its interval."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # claims are judged where there is no JAX
    from descentlab._types import ArrayLike

__all__ = ["Estimate", "Interval"]


class Estimate(NamedTuple):
    """A computed value and how far it may lie from the true one.

    Attributes:
        value: the number.
        error: bound, residual or standard error, in the units of `value`; the producer says which.
    """

    value: "ArrayLike"
    error: "ArrayLike"


class Interval(NamedTuple):
    """A value and the two ends of its interval, which need not lie equally far from it.

    Attributes:
        low: the lower end.
        value: the number.
        high: the upper end.
    """

    low: float
    value: float
    high: float

    @property
    def sides(self) -> tuple[float, float]:
        """How far the ends lie from the value, below and above."""
        # Ends that are the value itself lie nowhere else, though it be infinite.
        below = 0.0 if self.low == self.value else self.value - self.low
        above = 0.0 if self.high == self.value else self.high - self.value
        return below, above

    @property
    def error(self) -> float:
        """The longer of its two sides."""
        return max(self.sides)

    def towards(self, bound: float) -> float:
        """How far the interval reaches from the value to the side of a bound: the uncertainty of comparing the two.

        Where the value is the bound itself it is the longer of the two sides.
        """
        if self.value == bound:
            return self.error
        below, above = self.sides
        return below if self.value > bound else above

    def widened(self, error: float) -> "Interval":
        """The interval with an error of the numbers themselves added at both ends."""
        return Interval(self.low - error, self.value, self.high + error)

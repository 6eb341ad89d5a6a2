"""A number with its error."""

from typing import NamedTuple

from descentlab._types import ArrayLike


class Estimate(NamedTuple):
    """A computed value and how far it may lie from the true one.

    Attributes:
        value: the number.
        error: bound, residual or standard error, in the units of `value`; the producer says which.
    """

    value: ArrayLike
    error: ArrayLike

"""A number with its error."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from descentlab._types import ArrayLike

__all__ = ["Estimate", "mean_interval"]

_STUDENT = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
    2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484,
    2.0452, 2.0423,
)  # fmt: skip
"""Half-widths of the 95 % interval of Student's distribution with 1 to 30 degrees of freedom."""


class Estimate(NamedTuple):
    """A computed value and how far it may lie from the true one.

    Attributes:
        value: the number.
        error: bound, residual or standard error, in the units of `value`; the producer says which.
    """

    value: ArrayLike
    error: ArrayLike


def mean_interval(values: ArrayLike | Sequence[float]) -> Estimate:
    r"""The mean of independent numbers; the error is the half-width of its 95 % interval, $t\,s/\sqrt n$.

    Beyond 31 numbers the quantile t of 31 is taken, which is a little wide. A single number has an infinite error.

    Args:
        values: one number a seed.

    Raises:
        ValueError: if there is no number.

    Example:
        >>> mean_interval([1.0, 2.0, 3.0]).value
        2.0
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    if not numbers.size:
        raise ValueError("a mean needs at least one number, got none")
    mean = float(numbers.mean())
    if numbers.size == 1:
        return Estimate(mean, np.inf)
    quantile = _STUDENT[min(numbers.size - 1, len(_STUDENT)) - 1]
    return Estimate(mean, float(quantile * numbers.std(ddof=1) / np.sqrt(numbers.size)))

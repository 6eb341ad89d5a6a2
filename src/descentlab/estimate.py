"""A number with its error."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from descentlab._types import ArrayLike

__all__ = ["Estimate", "mean_interval"]


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

    The factor t is a quantile of Student's distribution. A single number has an infinite error.

    Args:
        values: one number a seed.

    Raises:
        ValueError: if there is no number.

    Examples:
        >>> mean_interval([1.0, 2.0, 3.0]).value
        2.0
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    if not numbers.size:
        raise ValueError("a mean needs at least one number, got none")
    mean = float(numbers.mean())
    if numbers.size == 1:
        return Estimate(mean, np.inf)
    quantile = scipy.stats.t.ppf(0.975, numbers.size - 1)
    return Estimate(mean, float(quantile * numbers.std(ddof=1) / np.sqrt(numbers.size)))

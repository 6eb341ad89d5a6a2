"""A number with its error, and intervals of 95 % over independent numbers such as seeds."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from descentlab._types import ArrayLike
from descentlab.mistake import Mistake

__all__ = ["Estimate", "Interval", "bootstrap_interval", "mean_interval", "share_difference", "share_interval"]

RESAMPLES = 2000


class Estimate(NamedTuple):
    """A computed value and how far it may lie from the true one.

    Attributes:
        value: the number.
        error: bound, residual or standard error, in the units of `value`; the producer says which.
    """

    value: ArrayLike
    error: ArrayLike


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

    def towards(self, bound: float) -> float:
        """How far the interval reaches from the value to the side of a bound: the uncertainty of comparing the two.

        Where the value is the bound itself it is the longer of the two sides.
        """
        # Ends that are the value itself lie nowhere else, though it be infinite.
        below = 0.0 if self.low == self.value else self.value - self.low
        above = 0.0 if self.high == self.value else self.high - self.value
        if self.value == bound:
            return max(below, above)
        return below if self.value > bound else above


def mean_interval(values: ArrayLike | Sequence[float], resolution: float = 0.0) -> Estimate:
    r"""The mean of independent numbers; the error is the half-width of its 95 % interval, $t\,s/\sqrt n$.

    The factor t is a quantile of Student's distribution. A single number has an infinite error. Numbers that agree
    within what the measurement can tell apart have that as their error, not none.

    Args:
        values: one number a seed.
        resolution: the least step between two numbers, such as one example of a test set; 0 where there is none.

    Raises:
        Mistake: if there is no number.

    Examples:
        >>> mean_interval([1.0, 2.0, 3.0]).value
        2.0
        >>> mean_interval([0.5, 0.5, 0.5], resolution=1 / 4000).error
        0.00025
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    if not numbers.size:
        raise Mistake("a mean needs at least one number, got none")
    mean = float(numbers.mean())
    if numbers.size == 1:
        return Estimate(mean, np.inf)
    quantile = scipy.stats.t.ppf(0.975, numbers.size - 1)
    half = float(quantile * numbers.std(ddof=1) / np.sqrt(numbers.size))
    # Numbers on a grid of the resolution differ by rounding alone or by at least one step.
    return Estimate(mean, max(half, resolution) if np.ptp(numbers) < resolution / 2 else half)


def share_interval(hits: int, count: int) -> Interval:
    """The share of trials that came out one way, with its exact 95 % interval (Clopper and Pearson).

    Args:
        hits: how many did.
        count: of trials.

    Raises:
        Mistake: if there is no trial.

    Examples:
        >>> round(share_interval(1, 1).low, 3)
        0.025
    """
    if count < 1:
        raise Mistake(f"a share needs at least one trial, got {count}")
    low, high = scipy.stats.binomtest(hits, count).proportion_ci(0.95)
    return Interval(float(low), hits / count, float(high))


def share_difference(one: Interval, other: Interval) -> Interval:
    """One share minus another of independent trials, its interval made of theirs.

    Args:
        one: of `share_interval`.
        other: likewise.

    References:
        Newcombe (1998), Statistics in Medicine 17, 873-890, method 10, here with exact intervals.
    """
    gap = one.value - other.value
    below = np.hypot(one.value - one.low, other.high - other.value)
    above = np.hypot(one.high - one.value, other.value - other.low)
    return Interval(gap - float(below), gap, gap + float(above))


def bootstrap_interval(statistic: Callable[..., np.ndarray], *samples: ArrayLike | Sequence[float]) -> Interval:
    """A statistic of one sample or several, with its 95 % percentile bootstrap interval over seeds.

    Samples are drawn again each by itself. A sample of one seed says nothing about others: the interval is then
    infinite, as it is where the statistic is no number in a resample.

    Args:
        statistic: of arrays with an axis in front of the samples' own, one entry a resample, which it keeps.
        samples: one row a seed.

    Raises:
        Mistake: if a sample has no row.
    """
    rows = [np.asarray(sample, dtype=np.float64) for sample in samples]
    if any(not len(one) for one in rows):
        raise Mistake("a bootstrap needs at least one number a sample, got none")
    random = np.random.default_rng(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(statistic(*(one[None] for one in rows))[0])
        drawn = statistic(*(one[random.integers(0, len(one), (RESAMPLES, len(one)))] for one in rows))
    if min(len(one) for one in rows) < 2 or np.isnan(drawn).any():
        return Interval(-np.inf, value, np.inf)
    # No number between two: infinite ones have none.
    low, high = np.quantile(drawn, 0.025, method="lower"), np.quantile(drawn, 0.975, method="higher")
    return Interval(float(low), value, float(high))

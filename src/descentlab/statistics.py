r"""The statistics that decide verdicts: intervals of 95 % over independent numbers, such as one a seed.

Each says from how many numbers it answers. Below that its interval is infinite, which leaves a claim *undecided*. From
there on the true value lies within at least 93 of 100 intervals, for numbers that are normal, skewed or have heavy
tails as far as the table of `docs/concepts/statistics.md` goes.
"""

from collections.abc import Callable, Sequence

import numpy as np
import scipy.special
import scipy.stats

from descentlab._types import ArrayLike
from descentlab.estimate import Estimate, Interval
from descentlab.mistake import Mistake

__all__ = [
    "bootstrap_interval",
    "factor_interval",
    "mean_interval",
    "paired_interval",
    "printed",
    "ratio_of_medians",
    "share_difference",
    "share_interval",
    "slope_interval",
    "slopes",
]

RESAMPLES = 2000

ENOUGH = 5
"""Numbers a sample from which a bootstrap answers: below it even the range covers a median less often than 93 %."""

Numbers = ArrayLike | Sequence[float]


def mean_interval(values: Numbers, resolution: float = 0.0) -> Interval:
    r"""The mean of independent numbers, with Student's interval $t\,s/\sqrt n$ on both sides.

    Answers from two numbers. Positive numbers that spread over factors are for `factor_interval`.

    Args:
        values: one number a seed.
        resolution: the least step between two numbers, such as one example of a test set; 0 where there is none.
            Numbers that agree within what the measurement can tell apart have that as their error, not none.

    Raises:
        Mistake: if there is no number.

    Examples:
        >>> mean_interval([1.0, 2.0, 3.0]).value
        2.0
        >>> mean_interval([0.5, 0.5, 0.5], resolution=1 / 4096).error
        0.000244140625
    """
    numbers = _rows(values).ravel()
    mean = float(numbers.mean())
    if numbers.size == 1:
        return Interval(-np.inf, mean, np.inf)
    half = float(scipy.special.stdtrit(numbers.size - 1, 0.975) * numbers.std(ddof=1) / np.sqrt(numbers.size))
    # Numbers on a grid of the resolution differ by rounding alone or by at least one step.
    half = max(half, resolution) if np.ptp(numbers) < resolution / 2 else half
    return Interval(mean - half, mean, mean + half)


def paired_interval(one: Numbers, other: Numbers, resolution: float = 0.0) -> Interval:
    """The mean of `one` minus `other` where each seed gives a number to both. Answers from two seeds.

    Args:
        one: one number a seed.
        other: likewise, the same seeds in the same order.
        resolution: the least step between two differences; see `mean_interval`.

    Raises:
        Mistake: if there is no seed, or not the same number of seeds on both sides.
    """
    first, second = _rows(one), _rows(other)
    if first.shape != second.shape:
        raise Mistake(f"paired numbers need the same seeds on both sides, got shapes {first.shape} and {second.shape}")
    return mean_interval(first - second, resolution)


def factor_interval(values: Numbers) -> Interval:
    r"""The geometric mean of positive numbers: $e$ to Student's interval of their logarithms. Answers from two numbers.

    Args:
        values: one number a seed, such as the ratio of two paired ones; where one is not above 0 there is no interval.

    Raises:
        Mistake: if there is no number.

    Examples:
        >>> round(factor_interval([0.1, 10.0]).value, 12)
        1.0
    """
    numbers = _rows(values)
    if not np.all(numbers > 0):
        return Interval(np.nan, np.nan, np.nan)
    low, middle, high = np.exp(mean_interval(np.log(numbers)))
    return Interval(float(low), float(middle), float(high))


def slopes(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Slopes of straight lines by least squares, one for every row of `y`.

    Args:
        x: places, one axis.
        y: numbers at them along the last axis.
    """
    places = np.asarray(x, dtype=np.float64)
    centred = places - places.mean()
    return np.asarray(y, dtype=np.float64) @ centred / (centred @ centred)


def slope_interval(x: ArrayLike, y: ArrayLike) -> Interval:
    """The mean slope of lines, one fitted to each seed by least squares. Answers from two seeds.

    Args:
        x: places, one axis.
        y: numbers, axes seed and place; of log numbers at log places the slope is a power.

    Raises:
        Mistake: if there is no seed.
    """
    return mean_interval(slopes(x, y))


def share_interval(hits: int, count: int) -> Interval:
    """The share of trials that came out one way, with its exact interval (Clopper and Pearson). Answers from one trial.

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
    """One share minus another of independent trials, its interval made of theirs. Answers from one trial each.

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


def bootstrap_interval(statistic: Callable[..., np.ndarray], *samples: Numbers) -> Interval:
    r"""A statistic of one sample or several by the expanded percentile bootstrap. Answers from five seeds a sample.

    Samples are drawn again each by itself. Percentiles lie at $\Phi(-t\sqrt{n/(n-1)})$ in place of 2.5 %, n seeds in
    the smallest sample and t Student's quantile, since resamples spread less than samples do. Where the statistic is no
    number in a resample there is no interval.

    Args:
        statistic: of arrays with an axis in front of the samples' own, one entry a resample, which it keeps.
        samples: one row a seed.

    Raises:
        Mistake: if a sample has no row.

    References:
        Hesterberg (2015), What teachers should know about the bootstrap, The American Statistician 69, 371-386.
    """
    rows = [_rows(sample) for sample in samples]
    random = np.random.default_rng(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(statistic(*(one[None] for one in rows))[0])
        drawn = statistic(*(one[random.integers(0, len(one), (RESAMPLES, len(one)))] for one in rows))
    count = min(map(len, rows))
    if count < ENOUGH or np.isnan(drawn).any():
        return Interval(-np.inf, value, np.inf)
    tail = scipy.special.ndtr(-np.sqrt(count / (count - 1)) * scipy.special.stdtrit(count - 1, 0.975))
    # No number between two: infinite ones have none.
    low, high = np.quantile(drawn, tail, method="lower"), np.quantile(drawn, 1 - tail, method="higher")
    return Interval(float(low), value, float(high))


def ratio_of_medians(top: Numbers, bottom: Numbers) -> Interval:
    """The median of one sample over that of another, by `bootstrap_interval`. Answers from five seeds each.

    Args:
        top: one number a seed.
        bottom: likewise, of seeds of its own.

    Raises:
        Mistake: if a sample is empty.
    """
    return bootstrap_interval(lambda one, other: np.median(one, axis=1) / np.median(other, axis=1), top, bottom)


def printed(text: str) -> Estimate:
    """A number as it is printed, with half a unit of its last digit as its error.

    Args:
        text: digits, with or without a point and an exponent.

    Raises:
        Mistake: if it is no number.

    Examples:
        >>> printed("0.6807")
        Estimate(value=0.6807, error=5e-05)
    """
    digits, _, exponent = text.strip().lower().partition("e")
    try:
        value, power = float(text), int(exponent or 0)
    except ValueError:
        raise Mistake(f"a printed number is wanted, got {text!r}") from None
    return Estimate(value, float(f"5e{power - len(digits.partition('.')[2]) - 1}"))


def _rows(values: Numbers) -> np.ndarray:
    """The numbers with seeds as the first axis.

    Raises:
        Mistake: if there is none.
    """
    rows = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if not len(rows):
        raise Mistake("a statistic needs at least one number of every sample, got none")
    return rows

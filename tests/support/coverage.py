"""How often the intervals of `descentlab.statistics` contain the true value: the table of docs/concepts/statistics.md.

    PYTHONPATH=tests python -m support.coverage

It takes some minutes; the tests try less often.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from descentlab import statistics
from descentlab.estimate import Interval

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


class Population(NamedTuple):
    """Numbers as runs give them, one a seed, with their true mean, median and geometric mean (NaN: not looked at)."""

    draw: Draw
    mean: float
    median: float
    geometric: float


def _lognormal(spread: float) -> Population:
    return Population(lambda random, shape: np.exp(spread * random.normal(size=shape)), np.exp(spread**2 / 2), 1.0, 1.0)


POPULATIONS: Mapping[str, Population] = {
    "normal": Population(lambda random, shape: 10 + random.normal(size=shape), 10.0, 10.0, np.nan),
    "log-normal, 0.25": _lognormal(0.25),
    "log-normal, 1": _lognormal(1.0),
    "heavy": Population(lambda random, shape: 10 + random.standard_t(3, size=shape), 10.0, 10.0, np.nan),
    "factors, heavy": Population(
        lambda random, shape: np.exp(0.3 * random.standard_t(3, size=shape)), np.nan, 1.0, 1.0
    ),
}
"""Heavy: Student's distribution with three degrees of freedom; factors: e to it. The number is the standard deviation
of the logarithm."""


def _median(batch: np.ndarray) -> np.ndarray:
    return np.median(batch, axis=1)


def _paired(one: np.ndarray) -> Interval:
    return statistics.paired_interval(*np.split(one, 2))


def _ratio(one: np.ndarray) -> Interval:
    return statistics.ratio_of_medians(*np.split(one, 2))


class Method(NamedTuple):
    """A statistic of numbers of one seed each, its true value, the smallest number of seeds, and how many samples."""

    interval: Callable[[np.ndarray], Interval]
    truth: Callable[[Population], float]
    smallest: int
    samples: int = 1


METHODS: Mapping[str, Method] = {
    "mean": Method(statistics.mean_interval, lambda one: one.mean, 2),
    "paired difference": Method(_paired, lambda _: 0.0, 2, 2),
    "factor": Method(statistics.factor_interval, lambda one: one.geometric, 2),
    "median": Method(lambda one: statistics.bootstrap_interval(_median, one), lambda one: one.median, 5),
    "ratio of medians": Method(_ratio, lambda _: 1.0, 5, 2),
}
"""Two samples are drawn from one population each, so that their true difference is 0 and their ratio 1."""


def share_covered(method: Method, population: Population, seeds: int, draws: int) -> float:
    """The share of intervals that contain the true value; NaN where there is none to contain.

    Args:
        method: the statistic.
        population: where the numbers come from.
        seeds: numbers in a sample.
        draws: how many times it is tried.
    """
    truth = method.truth(population)
    if np.isnan(truth):
        return np.nan
    drawn = population.draw(np.random.default_rng(seeds), (draws, method.samples * seeds))
    found = [method.interval(one) for one in drawn]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def main() -> None:
    """Print the table."""
    print(f"| statistic | seeds | {' | '.join(POPULATIONS)} |")
    print(f"|---|---|{'---|' * len(POPULATIONS)}")
    for name, method in METHODS.items():
        draws = 2000 if method.smallest == 5 else 20_000
        for seeds in (method.smallest, *(count for count in (3, 5, 10, 20) if count > method.smallest)):
            shares = [share_covered(method, population, seeds, draws) for population in POPULATIONS.values()]
            cells = ["" if np.isnan(share) else f"{100 * share:.1f}" for share in shares]
            print(f"| {name} | {seeds} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

"""What is read off recorded norms: slopes, means over seeds, and claims on them."""

from collections.abc import Sequence

import numpy as np

from descentlab._describe import value_at
from descentlab._tree import is_meant
from descentlab._types import ArrayLike
from descentlab.claims import About, Claim, close
from descentlab.estimate import Estimate, mean_interval
from descentlab.runs import Run
from descentlab.trajectory import Series

__all__ = ["arrays_of", "mean", "norms", "norms_at", "scales", "slope", "slope_claim", "small"]


def scales(run: Run) -> np.ndarray:
    """The scales of the embeddings."""
    return np.asarray(value_at(run.experiment, "probes.growth.scales"))


def arrays_of(run: Run, block: str) -> list[str]:
    """The names of the arrays of a block, first layer to last."""
    names = (str(name) for name in run.trajectory["growth"].entries("array"))
    return [name for name in names if is_meant(name, block)]


def _recorded(run: Run, part: str, array: str) -> Series:
    """The norms of one part of one array, given by its name, or by its block if that has one array."""
    (name,) = arrays_of(run, array)
    return run.trajectory["growth"].sel(part=part, array=name)


def norms(run: Run, part: str, array: str) -> np.ndarray:
    """Norms of one part of one array at the start, axes seed and scale."""
    return _recorded(run, part, array).at(0)


def small(run: Run) -> np.ndarray:
    """Which scales are below 0.1."""
    return scales(run) < 0.1


def slope(run: Run, part: str, array: str, where: ArrayLike) -> Estimate:
    """The slope of log norm against log scale by least squares: its mean over seeds with the 95 % interval.

    NaN where a norm is zero.
    """
    chosen = np.asarray(where)
    x, y = np.log(scales(run)[chosen]), norms(run, part, array)[:, chosen]
    if not np.all(y > 0):
        return Estimate(np.nan, np.inf)
    return mean_interval(np.polyfit(x, np.log(y).T, 1)[0])


def mean(run: Run, part: str, array: str) -> Estimate:
    """The mean over seeds at every scale, and the half-width of its 95 % interval."""
    each = [mean_interval(column) for column in norms(run, part, array).T]
    values, errors = np.asarray(each, dtype=np.float64).T
    return Estimate(values, errors)


def slope_claim(about: About, found: Sequence[Estimate], expected: ArrayLike, tolerance: ArrayLike) -> Claim:
    """The claim that every slope is the expected one."""
    values, errors = np.asarray(found, dtype=np.float64).T
    return close(about, values, expected, tolerance=tolerance, uncertainty=errors)


def norms_at(run: Run, part: str, array: str) -> np.ndarray:
    """Norms of one part of one array at the first scale, axes seed and look."""
    return _recorded(run, part, array).sel(scale=0).values

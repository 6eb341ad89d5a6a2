"""What is read off recorded norms: slopes and means over seeds."""

import numpy as np

from descentlab._describe import value_at
from descentlab._tree import is_meant
from descentlab._types import ArrayLike
from descentlab.estimate import Interval
from descentlab.runs import Run
from descentlab.statistics import mean_interval, slope_interval
from descentlab.trajectory import Series

__all__ = ["arrays_of", "means", "norms", "norms_at", "scales", "slope", "small"]


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


def slope(run: Run, part: str, array: str, where: ArrayLike) -> Interval:
    """The slope of log norm against log scale by least squares: its mean over seeds with the 95 % interval.

    NaN where a norm is zero.
    """
    chosen = np.asarray(where)
    found = norms(run, part, array)[:, chosen]
    if not np.all(found > 0):
        return Interval(np.nan, np.nan, np.nan)
    return slope_interval(np.log(scales(run)[chosen]), np.log(found))


def means(run: Run, part: str, array: str) -> list[Interval]:
    """The mean over seeds at every scale, with its 95 % interval."""
    return [mean_interval(column) for column in norms(run, part, array).T]


def norms_at(run: Run, part: str, array: str) -> np.ndarray:
    """Norms of one part of one array at the first scale, axes seed and look."""
    return _recorded(run, part, array).sel(scale=0).values

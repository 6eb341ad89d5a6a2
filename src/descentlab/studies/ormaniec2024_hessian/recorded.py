"""What is read off recorded norms, and the numbers that the paper's authors published with their code.

Those are means of 20 repeats at width 128, with draws and seeds that are not ours. Slopes are least squares of log norm
on log scale: *small* over the seven smallest scales of twenty (0.01 to 0.09), *large* over the seven largest (1.13 to
10). Values are at the places of the first, seventh, fourteenth and last scale, at a width of 16 read off a histogram.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from descentlab._tree import is_meant
from descentlab._types import ArrayLike
from descentlab.claims import About, Claim, close, not_applicable
from descentlab.estimate import Interval
from descentlab.published import read_published
from descentlab.runs import Run
from descentlab.statistics import mean_interval, slope_interval
from descentlab.studies.ormaniec2024_hessian.setting import WIDTH
from descentlab.trajectory import Series

PAPER = "Ormaniec et al. 2024"
FILES = f"{PAPER}, stored results"
PAGE = "docs/theory/attention_hessian.md"

PUBLISHED = read_published(Path(__file__).with_name("published.csv"))
PLACES = (0, 6, 13, 19)
SCALES = tuple(float(10 ** (-2 + 3 * place / 19)) for place in PLACES)
"""Scales of the embeddings at which values are compared."""

SYMBOLS = {"outer": "H_o", "functional": "H_f", "hessian": "H"}
"""Names of the parts in claims and figures."""


class LeadingPower(NamedTuple):
    """The power of the scale with which the norm of a part of a block grows."""

    block: str
    part: str
    exponent: float

    @property
    def words(self) -> str:
        """The part and the block."""
        return f"{SYMBOLS[self.part]} of {self.block}"


def scales(run: Run) -> np.ndarray:
    """The scales of the embeddings."""
    return np.asarray(run.field("probes.growth.scales"))


def small(run: Run) -> np.ndarray:
    """Which scales are below 0.1."""
    return scales(run) < 0.1


def places(run: Run) -> list[int]:
    """Where the scales are at which values are published."""
    return [int(np.argmin(np.abs(scales(run) - one))) for one in SCALES]


def arrays_of(run: Run, block: str) -> list[str]:
    """The names of the arrays of a block, first layer to last."""
    names = (str(name) for name in run.trajectory["growth"].entries("array"))
    return [name for name in names if is_meant(name, block)]


def recorded(run: Run, part: str, array: str) -> Series:
    """The norms of one part of one array, given by its name, or by its block if that has one array."""
    (name,) = arrays_of(run, array)
    return run.trajectory["growth"].sel(part=part, array=name)


def norms(run: Run, part: str, array: str) -> np.ndarray:
    """Norms of one part of one array at the start, axes seed and scale."""
    return recorded(run, part, array).at(0)


def slope(run: Run, part: str, array: str, where: ArrayLike) -> Interval:
    """The slope of log norm against log scale by least squares: its mean over seeds with the 95 % interval.

    NaN where a norm is zero.
    """
    chosen = np.asarray(where)
    found = norms(run, part, array)[:, chosen]
    if not np.all(found > 0):
        return Interval(np.nan, np.nan, np.nan)
    return slope_interval(np.log(scales(run)[chosen]), np.log(found))


def means(run: Run, part: str, array: str, where: Sequence[int]) -> list[Interval]:
    """The mean over seeds at some scales, with its 95 % interval."""
    return [mean_interval(column) for column in norms(run, part, array)[:, where].T]


def ratio(run: Run) -> np.ndarray:
    """H of the value over H of the query block, axes seed and scale; NaN where one of them is zero."""
    value, query = norms(run, "hessian", "value"), norms(run, "hessian", "query")
    known = (value > 0) & (query > 0)
    return np.divide(value, query, out=np.full_like(value, np.nan), where=known)


def within(about: About, found: Sequence[Interval], published: np.ndarray, factor: float, run: Run) -> Claim:
    """The claim that means are the published ones within a factor. Both are means over seeds, with errors like ours.

    Logarithms are compared, so that too large and too small are alike.
    """
    if (width := run.field("model.width")) != WIDTH:
        return not_applicable(about, f"values are published at width {WIDTH}, this run has width {width}")
    value, error = (np.asarray(part) for part in zip(*((one.value, one.error) for one in found), strict=True))
    spread = np.sqrt(2) * error / np.maximum(value, np.finfo(float).tiny)
    return close(about, np.log(value / published), 0.0, tolerance=np.log(factor), uncertainty=spread)


def beside(found: Sequence[Interval], published: Sequence[float] | np.ndarray, form: str = "g") -> str:
    """Measured numbers with the published ones in brackets."""
    return ", ".join(f"{one.value:.3g} ({other:{form}})" for one, other in zip(found, published, strict=True))

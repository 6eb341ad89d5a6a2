"""Norms and slopes of one layer against the published ones."""

from collections.abc import Mapping, Sequence

import numpy as np

from descentlab._describe import value_at
from descentlab.claims import About, Claim, close, not_applicable
from descentlab.estimate import Interval
from descentlab.runs import Run
from descentlab.statistics import mean_interval
from descentlab.studies.ormaniec2024_hessian.charts import SYMBOLS
from descentlab.studies.ormaniec2024_hessian.published import (
    FILES,
    NORMALISED,
    NORMALISED_ALL,
    NORMALISED_RATIO,
    SCALES,
    SINGLE,
    SOURCE,
    Quantity,
)
from descentlab.studies.ormaniec2024_hessian.setting import WIDTH
from descentlab.studies.ormaniec2024_hessian.slopes import means, norms, scales, slope

__all__ = ["falling", "normalised", "ratio", "values", "within"]

WITHIN = {"small": 1.15, "large": 1.5}
"""Factor within which values below a scale of 0.1, and above 1, should agree."""


def ratio(run: Run) -> np.ndarray:
    """H of the value over H of the query block, axes seed and scale; NaN where one of them is zero."""
    value, query = norms(run, "hessian", "value"), norms(run, "hessian", "query")
    known = (value > 0) & (query > 0)
    return np.divide(value, query, out=np.full_like(value, np.nan), where=known)


def within(about: About, found: Sequence[Interval], published: np.ndarray, factor: float, width: int) -> Claim:
    """The claim that means are the published ones within a factor. Both are means over seeds, with errors like ours.

    Logarithms are compared, so that too large and too small are alike.
    """
    if width != WIDTH:
        return not_applicable(about, f"values are published at width {WIDTH}, this run has width {width}")
    value, error = (np.asarray(part) for part in zip(*((one.value, one.error) for one in found), strict=True))
    spread = np.sqrt(2) * error / np.maximum(value, np.finfo(float).tiny)
    return close(about, np.log(value / published), 0.0, tolerance=np.log(factor), uncertainty=spread)


def values(run: Run) -> list[Claim]:
    """The norms at the four scales of the table, block by block."""
    places = [int(np.argmin(np.abs(scales(run) - one))) for one in SCALES]
    found = []
    for block in ("value", "query"):
        for regime, some in (("small", slice(0, 2)), ("large", slice(2, 4))):
            measured, published, said = [], [], []
            for (name, part), row in SINGLE.items():
                if name != block:
                    continue
                ours = [means(run, part, block)[place] for place in places[some]]
                measured += ours
                published += row[some]
                pairs = ", ".join(f"{one.value:.3g} ({other:.3g})" for one, other in zip(ours, row[some], strict=True))
                said.append(f"{SYMBOLS[part]} {pairs}")
            factor, at = WITHIN[regime], " and ".join(f"{one:.3g}" for one in SCALES[some])
            about = About(
                f"values-{block}-{regime}",
                f"Norms of the {block} block at scales {at} are the published ones within a factor {factor:g}",
                FILES,
                "softmax",
                f"Measured (published): {'; '.join(said)}. Logarithms of ratios are compared.",
            )
            wanted = np.asarray(published)
            found.append(within(about, measured, wanted, factor, value_at(run.experiment, "model.width")))
    return found


def _against(run: Run, published: Mapping[Quantity, float], where: np.ndarray) -> tuple[list[Interval], str]:
    """Slopes, and in words with the published ones."""
    found = [slope(run, part, block, where) for block, part in published]
    said = ", ".join(
        f"{SYMBOLS[part]} of {block} {one.value:.3g} ({wanted:g})"
        for ((block, part), wanted), one in zip(published.items(), found, strict=True)
    )
    return found, said


def falling(kernel: str, run: Run) -> Claim:
    """Slopes with pre-norm where embeddings are large."""
    found, said = _against(run, NORMALISED, scales(run) > 1)
    about = About(
        f"pre-norm-large-{kernel}",
        "With pre-norm the slopes above a scale of 1 are those published for softmax, within 0.1",
        FILES,
        kernel,
        f"Measured (published): {said}.",
    )
    return close(about, found, np.asarray(list(NORMALISED.values())), tolerance=0.1)


def normalised(run: Run) -> list[Claim]:
    """Slopes over all scales and ends of the ratio, with pre-norm."""
    found, said = _against(run, NORMALISED_ALL, scales(run) > 0)
    ends = ratio(run)[:, [0, -1]]
    middles = [mean_interval(one) for one in ends.T]
    compared = ", ".join(f"{one.value:.3g} ({wanted:g})" for one, wanted in zip(middles, NORMALISED_RATIO, strict=True))
    return [
        close(
            About(
                "pre-norm-all-softmax",
                "With pre-norm the slopes over all scales are those printed in the figure, within 0.1",
                f"{SOURCE}, figure 3",
                "softmax",
                f"Measured (published): {said}.",
            ),
            found,
            np.asarray(list(NORMALISED_ALL.values())),
            tolerance=0.1,
        ),
        within(
            About(
                "pre-norm-ratio-softmax",
                "With pre-norm H of value over H of query is as published at both ends, within a factor 1.5",
                FILES,
                "softmax",
                f"Measured (published): {compared}. Logarithms of ratios are compared.",
            ),
            middles,
            np.asarray(NORMALISED_RATIO),
            WITHIN["large"],
            value_at(run.experiment, "model.width"),
        ),
    ]

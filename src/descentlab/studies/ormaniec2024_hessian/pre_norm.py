"""Norms of one layer with pre-norm, small embeddings and large: statements of the section on growth."""

import numpy as np

from descentlab.claims import About, Claim, claim, close, not_applicable
from descentlab.runs import Family, Run
from descentlab.statistics import mean_interval
from descentlab.studies.ormaniec2024_hessian.recorded import (
    FILES,
    PAPER,
    PUBLISHED,
    SYMBOLS,
    beside,
    ratio,
    scales,
    slope,
    small,
    within,
)

NORMED = "pre-norm"
"""The family of these runs."""

SMALLEST = 7
"""Scales below 0.1 among the published ones."""


@claim(
    "pre-norm-flat-{case}",
    "With pre-norm no slope over the seven scales below 0.1 is steeper than 0.15",
    FILES,
)
def flat(about: About, runs: Family) -> Claim:
    """While embeddings are smaller than what attention makes of normalised ones, their scale hardly counts."""
    run = runs[0]
    found = [slope(run, part, block, small(run)) for block in ("value", "query") for part in SYMBOLS]
    slopes = ", ".join(f"{one.value:.3f}" for one in found)
    about = about.noting(f"Slopes of H_o, H_f and H of value, then of query: {slopes}.")
    # The curves bend, so that other scales have other slopes.
    if small(run).sum() != SMALLEST:
        return not_applicable(about, f"this run has {small(run).sum()} scales there")
    return close(about, found, 0.0, tolerance=0.15)


def _sloping(about: About, run: Run, table: str, where: np.ndarray) -> Claim:
    """The claim that slopes with pre-norm are those of a table."""
    published = PUBLISHED.of(table=table)
    rows = list(zip(published.column("block"), published.column("part"), published.values, strict=True))
    found = [slope(run, part, block, where) for block, part, _ in rows]
    said = ", ".join(
        f"{SYMBOLS[part]} of {block} {beside([one], [wanted])}"
        for (block, part, wanted), one in zip(rows, found, strict=True)
    )
    return close(about.noting(f"Measured (published): {said}."), found, published.values, tolerance=0.1)


@claim(
    "pre-norm-large-{case}",
    "With pre-norm the slopes above a scale of 1 are those published for softmax, within 0.1",
    FILES,
)
def falling(about: About, runs: Family) -> Claim:
    """Where embeddings are large."""
    run = runs[0]
    return _sloping(about, run, "pre-norm large slope", scales(run) > 1)


@claim(
    "pre-norm-all-{case}",
    "With pre-norm the slopes over all scales are those printed in the figure, within 0.1",
    f"{PAPER}, figure 3",
    cases=("softmax",),
)
def sloping(about: About, runs: Family) -> Claim:
    """Over all scales."""
    run = runs[0]
    return _sloping(about, run, "pre-norm slope", scales(run) > 0)


@claim(
    "pre-norm-ratio-{case}",
    "With pre-norm H of value over H of query is as published at both ends, within a factor 1.5",
    FILES,
    cases=("softmax",),
)
def ends(about: About, runs: Family) -> Claim:
    """The ratio of the blocks at the smallest and the largest scale."""
    run = runs[0]
    middles = [mean_interval(one) for one in ratio(run)[:, [0, -1]].T]
    published = PUBLISHED.of(table="pre-norm ratio").values
    about = about.noting(f"Measured (published): {beside(middles, published)}. Logarithms of ratios are compared.")
    return within(about, middles, published, 1.5, run)


STATEMENTS = (flat, falling, sloping, ends)

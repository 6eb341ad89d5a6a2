"""How the norms of the query and the value block grow with the scale of the embeddings, in one layer."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, Statement, at_least, at_most, claim, close
from descentlab.experiment import Experiment
from descentlab.models import PreNorm
from descentlab.probes import Growth
from descentlab.runs import Family, Runs
from descentlab.statistics import mean_interval
from descentlab.studies.ormaniec2024_hessian import pre_norm
from descentlab.studies.ormaniec2024_hessian.charts import growth_chart
from descentlab.studies.ormaniec2024_hessian.pre_norm import NORMED
from descentlab.studies.ormaniec2024_hessian.recorded import (
    FILES,
    PAGE,
    PAPER,
    PUBLISHED,
    SCALES,
    SYMBOLS,
    LeadingPower,
    beside,
    means,
    norms,
    places,
    ratio,
    scales,
    slope,
    within,
)
from descentlab.studies.ormaniec2024_hessian.setting import WIDTH, sized
from descentlab.study import Section, Size
from descentlab.sweep import Request


def _powers(functional: float) -> tuple[LeadingPower, ...]:
    exponents = {("value", "outer"): 2.0, ("value", "hessian"): 2.0, ("query", "outer"): 6.0}
    bent = {("query", part): functional for part in ("functional", "hessian")}
    return tuple(LeadingPower(*of, exponent) for of, exponent in (exponents | bent).items())


POWERS = {"softmax": _powers(5.0), "gaussian": _powers(3.0)}
r"""Leading powers of the scale in one layer.

The scores of softmax are linear in the query, so that the second derivative of a row is a product of four tokens. The
exponent of the Gaussian kernel has the term $-c \lVert q \rVert^2$, whose second derivative is a product of two, and
without normalisation it does not cancel.
"""

PLAIN = "plain"


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """One layer without normalisation and with it, at all scales."""
    smoke, paper = size == Size.SMOKE, size == Size.PAPER
    seeds = tuple(range(2 if smoke else 20 if paper else 10))
    probe = Growth(scales=grid(size), draws=20 if paper else 2)
    plain = [base.changed({"probes": {"growth": probe}} | sized(8 if smoke else WIDTH)) for base in bases]
    normed = [one.changed({"model.norm": PreNorm()}) for one in (plain[:1] if smoke else plain)]
    return {family: [Request(one, seeds) for one in some] for family, some in ((PLAIN, plain), (NORMED, normed))}


def grid(size: Size) -> tuple[float, ...]:
    """The published twenty scales from 0.01 to 10, or seven of them; those at which values are published are there."""
    chosen = range(20) if size == Size.PAPER else (0, 3, 6, 10, 13, 16, 19)
    return tuple(float(10 ** (-2 + 3 * place / 19)) for place in chosen)


@claim(
    "value-functional-{case}",
    "H_f of the value block is exactly zero: outputs are piecewise linear in it",
    f"{PAPER}, theorem 3.2",
)
def zero(about: About, runs: Family) -> Claim:
    """Whether one part vanishes."""
    run = runs[0]
    return close(about, norms(run, "functional", "value"), 0.0)


def _grows(kernel: str, limit: float, source: str) -> Statement:
    """The exponent of every norm that is not zero, at scales below a limit."""

    @claim(
        "slope-{power.block}-{power.part}-{case}",
        f"Below a scale of {limit:g}, {{power.words}} grows with its power {{power.exponent:g}}, within 0.1",
        source,
        cases=(kernel,),
        over={"power": POWERS[kernel]},
    )
    def grows(about: About, runs: Family, power: LeadingPower) -> Claim:
        run = runs[0]
        measured = slope(run, power.part, power.block, scales(run) < limit)
        about = about.noting(f"Mean over seeds: {measured.value:.4g}.")
        if kernel == "softmax":
            published = PUBLISHED.of(table="small slope", block=power.block, part=power.part).values
            about = about.noting(f"Published: {published[0]:g}.")
        return close(about, measured, power.exponent, tolerance=0.1)

    return grows


# Rows of the Gaussian kernel sum to the number of keys, so that outputs are sooner as large as one.
SLOPES = (_grows("softmax", 0.1, f"{PAPER}, figure 3"), _grows("gaussian", 0.05, PAGE))


def _spans(family: str, words: str, bound: str) -> Statement:
    """How many decades the ratio of the two blocks spans."""

    @claim(
        f"span-{family}-{{case}}",
        f"{words} the norm of H of value over that of query spans {bound} between scales 0.01 and 10",
        f"{PAPER}, figure 3",
    )
    def spans(about: About, runs: Family) -> Claim:
        logs = np.log10(ratio(runs[0]))
        known = logs[:, ~np.isnan(logs).any(axis=0)]
        decades = mean_interval(known.max(axis=1) - known.min(axis=1))
        about = about.noting(f"Ratios by scale: {', '.join(f'{10**one:.3g}' for one in known.mean(axis=0))}.")
        return at_least(about, decades, 7.0) if family == PLAIN else at_most(about, decades, 2.5)

    return spans.on(family)


class Regime(NamedTuple):
    """Some of the scales of the table, and the factor within which values there should agree."""

    name: str
    factor: float
    scales: str
    where: slice


REGIMES = tuple(
    Regime(name, factor, " and ".join(f"{one:.3g}" for one in SCALES[where]), where)
    for name, factor, where in (("small", 1.15, slice(0, 2)), ("large", 1.5, slice(2, 4)))
)


@claim(
    "values-{block}-{regime.name}",
    "Norms of the {block} block at scales {regime.scales} are the published ones within a factor {regime.factor:g}",
    FILES,
    cases=("softmax",),
    over={"block": ("value", "query"), "regime": REGIMES},
)
def values(about: About, runs: Family, block: str, regime: Regime) -> Claim:
    """The norms at the four scales of the table."""
    run = runs[0]
    table = PUBLISHED.of(table="norm", block=block)
    measured, published, said = [], [], []
    for part in dict.fromkeys(table.column("part")):
        theirs = table.of(part=part).values[regime.where]
        ours = means(run, part, block, places(run)[regime.where])
        measured, published = [*measured, *ours], [*published, *theirs]
        said.append(f"{SYMBOLS[part]} {beside(ours, theirs, '.3g')}")
    about = about.noting(f"Measured (published): {'; '.join(said)}. Logarithms of ratios are compared.")
    return within(about, measured, np.asarray(published), regime.factor, run)


def _chart(family: str, kernel: str, runs: Runs) -> go.Figure:
    chosen = runs[family].of(kernel)
    powers = POWERS[kernel] if family == PLAIN else ()
    return growth_chart("Norms", chosen[0], ("value", "query"), powers) if chosen else go.Figure()


def softmax(runs: Runs) -> go.Figure:
    """Norms by block: softmax, no normalisation.

    One layer, mean over seeds with its standard error. H_f of the value block is zero. Dashed: the leading powers.
    """
    return _chart(PLAIN, "softmax", runs)


def gaussian(runs: Runs) -> go.Figure:
    """Norms by block: Gaussian kernel, no normalisation.

    The same starts. Queries and keys far from each other see nothing, so that all norms vanish at large scales.
    """
    return _chart(PLAIN, "gaussian", runs)


def softmax_normed(runs: Runs) -> go.Figure:
    """Norms by block: softmax, pre-norm.

    The scale counts only where embeddings are larger than what attention adds to them; there the normalisations that
    follow divide by it.
    """
    return _chart(NORMED, "softmax", runs)


def gaussian_normed(runs: Runs) -> go.Figure:
    """Norms by block: Gaussian kernel, pre-norm.

    Normalised queries and keys have one distance whatever the scale, and at this width a large one: attention adds
    little to the tokens, so that the scale counts everywhere.
    """
    return _chart(NORMED, "gaussian", runs)


STATEMENTS = (
    *(one.on(PLAIN) for one in (zero, *SLOPES, values)),
    _spans(PLAIN, "Without normalisation", "at least 7 decades"),
    _spans(NORMED, "With pre-norm", "at most 2.5 decades"),
    *(one.on(NORMED) for one in pre_norm.STATEMENTS),
)

section = Section("growth", requests, STATEMENTS, (softmax, gaussian, softmax_normed, gaussian_normed))

"""How the norms of the query and the value block grow with the scale of the embeddings, in one layer."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab._describe import replace_at
from descentlab.claims import About, Claim, at_least, at_most, close, not_applicable
from descentlab.experiment import Experiment
from descentlab.models import PreNorm
from descentlab.runs import Run, Runs
from descentlab.statistics import mean_interval
from descentlab.studies.ormaniec2024_hessian import compared
from descentlab.studies.ormaniec2024_hessian.charts import SYMBOLS, growth_chart
from descentlab.studies.ormaniec2024_hessian.norms import PARTS, Growth
from descentlab.studies.ormaniec2024_hessian.published import FILES, SMALL, SOURCE
from descentlab.studies.ormaniec2024_hessian.setting import WIDTH, sized
from descentlab.studies.ormaniec2024_hessian.slopes import norms, scales, slope, small
from descentlab.studies.song2024_convergence.kernels import kernels, of_kernel
from descentlab.studies.song2024_query.setting import changed
from descentlab.study import Section, Size
from descentlab.sweep import Request

EXPONENTS = {
    "softmax": {
        ("value", "outer"): 2.0,
        ("value", "hessian"): 2.0,
        ("query", "outer"): 6.0,
        ("query", "functional"): 5.0,
        ("query", "hessian"): 5.0,
    },
    "gaussian": {
        ("value", "outer"): 2.0,
        ("value", "hessian"): 2.0,
        ("query", "outer"): 6.0,
        ("query", "functional"): 3.0,
        ("query", "hessian"): 3.0,
    },
}
r"""Leading powers of the scale in one layer.

The scores of softmax are linear in the query, so that the second derivative of a row is a product of four tokens. The
exponent of the Gaussian kernel has the term $-c \lVert q \rVert^2$, whose second derivative is a product of two, and
without normalisation it does not cancel.
"""

PLAIN, NORMED = "plain", "pre-norm"

SMALLEST = 7
"""Scales below 0.1 among the published ones."""


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """One layer without normalisation and with it, at all scales."""
    smoke, paper = size == Size.SMOKE, size == Size.PAPER
    seeds = tuple(range(2 if smoke else 20 if paper else 10))
    probe = Growth(scales=grid(size), draws=20 if paper else 2)
    families: dict[str, list[Request]] = {PLAIN: [], NORMED: []}
    for base in bases:
        plain = changed(base, {"probes": {"growth": probe}} | sized(8 if smoke else WIDTH))
        families[PLAIN].append(Request(plain, seeds))
        if not smoke or base is bases[0]:
            families[NORMED].append(Request(replace_at(plain, "model.norm", PreNorm()), seeds))
    return families


def grid(size: Size) -> tuple[float, ...]:
    """The published twenty scales from 0.01 to 10, or seven of them; those at which values are published are there."""
    chosen = range(20) if size == Size.PAPER else (0, 3, 6, 10, 13, 16, 19)
    return tuple(float(10 ** (-2 + 3 * place / 19)) for place in chosen)


def claims(runs: Runs) -> list[Claim]:
    """Claims 3, 4 and 5 of the specification for one layer."""
    found = []
    for kernel in kernels(runs):
        for plain in of_kernel(runs, kernel, PLAIN):
            found += [_zero(kernel, plain), *_slopes(kernel, plain), _span(kernel, plain, PLAIN)]
            found += compared.values(plain) if kernel == "softmax" else []
        for normed in of_kernel(runs, kernel, NORMED):
            found += [_span(kernel, normed, NORMED), _flat(kernel, normed), compared.falling(kernel, normed)]
            found += compared.normalised(normed) if kernel == "softmax" else []
    return found


def _zero(kernel: str, run: Run) -> Claim:
    about = About(
        f"value-functional-{kernel}",
        "H_f of the value block is exactly zero: outputs are piecewise linear in it",
        f"{SOURCE}, theorem 3.2",
        kernel,
    )
    return close(about, norms(run, "functional", "value"), 0.0)


def _slopes(kernel: str, run: Run) -> list[Claim]:
    """The exponent of every norm that is not zero, at small scales."""
    # Rows of the Gaussian kernel sum to the number of keys, so that outputs are sooner as large as one.
    found, limit = [], 0.05 if kernel == "gaussian" else 0.1
    for (block, part), expected in EXPONENTS.get(kernel, {}).items():
        measured = slope(run, part, block, scales(run) < limit)
        published = f" Published: {SMALL[block, part]:g}." if kernel == "softmax" else ""
        about = About(
            f"slope-{block}-{part}-{kernel}",
            f"Below a scale of {limit:g}, {SYMBOLS[part]} of {block} grows with its power {expected:g}, within 0.1",
            f"{SOURCE}, figure 3" if kernel == "softmax" else "docs/theory/attention_hessian.md",
            kernel,
            f"Mean over seeds: {measured.value:.4g}.{published}",
        )
        found.append(close(about, measured, expected, tolerance=0.1))
    return found


def _span(kernel: str, run: Run, family: str) -> Claim:
    """How many decades the ratio of the two blocks spans from the smallest to the largest scale."""
    without = family == PLAIN
    text = "Without normalisation" if without else "With pre-norm"
    bound = "at least 7 decades" if without else "at most 2.5 decades"
    logs = np.log10(compared.ratio(run))
    known = logs[:, ~np.isnan(logs).any(axis=0)]
    decades = mean_interval(known.max(axis=1) - known.min(axis=1))
    said = ", ".join(f"{10**one:.3g}" for one in known.mean(axis=0))
    about = About(
        f"span-{family}-{kernel}",
        f"{text} the norm of H of value over that of query spans {bound} between scales 0.01 and 10",
        f"{SOURCE}, figure 3",
        kernel,
        f"Ratios by scale: {said}.",
    )
    compare = at_least if without else at_most
    return compare(about, decades, 7.0 if without else 2.5)


def _flat(kernel: str, run: Run) -> Claim:
    """While embeddings are smaller than what attention makes of normalised ones, their scale hardly counts."""
    found = [slope(run, part, block, small(run)) for block in ("value", "query") for part in PARTS]
    about = About(
        f"pre-norm-flat-{kernel}",
        "With pre-norm no slope over the seven scales below 0.1 is steeper than 0.15",
        FILES,
        kernel,
        "Slopes of H_o, H_f and H of value, then of query: " + ", ".join(f"{one.value:.3f}" for one in found) + ".",
    )
    # The curves bend, so that other scales have other slopes.
    if small(run).sum() != SMALLEST:
        return not_applicable(about, f"this run has {small(run).sum()} scales there")
    return close(about, found, 0.0, tolerance=0.15)


def _chart(family: str, kernel: str, runs: Runs) -> go.Figure:
    chosen = of_kernel(runs, kernel, family)
    exponents = EXPONENTS[kernel] if family == PLAIN else {}
    return growth_chart("Norms", chosen[0], ("value", "query"), exponents) if chosen else go.Figure()


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


section = Section("growth", requests, claims, (softmax, gaussian, softmax_normed, gaussian_normed))

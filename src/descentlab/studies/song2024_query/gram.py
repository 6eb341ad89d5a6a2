"""The Gram matrix of the query block, the bound through independent tokens, and what its certificate promises."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, above, at_least, at_most, claim, not_applicable
from descentlab.experiment import Experiment
from descentlab.optim import GramGD
from descentlab.plots.curves import ChartAxis, add_line, lines
from descentlab.plots.style import case_color
from descentlab.probes import GramSpectrum, Loss, PLRatio, StepSize
from descentlab.runs import Family, Runs
from descentlab.schedule import LogSpaced
from descentlab.study import Section, Size
from descentlab.sweep import Request, grid
from descentlab.tasks import InRange
from descentlab.theory import pl
from descentlab.theory.certificate import Certified
from descentlab.theory.query_block import QueryBlock
from descentlab.theory.rounding import sum_rounding
from descentlab.theory.soundness import Promises

SHAPES = ((1, 6), (1, 16), (4, 16))
"""Heads and token width: D below and above Nn = 12, and four heads."""

SOURCE = "docs/theory/query_block.md"


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Runs by line search, and runs with a constant step from targets so near that some are certified in advance."""
    seeds = size.seeds(2, 5, 20)
    probes = {
        "loss": Loss(LogSpaced(10)),
        "step_size": StepSize(LogSpaced(10)),
        "query": Certified(certificate=QueryBlock(), when=LogSpaced(4)),
        "pl": PLRatio(LogSpaced(4)),
        "gram": GramSpectrum(LogSpaced(4)),
    }
    traced = [base.changed({"probes": probes, "steps": size.pick(60, 1_000, 1_000)}) for base in bases]
    shapes = [{"model.heads": heads, "task.dim": dim} for heads, dim in size.pick(SHAPES[1:2], SHAPES, SHAPES)]
    near = [InRange(("query",), float(scale)) for scale in np.geomspace(1e-8, 1e-3, size.pick(3, 12, 12))]
    close = [one for base in traced for one in grid(base, {"optimizer": [GramGD(0.4)], "task.target": near})]
    return {
        "shapes": [Request(base.changed(shape), seeds) for base in traced for shape in shapes],
        "near": [Request(one, seeds) for one in close],
    }


def _wide(runs: Family) -> Family:
    """Those with D >= Nn."""
    wide = [one for one in runs if one.field("task.dim") >= one.field("data.samples") * one.field("task.tokens")]
    return Family(wide, runs.axis)


def _numbers(runs: Family, *names: str) -> list[np.ndarray]:
    """What was recorded of K and of its bound at all points."""
    return [
        np.concatenate([one["query"].sel(quantity=name).values.ravel() for one in runs.trajectories]) for name in names
    ]


@claim(
    "query-gram-{case}",
    "K of the query block is the entrywise product of token and g products, to rounding of its largest entry",
    SOURCE,
)
def formula(about: About, runs: Family) -> Claim:
    """Whether the formula of K gives its entries; what rounding of sums over the weights does is a share of them."""
    (mismatch,) = _numbers(runs, "mismatch")
    if np.isnan(mismatch).all():
        return not_applicable(about, "no formula of g is known for this kernel")
    return at_most(about, mismatch, sum_rounding(runs.trajectories))


@claim("query-bound-{case}", "lambda_min(K_Q) is at least sigma_min(X)^2 gamma^2 / N", SOURCE)
def bound(about: About, runs: Family) -> Claim:
    """Whether the smallest eigenvalue obeys its bound."""
    smallest, largest, least = _numbers(runs, "smallest", "largest", "bound")
    if np.isnan(least).all():
        return not_applicable(about, "no formula of g is known for this kernel")
    own, under = _numbers(_wide(runs), "smallest", "bound")
    factor = np.median(own / np.where(under > 0, under, np.nan))
    about = about.noting(f"Where D >= Nn it is {factor:.3g} times as large in the median.")
    return at_least(about, smallest, least, slack=sum_rounding(runs.trajectories) * largest)


@claim(
    "query-positive-{case}",
    "With D >= Nn the bound is above zero at every recorded point, by more than rounding of lambda_max",
    SOURCE,
)
def positive(about: About, runs: Family) -> Claim:
    """Whether the bound says anything."""
    largest, least = _numbers(_wide(runs), "largest", "bound")
    if np.isnan(least).all():
        return not_applicable(about, "no formula of g is known for this kernel")
    return above(about, least / largest, sum_rounding(runs.trajectories))


@claim("query-pl-{case}", "The gradient obeys PL with lambda_min(K_Q)", "docs/theory/pl.md")
def gradient(about: About, runs: Family) -> Claim:
    """The PL inequality."""
    return pl.pl_inequality(about, runs.trajectories)


def bounds(runs: Runs) -> go.Figure:
    """Smallest eigenvalue of the Gram matrix and its bound along a run.

    One head, D = 16 numbers a token for Nn = 12 targets; medians over seeds. Dashed: the bound through the smallest
    singular value of the tokens and the weakest vector g. Where attention of a token becomes one-hot (softmax) or its
    query is far from all keys (Gaussian), g vanishes and takes both lines with it.
    """
    figure = lines("lambda_min", ChartAxis("step", "log"), ChartAxis("lambda_min(K_Q)", "log"))
    for kernel, some in _wide(runs["shapes"]).where("model.heads", 1).by_case().items():
        for run in some:
            record, color = run.trajectory["query"], case_color(kernel)
            smallest, least = (np.median(record.sel(quantity=q).values, axis=0) for q in ("smallest", "bound"))
            add_line(figure, np.maximum(record.steps, 1), smallest, kernel, color=color, dash="solid")
            add_line(figure, np.maximum(record.steps, 1), least, f"{kernel}, bound", color=color)
    return figure


section = Section(
    "Gram matrix of the query block",
    requests,
    [*(one.on("shapes") for one in (formula, bound, positive, gradient)), Promises(QueryBlock(), "near")],
    (bounds,),
)

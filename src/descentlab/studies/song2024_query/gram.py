"""The Gram matrix of the query block, the bound through independent tokens, and what its certificate promises."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, above, at_least, at_most, not_applicable
from descentlab.experiment import Experiment
from descentlab.optim import GramGD
from descentlab.plots.curves import ChartAxis, add_line, lines
from descentlab.plots.style import case_color
from descentlab.probes import GramSpectrum, Loss, PLRatio, StepSize
from descentlab.runs import Run, Runs
from descentlab.schedule import LogSpaced
from descentlab.studies.song2024_convergence.kernels import kernels, of_kernel, shape, targets, trajectories
from descentlab.studies.song2024_query.setting import changed
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.tasks import InRange
from descentlab.theory import pl
from descentlab.theory.certificate import Certified
from descentlab.theory.query_block import QueryBlock
from descentlab.theory.rounding import sum_rounding

SHAPES = ((1, 6), (1, 16), (4, 16))
"""Heads and token width: D below and above Nn = 12, and four heads."""


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Runs by line search, and runs with a constant step from targets so near that some are certified in advance."""
    smoke, paper = size == Size.SMOKE, size == Size.PAPER
    seeds = tuple(range(2 if smoke else 20 if paper else 5))
    steps = 60 if smoke else 1_000
    probes = {
        "loss": Loss(LogSpaced(10)),
        "step_size": StepSize(LogSpaced(10)),
        "query": Certified(certificate=QueryBlock(), when=LogSpaced(4)),
        "pl": PLRatio(LogSpaced(4)),
        "gram": GramSpectrum(LogSpaced(4)),
    }
    scales = np.geomspace(1e-8, 1e-3, 3 if smoke else 12)
    families: dict[str, list[Request]] = {"shapes": [], "near": []}
    for base in bases:
        traced = changed(base, {"probes": probes, "steps": steps})
        for heads, dim in SHAPES[1:2] if smoke else SHAPES:
            families["shapes"].append(Request(changed(traced, {"model.heads": heads, "task.dim": dim}), seeds))
        near = changed(traced, {"optimizer": GramGD(0.4)})
        for scale in scales:
            families["near"].append(Request(changed(near, {"task.target": InRange(("query",), float(scale))}), seeds))
    return families


def claims(runs: Runs) -> list[Claim]:
    """The formula, its bound, PL, and the certificate."""
    return [claim for kernel in kernels(runs) for claim in _of_kernel(kernel, runs)]


def _of_kernel(kernel: str, runs: Runs) -> list[Claim]:
    chosen = of_kernel(runs, kernel, "shapes")
    source = "docs/theory/query_block.md"
    about = About(
        f"query-gram-{kernel}",
        "K of the query block is the entrywise product of token and g products, to rounding of its largest entry",
        source,
        kernel,
    )
    mismatch = _column(chosen, "mismatch")
    if np.isnan(mismatch).all():
        return [not_applicable(about, "no formula of g is known for this kernel")]
    smallest, largest, bound = (_column(chosen, name) for name in ("smallest", "largest", "bound"))
    # What rounding of sums over the weights does to a number, as a share of the largest.
    rounding = sum_rounding(trajectories(chosen))
    wide = np.concatenate([np.full(run.trajectory["query"].values.shape[:2], _wide(run)).ravel() for run in chosen])
    factor = np.median((smallest / np.where(bound > 0, bound, np.nan))[wide])
    return [
        at_most(about, mismatch, rounding),
        at_least(
            About(
                f"query-bound-{kernel}",
                "lambda_min(K_Q) is at least sigma_min(X)^2 gamma^2 / N",
                source,
                kernel,
                f"Where D >= Nn it is {factor:.3g} times as large in the median.",
            ),
            smallest,
            bound,
            slack=rounding * largest,
        ),
        above(
            About(
                f"query-positive-{kernel}",
                "With D >= Nn the bound is above zero at every recorded point, by more than rounding of lambda_max",
                source,
                kernel,
            ),
            (bound / largest)[wide],
            rounding,
        ),
        pl.pl_inequality(
            About(f"query-pl-{kernel}", "The gradient obeys PL with lambda_min(K_Q)", "docs/theory/pl.md", kernel),
            trajectories(chosen),
        ),
        *QueryBlock().promises(kernel, trajectories(of_kernel(runs, kernel, "near"))),
    ]


def _wide(run: Run) -> bool:
    """Whether D >= Nn."""
    return shape(run)[1] >= targets(run)


def _column(runs: Sequence[Run], name: str) -> np.ndarray:
    return np.concatenate([run.trajectory["query"].sel(quantity=name).values.ravel() for run in runs])


def bounds(runs: Runs) -> go.Figure:
    """Smallest eigenvalue of the Gram matrix and its bound along a run.

    One head, D = 16 numbers a token for Nn = 12 targets; medians over seeds. Dashed: the bound through the smallest
    singular value of the tokens and the weakest vector g. Where attention of a token becomes one-hot (softmax) or its
    query is far from all keys (Gaussian), g vanishes and takes both lines with it.
    """
    figure = lines("lambda_min", ChartAxis("step", "log"), ChartAxis("lambda_min(K_Q)", "log"))
    for kernel in kernels(runs):
        for run in of_kernel(runs, kernel, "shapes"):
            record = run.trajectory["query"]
            if _wide(run) and shape(run)[0] == 1:
                color, steps = case_color(kernel), np.maximum(record.steps, 1)
                smallest, bound = (np.median(record.sel(quantity=q).values, axis=0) for q in ("smallest", "bound"))
                add_line(figure, steps, smallest, kernel, color=color, dash="solid")
                add_line(figure, steps, bound, f"{kernel}, bound", color=color)
    return figure


section = Section("Gram matrix of the query block", requests, claims, (bounds,))

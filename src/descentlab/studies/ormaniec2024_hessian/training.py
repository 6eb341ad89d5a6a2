"""How the curvature of one layer evolves along training: what the paper, which looks at starts only, does not show."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, Values, above, at_most, below, claim, close, of_seeds
from descentlab.curvature import Krylov
from descentlab.experiment import Experiment
from descentlab.optim import GD, AbstractOptimizer, Adam, SignGD
from descentlab.plots.curves import ChartAxis, add_band, add_level, lines
from descentlab.probes import CriticalSharpness, Growth, Loss, Sharpness
from descentlab.runs import Family, Run, Runs, case_of
from descentlab.schedule import Every
from descentlab.statistics import mean_interval, paired_interval
from descentlab.studies.ormaniec2024_hessian.recorded import recorded
from descentlab.studies.ormaniec2024_hessian.setting import sized
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.trajectory import Series

__all__ = ["section"]

STEP_SIZE = 0.5

OPTIMIZERS: dict[str, AbstractOptimizer] = {"GD": GD(STEP_SIZE), "Adam": Adam(3e-3), "SignGD": SignGD(1e-3)}
"""Each with a rate at which the loss of every seed falls in the quick size."""

HERE = "docs/studies/ormaniec2024_hessian.md"


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is trained.

    Attributes:
        width: of the layer.
        steps: of a run.
        looks: steps between two looks at the Hessian.
        seeds: their number.
        optimizers: their names.
    """

    width: int
    steps: int
    looks: int
    seeds: int
    optimizers: tuple[str, ...] = tuple(OPTIMIZERS)


PLANS = {
    Size.SMOKE: Plan(4, 4, 2, 2, ("GD",)),
    Size.QUICK: Plan(8, 120, 20, 3),
    Size.PAPER: Plan(64, 3000, 100, 10),
}


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """All blocks of one layer trained on the addition of numbers, by optimizer."""
    plan = PLANS[size]
    changes = {
        "trained": None,
        "steps": plan.steps,
        "probes": {
            "loss": Loss(Every(1)),
            "sharpness": Sharpness(Every(plan.looks), 1, 1, Krylov(1e-3, 300)),
            "critical": CriticalSharpness(Every(1)),
            "growth": Growth(draws=10, when=Every(plan.looks)),
        },
    } | sized(plan.width)
    return {
        kind: [
            Request(base.changed(changes | {"optimizer": OPTIMIZERS[kind]}), tuple(range(plan.seeds))) for base in bases
        ]
        for kind in plan.optimizers
    }


KINDS: dict[str, Values] = {"kind": list}
"""Optimizers, by which the runs are named."""


def heterogeneity(run: Run) -> np.ndarray:
    """The norm of the value block's Hessian over that of the query block's, axes seed and look."""
    value, query = (recorded(run, "hessian", block).sel(scale=0).values for block in ("value", "query"))
    return value / query


def _largest(run: Run) -> Series:
    """The largest eigenvalue along training."""
    return run.trajectory["sharpness"].sel(eigenvalue="top.0", quantity="value")


def _critical(run: Run) -> Series:
    """The critical sharpness along training."""
    return run.trajectory["critical"].sel(quantity="sharpness")


def _threshold(run: Run) -> float:
    return 2 / run.field("optimizer.lr")


@claim(
    "alike-{kind}-{case}",
    "Training with {kind} brings the norms of the Hessians of value and query closer (decades between them fall)",
    HERE,
    over=KINDS,
)
def alike(about: About, runs: Runs, kind: str) -> Claim:
    """Whether training makes the two blocks more alike."""
    ratio = heterogeneity(runs[kind][0])
    about = about.noting(
        f"Value over query: {ratio[:, 0].mean():.3g} at the start, {ratio[:, -1].mean():.3g} at the end."
    )
    decades = np.abs(np.log10(ratio))
    return above(about, paired_interval(decades[:, 0], decades[:, -1]), 0.0)


@claim(
    "indefinite-{kind}-{case}",
    "Training with {kind} makes the Hessian less indefinite: -smallest / largest eigenvalue falls",
    HERE,
    over=KINDS,
)
def less_indefinite(about: About, runs: Runs, kind: str) -> Claim:
    """Whether the most negative eigenvalue gets small beside the largest."""
    record = runs[kind][0].trajectory["sharpness"]
    smallest, largest = (record.sel(eigenvalue=one, quantity="value").values for one in ("bottom.0", "top.0"))
    share = -smallest / largest
    about = about.noting(f"{share[:, 0].mean():.3g} at the start, {share[:, -1].mean():.3g} at the end.")
    return above(about, paired_interval(share[:, 0], share[:, -1]), 0.0)


@claim("trained-{kind}-{case}", "{kind} lowers the loss of every seed", HERE, over=KINDS)
def falls(about: About, runs: Runs, kind: str) -> Claim:
    """Whether training trains."""
    loss = runs[kind][0].trajectory["loss"].values
    about = about.noting(f"From {loss[:, 0].mean():.3f} to {loss[:, -1].mean():.3f} nats; chance is ln 10 = 2.303.")
    return of_seeds(below(about, loss[:, -1], loss[:, 0]), len(loss))


def _settled(about: About, record: Series, threshold: float, share: float) -> Claim:
    """The claim that the means of the last quarter of training lie about a threshold, up to a share of it."""
    late = record.values[:, -max(1, record.steps.size // 4) :].mean(axis=1)
    about = about.noting(f"By seed {', '.join(f'{one:.3g}' for one in late)}; 2 / step size is {threshold:g}.")
    return close(about, mean_interval(late), threshold, tolerance=share * threshold)


@claim(
    "edge-{case}",
    "Under GD the sharpness of the last quarter of training lies within 20 % of 2 / step size",
    "Cohen et al. 2021, arXiv:2103.00065, figure 1",
)
def edge(about: About, runs: Family) -> Claim:
    """Whether gradient descent ends at the edge of stability."""
    run = runs[0]
    return _settled(about, _largest(run), _threshold(run), 0.2)


@claim(
    "edge-along-{case}",
    "Under GD the critical sharpness of the last quarter of training lies within 10 % of 2 / step size",
    "Kalra et al. 2026, arXiv:2601.16979",
)
def edge_along(about: About, runs: Family) -> Claim:
    """Whether it does so along its own updates."""
    run = runs[0]
    return _settled(about, _critical(run), _threshold(run), 0.1)


@claim(
    "directional-{case}",
    "Under GD the critical sharpness is at most the sharpness, within its bracket and 10 %",
    "Kalra et al. 2026, arXiv:2601.16979; exact where the loss is quadratic up to the critical step",
)
def directional(about: About, runs: Family) -> Claim:
    """Whether the curvature along the update stays below the largest, where both are known."""
    run = runs[0]
    sharp, critical = run.trajectory["sharpness"].sel(eigenvalue="top.0"), run.trajectory["critical"]
    places = np.searchsorted(critical.steps, sharp.steps)
    along, error = (critical.sel(quantity=one).values[:, places] for one in ("sharpness", "error"))
    largest = sharp.sel(quantity="value").values
    known = np.isfinite(along) & (largest > 0)
    slack = 0.1 * largest + sharp.sel(quantity="error").values
    about = about.noting(f"Median quotient {np.nanmedian(along / largest):.3g}.")
    return of_seeds(at_most(about, along, largest, slack=slack, uncertainty=error, where=known), len(along))


def _drawn(runs: Runs, title: str, label: str, values: Callable[[Run], tuple[np.ndarray, np.ndarray]]) -> go.Figure:
    figure = lines(title, ChartAxis("step"), ChartAxis(label, "log"))
    for kind, family in runs.items():
        for run in family:
            steps, numbers = values(run)
            add_band(figure, steps, numbers, f"{case_of(run.experiment)}, {kind}", color=None, quantiles=(0.0, 1.0))
    return figure


def sharpness(runs: Runs) -> go.Figure:
    """Sharpness along training.

    Largest eigenvalue of the Hessian of all blocks, median and range over seeds. The level is 2 / step size of GD.
    """
    figure = _drawn(runs, "Sharpness", "sharpness", lambda run: (_largest(run).steps, _largest(run).values))
    return add_level(figure, 2 / STEP_SIZE, "2 / step size of GD")


def along_updates(runs: Runs) -> go.Figure:
    """Critical sharpness along training.

    The curvature along the next update, from losses alone, in units of 2 / step size: above one the update raises the
    loss. Median and range over seeds.
    """
    label = "critical sharpness x step size / 2"
    return _drawn(
        runs, "Critical sharpness", label, lambda run: (_critical(run).steps, _critical(run).values / _threshold(run))
    )


def blocks(runs: Runs) -> go.Figure:
    """Heterogeneity along training.

    Frobenius norm of the Hessian of the value block over that of the query block, median and range over seeds.
    """
    return _drawn(
        runs, "Value over query", "ratio of norms", lambda run: (run.trajectory["growth"].steps, heterogeneity(run))
    )


STATEMENTS = (alike, less_indefinite, falls, *(one.on("GD") for one in (edge, edge_along, directional)))

section = Section("training", requests, STATEMENTS, (sharpness, along_updates, blocks))

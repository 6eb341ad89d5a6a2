"""How the curvature of one layer evolves along training: what the paper, which looks at starts only, does not show."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab._describe import value_at
from descentlab.claims import About, Claim, above, at_most, below, close, of_seeds
from descentlab.curvature import Krylov
from descentlab.experiment import Experiment
from descentlab.optim import GD, AbstractOptimizer, Adam, SignGD
from descentlab.plots.curves import ChartAxis, add_band, add_level, lines
from descentlab.probes import CriticalSharpness, Loss, Sharpness
from descentlab.runs import Run, Runs
from descentlab.schedule import Every
from descentlab.statistics import mean_interval, paired_interval
from descentlab.studies.ormaniec2024_hessian.norms import Growth
from descentlab.studies.ormaniec2024_hessian.setting import sized
from descentlab.studies.ormaniec2024_hessian.slopes import norms_at
from descentlab.studies.song2024_convergence.kernels import kernels, of_kernel
from descentlab.studies.song2024_query.setting import changed
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.trajectory import Series

__all__ = ["section"]

OPTIMIZERS: dict[str, AbstractOptimizer] = {"GD": GD(0.5), "Adam": Adam(3e-3), "SignGD": SignGD(1e-3)}
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
            Request(changed(base, changes | {"optimizer": OPTIMIZERS[kind]}), tuple(range(plan.seeds)))
            for base in bases
        ]
        for kind in plan.optimizers
    }


def claims(runs: Runs) -> list[Claim]:
    """Whether the two blocks grow alike, the Hessian gets less indefinite, and where its sharpness settles."""
    found = []
    for kind in runs:
        for kernel in kernels(runs):
            for run in of_kernel(runs, kernel, kind):
                found += [alike(kind, kernel, run), less_indefinite(kind, kernel, run), falls(kind, kernel, run)]
                if kind == "GD":
                    found += [edge(kernel, run), edge_along(kernel, run), directional(kernel, run)]
    return found


def heterogeneity(run: Run) -> np.ndarray:
    """The norm of the value block's Hessian over that of the query block's, axes seed and look."""
    return norms_at(run, "hessian", "value") / norms_at(run, "hessian", "query")


def falls(kind: str, kernel: str, run: Run) -> Claim:
    """Whether training trains."""
    loss = run.trajectory["loss"].values
    about = About(
        f"trained-{kind.lower()}-{kernel}",
        f"{kind} lowers the loss of every seed",
        HERE,
        kernel,
        f"From {loss[:, 0].mean():.3f} to {loss[:, -1].mean():.3f} nats; chance is ln 10 = 2.303.",
    )
    return of_seeds(below(about, loss[:, -1], loss[:, 0]), len(loss))


def alike(kind: str, kernel: str, run: Run) -> Claim:
    """Whether training makes the two blocks more alike."""
    ratio = np.abs(np.log10(heterogeneity(run)))
    first, last = heterogeneity(run)[:, 0], heterogeneity(run)[:, -1]
    about = About(
        f"alike-{kind.lower()}-{kernel}",
        f"Training with {kind} brings the norms of the Hessians of value and query closer (decades between them fall)",
        HERE,
        kernel,
        f"Value over query: {first.mean():.3g} at the start, {last.mean():.3g} at the end.",
    )
    return above(about, paired_interval(ratio[:, 0], ratio[:, -1]), 0.0)


def less_indefinite(kind: str, kernel: str, run: Run) -> Claim:
    """Whether the most negative eigenvalue gets small beside the largest."""
    record = run.trajectory["sharpness"]
    smallest, largest = (record.sel(eigenvalue=one, quantity="value").values for one in ("bottom.0", "top.0"))
    share = -smallest / largest
    about = About(
        f"indefinite-{kind.lower()}-{kernel}",
        f"Training with {kind} makes the Hessian less indefinite: -smallest / largest eigenvalue falls",
        HERE,
        kernel,
        f"{share[:, 0].mean():.3g} at the start, {share[:, -1].mean():.3g} at the end.",
    )
    return above(about, paired_interval(share[:, 0], share[:, -1]), 0.0)


def _largest(run: Run) -> Series:
    """The largest eigenvalue along training."""
    return run.trajectory["sharpness"].sel(eigenvalue="top.0", quantity="value")


def _critical(run: Run) -> Series:
    """The critical sharpness along training."""
    return run.trajectory["critical"].sel(quantity="sharpness")


def _late(record: Series) -> np.ndarray:
    """Means over the last quarter of training, one a seed."""
    return record.values[:, -max(1, record.steps.size // 4) :].mean(axis=1)


def _settled(about: About, late: np.ndarray, threshold: float, share: float) -> Claim:
    """The claim that the means of seeds lie about a threshold, up to a share of it."""
    detail = f"By seed {', '.join(f'{one:.3g}' for one in late)}; 2 / step size is {threshold:g}."
    about = dataclasses.replace(about, detail=detail)
    return close(about, mean_interval(late), threshold, tolerance=share * threshold)


def edge(kernel: str, run: Run) -> Claim:
    """Whether gradient descent ends at the edge of stability."""
    about = About(
        f"edge-{kernel}",
        "Under GD the sharpness of the last quarter of training lies within 20 % of 2 / step size",
        "Cohen et al. 2021, arXiv:2103.00065, figure 1",
        kernel,
    )
    return _settled(about, _late(_largest(run)), _threshold(run), 0.2)


def edge_along(kernel: str, run: Run) -> Claim:
    """Whether it does so along its own updates."""
    about = About(
        f"edge-along-{kernel}",
        "Under GD the critical sharpness of the last quarter of training lies within 10 % of 2 / step size",
        "Kalra et al. 2026, arXiv:2601.16979",
        kernel,
    )
    return _settled(about, _late(_critical(run)), _threshold(run), 0.1)


def _threshold(run: Run) -> float:
    return 2 / value_at(run.experiment, "optimizer.lr")


def directional(kernel: str, run: Run) -> Claim:
    """Whether the curvature along the update stays below the largest, where both are known."""
    sharp, critical = run.trajectory["sharpness"].sel(eigenvalue="top.0"), run.trajectory["critical"]
    places = np.searchsorted(critical.steps, sharp.steps)
    along, error = (critical.sel(quantity=one).values[:, places] for one in ("sharpness", "error"))
    largest = sharp.sel(quantity="value").values
    about = About(
        f"directional-{kernel}",
        "Under GD the critical sharpness is at most the sharpness, within its bracket and 10 %",
        "Kalra et al. 2026, arXiv:2601.16979; exact where the loss is quadratic up to the critical step",
        kernel,
        f"Median quotient {np.nanmedian(along / largest):.3g}.",
    )
    known = np.isfinite(along) & (largest > 0)
    slack = 0.1 * largest + sharp.sel(quantity="error").values
    claim = at_most(about, along, largest, slack=slack, uncertainty=error, where=known)
    return of_seeds(claim, len(along))


def _drawn(
    runs: Runs, title: str, axis: ChartAxis, values: Callable[[Run], tuple[np.ndarray, np.ndarray]]
) -> go.Figure:
    figure = lines(title, ChartAxis("step"), axis)
    for kind in runs:
        for kernel in kernels(runs):
            for run in of_kernel(runs, kernel, kind):
                steps, numbers = values(run)
                add_band(figure, steps, numbers, f"{kernel}, {kind}", color=None, quantiles=(0.0, 1.0))
    return figure


def sharpness(runs: Runs) -> go.Figure:
    """Sharpness along training.

    Largest eigenvalue of the Hessian of all blocks, median and range over seeds. The level is 2 / step size of GD.
    """
    figure = _drawn(
        runs,
        "Sharpness",
        ChartAxis("sharpness", "log"),
        lambda run: (_largest(run).steps, _largest(run).values),
    )
    return add_level(figure, 2 / value_at(OPTIMIZERS["GD"], "lr"), "2 / step size of GD")


def along_updates(runs: Runs) -> go.Figure:
    """Critical sharpness along training.

    The curvature along the next update, from losses alone, in units of 2 / step size: above one the update raises the
    loss. Median and range over seeds.
    """

    def values(run: Run) -> tuple[np.ndarray, np.ndarray]:
        record = _critical(run)
        return record.steps, record.values / _threshold(run)

    return _drawn(runs, "Critical sharpness", ChartAxis("critical sharpness x step size / 2", "log"), values)


def blocks(runs: Runs) -> go.Figure:
    """Heterogeneity along training.

    Frobenius norm of the Hessian of the value block over that of the query block, median and range over seeds.
    """
    return _drawn(
        runs,
        "Value over query",
        ChartAxis("ratio of norms", "log"),
        lambda run: (run.trajectory["growth"].steps, heterogeneity(run)),
    )


section = Section("training", requests, claims, (sharpness, along_updates, blocks))

"""Training the value block alone: the threshold HD >= Nn, the rate, and what width buys."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, claim, close
from descentlab.experiment import Experiment
from descentlab.objective import ZERO_LOSS
from descentlab.optim import GramGD
from descentlab.plots.curves import ChartAxis, add_band, add_line, lines
from descentlab.plots.style import free_color
from descentlab.probes import FeatureSpectrum, GramSpectrum, Loss, ModalSpectrum, PLRatio, StepSize
from descentlab.runs import Family, Runs, case_of
from descentlab.schedule import At, LogSpaced
from descentlab.studies.song2024_convergence import conditioning, width
from descentlab.studies.song2024_convergence.experiments import SHAPE, floors, with_scale, with_shape
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.theory import pl, theorem_a
from descentlab.theory.modes import modal_loss, recorded_modes
from descentlab.trajectory import Trajectory

SHAPES = ((1, 16), (2, 9), (1, 20), (2, 10), (2, 20), (4, 20), (1, 80))
"""Heads and token width below, at and above HD = Nn = 20."""

MORE_SHAPES = ((4, 4), (4, 5), (4, 6), (4, 10), (2, 40), (8, 10), (1, 40))
SCALE_SHAPES = ((1, 20), (2, 10), (2, 20), (4, 20), (1, 80))
SCALES = (0.03, 0.1, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 8.0, 16.0)
THRESHOLD = "Song et al. 2024, HD >= Nn; Theorem A"


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """One family over shapes at each kernel's own scale, and one over scales."""
    seeds, few = size.seeds(5, 20, 40), size.seeds(5, 5, 9)
    shapes = size.pick(((2, 9), (2, 10), (4, 20)), SHAPES, SHAPES + MORE_SHAPES)
    probes = {
        "loss": Loss(LogSpaced(40)),
        "step_size": StepSize(LogSpaced(40)),
        "modes": ModalSpectrum(),
        "features": FeatureSpectrum(At((0,))),
        "pl": PLRatio(LogSpaced(10)),
        "gram": GramSpectrum(LogSpaced(10)),
    }
    steps = size.pick(200, 1_000, 10_000)
    changes = {"probes": probes, "trained": ("value",), "optimizer": GramGD(1.0), "steps": steps}
    trained = [base.changed(changes) for base in bases]
    over = [
        with_shape(with_scale(one, scale), *shape)
        for one in trained
        for shape in size.pick(((4, 20),), SCALE_SHAPES, SCALE_SHAPES)
        for scale in SCALES
    ]
    return {
        "shapes": [Request(with_shape(one, *shape), seeds) for one in trained for shape in shapes],
        "scales": [Request(one, few) for one in over],
    }


def _width(runs: Family) -> np.ndarray:
    """HD, by lane."""
    return runs.field("model.heads") * runs.field("task.dim")


def _targets(runs: Family) -> np.ndarray:
    """Nn, by lane."""
    return runs.field("data.samples") * runs.field("task.tokens")


def _reachable(runs: Family) -> list[Trajectory]:
    """Those with HD >= Nn."""
    return [run.trajectory for run in runs if np.all(_width(Family([run])) >= _targets(Family([run])))]


@claim("threshold-rank-{case}", "The rank of B is min(Nn, HD)", THRESHOLD)
def rank(about: About, runs: Family) -> Claim:
    """Whether features have the rank that their sizes allow."""
    return close(about, runs.first("features", quantity="rank"), np.minimum(_targets(runs), _width(runs)))


@claim(
    "threshold-floor-{case}",
    "The value block alone can reach zero loss exactly when HD >= Nn",
    THRESHOLD,
)
def floor(about: About, runs: Family) -> Claim:
    """Whether the least-squares floor is zero from the threshold on."""
    relative, reachable = floors(runs), _width(runs) >= _targets(runs)
    least = min(relative[~reachable], default=np.nan)
    said = f"1 stands for a least-squares floor of zero. The lowest relative floor below the threshold is {least:.3g}."
    return close(about.noting(said), relative <= ZERO_LOSS, reachable)


@claim(
    "rate-bound-{case}",
    "Value-only loss never lags (1 - eta mu)^(2t) f_0",
    "Song et al. 2024, linear rate; Theorem A",
)
def bound(about: About, runs: Family) -> Claim:
    """The linear rate."""
    return theorem_a.rate(about, _reachable(runs))


@claim(
    "rate-modes-{case}",
    "The loss is the sum over modes of K to a relative 1e-8, or what rounding of its steps can add up to",
    "Theorem A",
)
def modes(about: About, runs: Family) -> Claim:
    """The exact formula."""
    return theorem_a.modal_formula(about, runs.trajectories)


@claim(
    "rate-late-{case}",
    "Where the slowest mode carries 99 % of the loss, the slope of log f is 2 log(1 - eta mu) within 2 %",
    "Theorem A",
)
def late(about: About, runs: Family) -> Claim:
    """The late slope."""
    about = about.noting("One part in a hundred of the loss in much faster modes is enough to break it.")
    return theorem_a.late_slope(about, _reachable(runs))


@claim(
    "rate-late-decrease-{case}",
    "Where the slowest mode carries 99 % of the decrease, the slope of log f is 2 log(1 - eta mu)",
    "Theorem A",
)
def late_decrease(about: About, runs: Family) -> Claim:
    """The late slope where the slowest mode does nearly all of the work."""
    return theorem_a.late_slope_of_decrease(about, _reachable(runs))


@claim(
    "pl-value-{case}",
    "The gradient obeys PL with lambda_min(K_t), value-only",
    "docs/theory/pl.md",
)
def gradient(about: About, runs: Family) -> Claim:
    """The PL inequality."""
    return pl.pl_inequality(about, runs.trajectories)


def losses(runs: Runs) -> go.Figure:
    """Loss under value-only gradient descent, recorded and predicted.

    Solid: median and 80 % band of the runs over seeds at three widths, each kernel at its own initial scale, step
    1 / lambda_max. Dotted: the modal formula from the spectrum at the start, median over seeds, carried on to ten
    million steps. Below HD = Nn the loss stops at the least-squares floor; at equality it falls, but hardly; four
    heads at 4 Nn are fast.
    """
    figure = lines("Loss", ChartAxis("step", "log"), ChartAxis("f / f_0", "log"))
    beyond = np.logspace(0, 7, 100)
    for (heads, dim), some in runs["shapes"].by(*SHAPE).items():
        for run in some if (heads, dim) in {(2, 9), (2, 10), (4, 20)} else ():
            loss, label = run.trajectory["loss"], f"{case_of(run.experiment)}, HD = {heads * dim}, H = {heads}"
            color = free_color(figure, label)
            add_band(figure, loss.steps, loss.values / loss.values[:, :1], label, color=color)
            sizes = run.trajectory["step_size"].values[:, -1]
            spectra = zip(recorded_modes(run.trajectory), sizes, strict=True)
            formula = np.stack([modal_loss(modes, float(eta), beyond) for modes, eta in spectra])
            relative = np.median(formula / loss.values[:, :1], axis=0)
            keep = relative > 1e-30
            add_line(figure, beyond[keep], relative[keep], f"{label}, formula", color=color, dash="dot")
    return figure


RATES = (bound, modes, late, late_decrease, gradient)
section = Section(
    "value block",
    requests,
    [
        *(one.on("shapes") for one in (rank, floor, *RATES, *width.STATEMENTS)),
        *(one.on("scales") for one in conditioning.STATEMENTS),
    ],
    (losses, conditioning.scales),
)

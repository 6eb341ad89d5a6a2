"""Training the value block alone: the threshold HD >= Nn, the rate, and what width buys."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, at_most, below, claim, close, not_applicable
from descentlab.experiment import Experiment
from descentlab.objective import ZERO_LOSS
from descentlab.optim import GramGD
from descentlab.plots.curves import Axis, add_band, add_line, lines
from descentlab.plots.style import free_color
from descentlab.probes import FeatureSpectrum, GramSpectrum, Loss, ModalSpectrum, PLRatio, StepSize
from descentlab.runs import Family, Run, Runs, case_of
from descentlab.schedule import At, LogSpaced
from descentlab.statistics import ratio_of_medians
from descentlab.studies.song2024_convergence import conditioning
from descentlab.studies.song2024_convergence.experiments import SHAPE, floors, with_scale, with_shape
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.theory import pl, theorem_a
from descentlab.theory.modes import modal_loss, recorded_modes, steps_to
from descentlab.theory.soundness import of_double
from descentlab.trajectory import Trajectory

SHAPES = ((1, 16), (2, 9), (1, 20), (2, 10), (2, 20), (4, 20), (1, 80))
"""Heads and token width below, at and above HD = Nn = 20."""

MORE_SHAPES = ((4, 4), (4, 5), (4, 6), (4, 10), (2, 40), (8, 10), (1, 40))
SCALE_SHAPES = ((1, 20), (2, 10), (2, 20), (4, 20), (1, 80))
SCALES = (0.03, 0.1, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 8.0, 16.0)
TOLERANCE = 1e-6
THRESHOLD = "Song et al. 2024, HD >= Nn; Theorem A"
WIDTH = "Song et al. 2024, large embedding dimension; Theorem A"


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


@claim("threshold-rank-{case}", "The rank of B is min(Nn, HD)", THRESHOLD, families=("shapes",))
def rank(about: About, runs: Family) -> Claim:
    """Whether features have the rank that their sizes allow."""
    return close(about, runs.first("features", quantity="rank"), np.minimum(_targets(runs), _width(runs)))


@claim(
    "threshold-floor-{case}",
    "The value block alone can reach zero loss exactly when HD >= Nn",
    THRESHOLD,
    families=("shapes",),
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
    families=("shapes",),
)
def bound(about: About, runs: Family) -> Claim:
    """The linear rate."""
    return theorem_a.rate(about, _reachable(runs))


@claim(
    "rate-modes-{case}",
    "The loss is the sum over modes of K to a relative 1e-8, or what rounding of its steps can add up to",
    "Theorem A",
    families=("shapes",),
)
def modes(about: About, runs: Family) -> Claim:
    """The exact formula."""
    return theorem_a.modal_formula(about, runs.trajectories)


@claim(
    "rate-late-{case}",
    "Where the slowest mode carries 99 % of the loss, the slope of log f is 2 log(1 - eta mu) within 2 %",
    "Theorem A",
    families=("shapes",),
)
def late(about: About, runs: Family) -> Claim:
    """The late slope."""
    about = about.noting("One part in a hundred of the loss in much faster modes is enough to break it.")
    return theorem_a.late_slope(about, _reachable(runs))


@claim(
    "rate-late-decrease-{case}",
    "Where the slowest mode carries 99 % of the decrease, the slope of log f is 2 log(1 - eta mu)",
    "Theorem A",
    families=("shapes",),
)
def late_decrease(about: About, runs: Family) -> Claim:
    """The late slope where the slowest mode does nearly all of the work."""
    return theorem_a.late_slope_of_decrease(about, _reachable(runs))


@claim(
    "pl-value-{case}",
    "The gradient obeys PL with lambda_min(K_t), value-only",
    "docs/theory/pl.md",
    families=("shapes",),
)
def gradient(about: About, runs: Family) -> Claim:
    """The PL inequality."""
    return pl.pl_inequality(about, runs.trajectories)


def _steps(run: Run) -> np.ndarray:
    """Predicted steps to a relative loss of 1e-6, by lane."""
    sizes = run.trajectory["step_size"].values[:, -1]
    return np.asarray(
        [steps_to(s, eta, TOLERANCE) for s, eta in zip(recorded_modes(run.trajectory), sizes, strict=True)]
    )


def _steps_of(runs: Family, *shapes: tuple[int, int]) -> list[np.ndarray]:
    """Those of the given shapes, as far as they were run."""
    known = runs.by(*SHAPE)
    return [_steps(known[shape][0]) for shape in shapes if shape in known]


UNMEASURED = "not all shapes that it compares are part of this size"


@claim(
    "width-heads-{case}",
    "At HD = 4 Nn with four heads the median steps to 1e-6 are at most 1/100 of those at HD = Nn",
    WIDTH,
    families=("shapes",),
)
def heads(about: About, runs: Family) -> Claim:
    """What width buys with several heads."""
    found = _steps_of(runs, (4, 20), (2, 10))
    if len(found) < 2:
        return not_applicable(about, UNMEASURED)
    fast, slow = found
    about = about.noting(f"Median steps {np.median(fast):.3g} against {np.median(slow):.3g}.")
    return at_most(about, ratio_of_medians(fast, slow), 0.01)


@claim(
    "width-one-head-{case}",
    "One wide head does not buy that speed: at HD = 4 Nn it takes over 100 times the steps of four heads",
    WIDTH,
    families=("shapes",),
)
def one_head(about: About, runs: Family) -> Claim:
    """What width buys with a single head."""
    found = _steps_of(runs, (4, 20), (1, 80))
    if len(found) < 2:
        return not_applicable(about, UNMEASURED)
    fast, single = found
    about = about.noting(f"Median steps {np.median(single):.3g} with one head against {np.median(fast):.3g} with four.")
    return below(about, ratio_of_medians(fast, single), 0.01)


@claim(
    "width-runs-{case}",
    "Real runs cross 1e-6 where the formula says, within the cap of recorded steps",
    "Theorem A",
    families=("shapes",),
)
def confirmed(about: About, runs: Family) -> Claim:
    """Every lane that the formula says arrives within the recorded steps does so, between the same two records."""
    early, late, beyond = [], [], 0
    for run in runs:
        loss = run.trajectory["loss"]
        relative = loss.values / loss.values[:, :1]
        for lane, steps in enumerate(_steps(run)):
            if not steps < loss.steps[-1]:
                beyond += 1
                continue
            after = int(np.searchsorted(loss.steps, steps))
            early.append(relative[lane, after - 1] if loss.steps[after] > 0 else np.inf)
            late.append(relative[lane, after])
    about = about.noting(f"{beyond} lanes are predicted beyond the cap: not reached.")
    crossing = np.asarray([*np.asarray(late) / TOLERANCE, *TOLERANCE / np.asarray(early)])
    return of_double(runs.trajectories, at_most(about, crossing, 1.0, slack=1e-6))


def losses(runs: Runs) -> go.Figure:
    """Loss under value-only gradient descent, recorded and predicted.

    Solid: median and 80 % band of the runs over seeds at three widths, each kernel at its own initial scale, step
    1 / lambda_max. Dotted: the modal formula from the spectrum at the start, median over seeds, carried on to ten
    million steps. Below HD = Nn the loss stops at the least-squares floor; at equality it falls, but hardly; four
    heads at 4 Nn are fast.
    """
    figure = lines("Loss", Axis("step", "log"), Axis("f / f_0", "log"))
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


THRESHOLDS, RATES, WIDTHS = (rank, floor), (bound, modes, late, late_decrease, gradient), (heads, one_head, confirmed)
section = Section(
    "value block",
    requests,
    (*THRESHOLDS, *RATES, *WIDTHS, *conditioning.STATEMENTS),
    (losses, conditioning.scales),
)

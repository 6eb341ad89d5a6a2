"""Training the value block alone: the threshold HD >= Nn, the rate, and what width buys."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab._describe import replace_at
from descentlab.claims import About, Claim, at_most, below, close
from descentlab.experiment import Experiment
from descentlab.objective import ZERO_LOSS
from descentlab.optim import GramGD
from descentlab.plots.curves import ChartAxis, add_band, add_line, lines
from descentlab.plots.style import free_color
from descentlab.probes import FeatureSpectrum, GramSpectrum, Loss, ModalSpectrum, PLRatio, StepSize
from descentlab.runs import Run, Runs
from descentlab.schedule import At, LogSpaced
from descentlab.statistics import ratio_of_medians
from descentlab.studies.song2024_convergence.conditioning import between_kernels, conditioning, scales
from descentlab.studies.song2024_convergence.kernels import (
    kernels,
    name,
    of_kernel,
    shape,
    targets,
    trajectories,
    with_scale,
)
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.theory import pl, theorem_a
from descentlab.theory.modes import least_squares_floor, modal_loss, recorded_modes, steps_to
from descentlab.theory.soundness import of_double

SHAPES = ((1, 16), (2, 9), (1, 20), (2, 10), (2, 20), (4, 20), (1, 80))
"""Heads and token width below, at and above HD = Nn = 20."""

SCALE_SHAPES = ((1, 20), (2, 10), (2, 20), (4, 20), (1, 80))
SCALES = (0.03, 0.1, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 8.0, 16.0)
TOLERANCE = 1e-6


def with_shape(experiment: Experiment, heads: int, dim: int) -> Experiment:
    """The experiment with so many heads and tokens of such width."""
    return replace_at(replace_at(experiment, "model.heads", heads), "task.dim", dim)


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """One family over shapes at each kernel's own scale, and one over scales."""
    smoke, paper = size == Size.SMOKE, size == Size.PAPER
    steps = 200 if smoke else 10_000 if paper else 1_000
    seeds = tuple(range(5 if smoke else 40 if paper else 20))
    few = tuple(range(9 if paper else 5))
    shapes = ((2, 9), (2, 10), (4, 20)) if smoke else SHAPES
    shapes += ((4, 4), (4, 5), (4, 6), (4, 10), (2, 40), (8, 10), (1, 40)) if paper else ()
    probes = {
        "loss": Loss(LogSpaced(40)),
        "step_size": StepSize(LogSpaced(40)),
        "modes": ModalSpectrum(),
        "features": FeatureSpectrum(At((0,))),
        "pl": PLRatio(LogSpaced(10)),
        "gram": GramSpectrum(LogSpaced(10)),
    }
    families: dict[str, list[Request]] = {"shapes": [], "scales": []}
    for base in bases:
        trained = replace_at(replace_at(base, "probes", probes), "trained", ("value",))
        trained = replace_at(replace_at(trained, "optimizer", GramGD(1.0)), "steps", steps)
        families["shapes"] += [Request(with_shape(trained, *one), seeds) for one in shapes]
        for one in ((4, 20),) if smoke else SCALE_SHAPES:
            families["scales"] += [Request(with_shape(with_scale(trained, s), *one), few) for s in SCALES]
    return families


def _steps(run: Run) -> np.ndarray:
    """Predicted steps to a relative loss of 1e-6, by lane."""
    sizes = run.trajectory["step_size"].values[:, -1]
    return np.asarray(
        [steps_to(s, eta, TOLERANCE) for s, eta in zip(recorded_modes(run.trajectory), sizes, strict=True)]
    )


def claims(runs: Runs) -> list[Claim]:
    """Claims 1, 2, 3, 5, 8 and 11 on random tokens."""
    found = []
    for kernel in kernels(runs):
        shapes = of_kernel(runs, kernel, "shapes")
        found += [*threshold(kernel, shapes), *rate(kernel, shapes), *width(kernel, shapes)]
        found += conditioning(kernel, of_kernel(runs, kernel, "scales"))
    return found + between_kernels(runs)


def threshold(kernel: str, runs: Sequence[Run]) -> list[Claim]:
    """Full row rank of B, and zero loss within reach, exactly when HD >= Nn."""
    ranks, expected, floors, reachable = [], [], [], []
    for run in runs:
        heads, dim = shape(run)
        ranks.append(run.trajectory["features"].sel(quantity="rank").at(0))
        expected.append(np.full_like(ranks[-1], min(targets(run), heads * dim)))
        losses = run.trajectory["loss"].values[:, 0]
        floors.append(np.asarray([least_squares_floor(one) for one in recorded_modes(run.trajectory)]) / losses)
        reachable.append(np.full_like(ranks[-1], heads * dim >= targets(run)))
    source = "Song et al. 2024, HD >= Nn; Theorem A"
    zero = np.concatenate(floors) <= ZERO_LOSS
    lowest = min((float(f.min()) for f, r in zip(floors, reachable, strict=True) if not r.all()), default=np.nan)
    return [
        close(
            About(f"threshold-rank-{kernel}", "The rank of B is min(Nn, HD)", source, kernel),
            np.concatenate(ranks),
            np.concatenate(expected),
        ),
        close(
            About(
                f"threshold-floor-{kernel}",
                "The value block alone can reach zero loss exactly when HD >= Nn",
                source,
                kernel,
                f"1 stands for a least-squares floor of zero. The lowest relative floor below the threshold is "
                f"{lowest:.3g}.",
            ),
            zero.astype(float),
            np.concatenate(reachable),
        ),
    ]


def rate(kernel: str, runs: Sequence[Run]) -> list[Claim]:
    """The bound, the exact formula, the late slope, and the PL inequality."""
    every = trajectories(list(runs))
    full = trajectories([run for run in runs if shape(run)[0] * shape(run)[1] >= targets(run)])
    source = "Song et al. 2024, linear rate; Theorem A"
    text = "Value-only loss never lags (1 - eta mu)^(2t) f_0"
    return [
        theorem_a.rate(About(f"rate-bound-{kernel}", text, source, kernel), full),
        theorem_a.modal_formula(
            About(
                f"rate-modes-{kernel}",
                "The loss is the sum over modes of K to a relative 1e-8, or what rounding of its steps can add up to",
                "Theorem A",
                kernel,
            ),
            every,
        ),
        theorem_a.late_slope(
            About(
                f"rate-late-{kernel}",
                "Where the slowest mode carries 99 % of the loss, the slope of log f is 2 log(1 - eta mu) within 2 %",
                "Theorem A",
                kernel,
                "One part in a hundred of the loss in much faster modes is enough to break it.",
            ),
            full,
        ),
        theorem_a.late_slope_of_decrease(
            About(
                f"rate-late-decrease-{kernel}",
                "Where the slowest mode carries 99 % of the decrease, the slope of log f is 2 log(1 - eta mu)",
                "Theorem A",
                kernel,
            ),
            full,
        ),
        pl.pl_inequality(
            About(
                f"pl-value-{kernel}",
                "The gradient obeys PL with lambda_min(K_t), value-only",
                "docs/theory/pl.md",
                kernel,
            ),
            every,
        ),
    ]


def _of_shape(runs: Sequence[Run], wanted: tuple[int, int]) -> list[Run]:
    return [run for run in runs if shape(run) == wanted]


def width(kernel: str, runs: Sequence[Run]) -> list[Claim]:
    """Steps to 1e-6 at 4 Nn with four heads against equality, and against one wide head; real runs confirm."""
    source = "Song et al. 2024, large embedding dimension; Theorem A"
    equality, wide, one = (_of_shape(runs, s) for s in ((2, 10), (4, 20), (1, 80)))
    found = []
    if equality and wide:
        slow, fast = _steps(equality[0]), _steps(wide[0])
        about = About(
            f"width-heads-{kernel}",
            "At HD = 4 Nn with four heads the median steps to 1e-6 are at most 1/100 of those at HD = Nn",
            source,
            kernel,
            f"Median steps {np.median(fast):.3g} against {np.median(slow):.3g}.",
        )
        found.append(at_most(about, ratio_of_medians(fast, slow), 0.01))
    if wide and one:
        single, fast = _steps(one[0]), _steps(wide[0])
        about = About(
            f"width-one-head-{kernel}",
            "One wide head does not buy that speed: at HD = 4 Nn it takes over 100 times the steps of four heads",
            source,
            kernel,
            f"Median steps {np.median(single):.3g} with one head against {np.median(fast):.3g} with four.",
        )
        found.append(below(about, ratio_of_medians(fast, single), 0.01))
    return [*found, confirmed(kernel, runs)]


def confirmed(kernel: str, runs: Sequence[Run]) -> Claim:
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
    about = About(
        f"width-runs-{kernel}",
        "Real runs cross 1e-6 where the formula says, within the cap of recorded steps",
        "Theorem A",
        kernel,
        f"{beyond} lanes are predicted beyond the cap: not reached.",
    )
    crossing = np.asarray([*np.asarray(late) / TOLERANCE, *TOLERANCE / np.asarray(early)])
    return of_double(trajectories(list(runs)), at_most(about, crossing, 1.0, slack=1e-6))


def losses(runs: Runs) -> go.Figure:
    """Loss under value-only gradient descent, recorded and predicted.

    Solid: median and 80 % band of the runs over seeds at three widths, each kernel at its own initial scale, step
    1 / lambda_max. Dotted: the modal formula from the spectrum at the start, median over seeds, carried on to ten
    million steps. Below HD = Nn the loss stops at the least-squares floor; at equality it falls, but hardly; four
    heads at 4 Nn are fast.
    """
    figure = lines("Loss", ChartAxis("step", "log"), ChartAxis("f / f_0", "log"))
    beyond = np.logspace(0, 7, 100)
    for run in runs["shapes"]:
        if shape(run) not in {(2, 9), (2, 10), (4, 20)}:
            continue
        loss, (heads, dim) = run.trajectory["loss"], shape(run)
        label = f"{name(run.experiment)}, HD = {heads * dim}, H = {heads}"
        color = free_color(figure, label)
        add_band(figure, loss.steps, loss.values / loss.values[:, :1], label, color=color)
        sizes = run.trajectory["step_size"].values[:, -1]
        formula = [
            modal_loss(s, float(eta), beyond) for s, eta in zip(recorded_modes(run.trajectory), sizes, strict=True)
        ]
        relative = np.median(np.stack(formula) / loss.values[:, :1], axis=0)
        keep = relative > 1e-30
        add_line(figure, beyond[keep], relative[keep], f"{label}, formula", color=color, dash="dot")
    return figure


section = Section("value block", requests, claims, (losses, scales))

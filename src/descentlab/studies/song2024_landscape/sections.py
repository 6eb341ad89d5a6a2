"""What is measured on the landscapes of a task, what is claimed of it, and how it is drawn."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, at_most, not_applicable
from descentlab.estimate import Interval
from descentlab.measures.landscape import PROTOCOLS, Landscapes, landscapes
from descentlab.plots.error_bars import intervals
from descentlab.plots.landscape import AXES, contours, sheets, surfaces
from descentlab.runs import Runs
from descentlab.statistics import mean_interval, paired_interval
from descentlab.studies.song2024_landscape.experiments import FIRST, MODES, PLANS, missing, requests
from descentlab.study import Section, Size
from descentlab.sweep import Progress

PAPER = "Song et al. 2024, figure 4"

SOFTMAX, GAUSSIAN = "softmax", "gaussian"

TEXTS = {
    "minima": "The loss of the Gaussian kernel has no more strict local minima in a plane than that of softmax",
    "mean_laplacian": "The Gaussian kernel's mean absolute Laplacian in a plane is no larger than softmax's",
    "largest_laplacian": "The Gaussian kernel's largest absolute Laplacian in a plane is no larger than softmax's",
    "negative_share": "The loss of the Gaussian kernel curves downwards on no larger share of a plane than softmax's",
    "sharpness": "The largest Hessian eigenvalue at the Gaussian kernel's end is no larger than at softmax's",
    "barrier": "The straight line from start to end climbs no higher with the Gaussian kernel than with softmax",
}

RATIOS = ("mean_laplacian", "largest_laplacian", "sharpness")
"""Numbers that are compared by their ratio, the others by their difference."""

AT_ENDS = ("sharpness", "barrier")
"""Numbers of a run; the others are numbers of a plane."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What was measured on a task.

    Attributes:
        landscapes: by the weights that move in stage two; empty where the task is not part of the size.
        missing: why there is nothing though there should be.
    """

    landscapes: Mapping[str, Landscapes]
    missing: str = ""


def derive(task: str, runs: Runs, size: Size, progress: Progress | None) -> Found:
    """The landscapes of a task's runs."""
    if not runs:
        return Found({}, missing(task, size))
    plan = PLANS[size, task]
    told = None if progress is None else lambda done, total: progress(done, total, "")
    found = {}
    for mode in (mode for mode in runs if mode != FIRST):
        lanes = {
            kernel: [lane.sampled(plan.samples) for run in family for lane in run.finished().lanes()]
            for kernel, family in runs[mode].by_case().items()
        }
        found[mode] = landscapes(lanes, points=plan.points, draws=plan.draws, method=plan.sharpness, progress=told)
    return Found(found)


def compared(seen: Landscapes, number: str, protocol: str | None) -> Interval:
    """The Gaussian kernel's number over softmax's, or minus it, with its 95 % interval over seeds.

    Seeds are paired, planes of a seed averaged. The errors of the numbers themselves widen the interval; counts on
    which all seeds agree have their least step as its half.
    """
    softmax, gaussian = (seen.by_seed(kernel, number, protocol) for kernel in (SOFTMAX, GAUSSIAN))
    pairs = [(softmax[seed], gaussian[seed]) for seed in sorted(softmax.keys() & gaussian.keys())]
    if not pairs:
        return Interval(np.nan, np.nan, np.nan)
    (s, s_error), (g, g_error) = (np.asarray(side, dtype=np.float64).T for side in zip(*pairs, strict=True))
    if number not in RATIOS:
        return paired_interval(g, s, _step(seen, number, protocol)).widened(float(np.mean(s_error + g_error)))
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = mean_interval(np.log(g / s)).widened(float(np.mean(s_error / s + g_error / g)))
    return Interval(*(float(np.exp(end)) for end in logs))


def _step(seen: Landscapes, number: str, protocol: str | None) -> float:
    """The least step of a number of a seed: one minimum of one plane, one cell of one grid; 0 where there is none."""
    if protocol is None:
        return 0.0
    views = seen.of(SOFTMAX, protocol)
    draws = len({view.draw for view in views})
    cells = max(view.surface.values.size for view in views)
    return {"minima": 1.0, "negative_share": 1 / cells}.get(number, 0.0) / draws


def claims(task: str, found: Found) -> list[Claim]:
    """One claim a number and choice of weights, checked on every kind of plane."""
    if found.missing:
        about = About(f"{task}-data", "The landscapes of the text task compare as the paper says", PAPER)
        return [not_applicable(about, f"the data is not there: {found.missing}")]
    return [_claim(task, mode, number, seen) for mode, seen in found.landscapes.items() for number in TEXTS]


def _claim(task: str, mode: str, number: str, seen: Landscapes) -> Claim:
    protocols = (None,) if number in AT_ENDS else PROTOCOLS
    kind = "ratio" if number in RATIOS else "difference"
    about = About(
        f"{task.replace(', ', '-').replace(' ', '-').lower()}-{mode}-{number.replace('_', '-')}",
        f"{TEXTS[number]} ({task}, {MODES[mode]}; {kind})",
        PAPER,
        None,
        " ".join(_detail(seen, number, protocol) for protocol in protocols),
    )
    if not {SOFTMAX, GAUSSIAN} <= set(seen.names):
        return not_applicable(about, "two kernels are needed for a comparison")
    found = [compared(seen, number, protocol) for protocol in protocols]
    return at_most(about, found, 1.0 if number in RATIOS else 0.0)


def _detail(seen: Landscapes, number: str, protocol: str | None) -> str:
    """The numbers of both kernels in words."""
    medians = []
    for kernel in (SOFTMAX, GAUSSIAN):
        values = [float(one.value) for one in seen.by_seed(kernel, number, protocol).values()]
        medians.append(f"{kernel} {np.median(values):.3g}" if values else f"{kernel}: none")
    low, middle, high = compared(seen, number, protocol)
    where = f"{protocol} plane: " if protocol else ""
    said = "one seed leaves no interval" if not np.isfinite(high - low) else f"{low:.3g} to {high:.3g}"
    return f"{where}{', '.join(medians)} (medians); {middle:.3g}, {said}."


def _summary(found: Found) -> go.Figure:
    rows = [(number, protocol) for number in RATIOS[:2] for protocol in PROTOCOLS] + [("sharpness", None)]
    labels = [number.replace("_", " ") + (f", {protocol} plane" if protocol else "") for number, protocol in rows]
    series = {MODES[mode]: [compared(seen, *row) for row in rows] for mode, seen in found.landscapes.items()}
    return intervals("Ratios", labels, series, "gaussian / softmax")


def _drawn(found: Found, mode: str, protocol: str, draw: Callable[..., go.Figure]) -> go.Figure:
    """The landscapes of the first seed; an empty figure where the mode is not part of the size."""
    if mode not in found.landscapes:
        return go.Figure()
    shown = sheets(found.landscapes[mode], protocol)
    return draw(f"{protocol} plane", shown, AXES[protocol]) if shown else go.Figure()


def _figures(task: str) -> list[Callable[[Found], go.Figure]]:
    """The figures of a task, with their captions."""
    heights = "Colour and height are the loss, on one scale for both kernels; the line is the path of stage two."
    said = {
        "random": f"Seed 0, first draw, the same for both kernels, centred at each end. {heights}",
        "trajectory": "Seed 0. Every kernel has the plane of its own path, from a circle at the shared start to a star "
        "at the end; crosses are local minima within the plane.",
        "common": f"Seed 0. One plane through the shared start and both ends. {heights}",
    }
    ratios = (
        "Mean over seeds with its 95 % interval, seeds paired, planes of a seed averaged. Left of the line the "
        "Gaussian kernel has the smaller number."
    )
    drawn = [_named(f"Gaussian over softmax: {task}", ratios, _summary)]
    for mode, text in MODES.items():
        for protocol, draw in (("random", surfaces), ("trajectory", contours), ("common", surfaces)):
            one = functools.partial(_drawn, mode=mode, protocol=protocol, draw=draw)
            drawn.append(_named(f"{protocol.capitalize()} plane: {task}, {text}", said[protocol], one))
    return drawn


def _named(title: str, caption: str, draw: Callable[[Found], go.Figure]) -> Callable[[Found], go.Figure]:
    """A function of a figure with its title and caption in the docstring, where a report looks for them."""

    def drawn(found: Found) -> go.Figure:
        return draw(found)

    drawn.__doc__ = f"{title}.\n\n{caption}"
    return drawn


def section(task: str) -> Section:
    """The section of one task."""
    return Section(
        task,
        functools.partial(requests, task),
        functools.partial(claims, task),
        _figures(task),
        functools.partial(derive, task),
    )

"""A search for spurious end states: many starts over initial scale, temperature, token width, heads and targets."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from descentlab._describe import value_at
from descentlab.attention import Gaussian, Softmax
from descentlab.claims import About, Claim, above, at_least, at_most, close, of_seeds
from descentlab.estimate import Interval
from descentlab.experiment import Experiment
from descentlab.models import Normal
from descentlab.plots.curves import ChartAxis, add_line, lines
from descentlab.plots.heatmaps import Categories, heat_map
from descentlab.plots.style import case_color
from descentlab.runs import Run, Runs
from descentlab.statistics import share_difference, share_interval
from descentlab.studies.song2024_convergence.kernels import kernels, name, of_kernel, seed_count, with_scale
from descentlab.studies.song2024_query.setting import by_hand, changed, counted, ending, kinds
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.tasks import SoftmaxHull
from descentlab.theory.stationary import Kind

SCALES = (0.3, 1.0, 2.0, 4.0)
TEMPERATURES = (0.25, 1.0, 4.0)
WIDTHS = (6, 12, 16, 24)
HEADS = (1, 2, 4, 8)
WIDE = 0.25
"""c of the Gaussian kernel at temperature 1, which is its default at head width 4."""

TABLE = {"softmax": (10, 9, 1, 0), "gaussian": (12, 11, 2, 0)}
"""Of 12 seeds, how many reached f < 1e-8 in 3,000 steps at each initial scale: specification, section 9.2."""

STUCK = (Kind.MINIMUM, Kind.SADDLE, Kind.DRIFTING, Kind.DEGENERATE)
SOURCE = "Song et al. 2024, softmax may end in suboptimal solutions; measured"


def heated(experiment: Experiment, temperature: float) -> Experiment:
    """The experiment at a temperature: that of softmax, or c divided by it; other kernels have none."""
    attention = value_at(experiment, "model.attention")
    chosen = {Softmax: Softmax(temperature), Gaussian: Gaussian(WIDE / temperature)}
    return changed(experiment, {"model.attention": chosen.get(type(attention), attention)})


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """A grid of scale and temperature; and token width, heads and targets one by one, at scale 1."""
    smoke, paper = size == Size.SMOKE, size == Size.PAPER
    seeds = tuple(range(2 if smoke else 200 if paper else 50))
    steps = 100 if smoke else 3_000
    names = ("grid", "positive values", "width", "heads", "inside", "outside")
    families: dict[str, list[Request]] = {family: [] for family in names}
    random = np.random.default_rng(0)
    values = random.uniform(0.2, 1.0, (3, 4))
    least, most = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    targets = least + random.uniform(0.25, 0.75, values.shape) * (most - least)
    for base in bases:
        traced = ending(heated(base, 1.0), steps)
        positive = changed(by_hand(traced, values, targets, np.zeros((3, 4, 4))), {"model.key": Normal(1.0)})
        for scale in SCALES:
            if not smoke:
                families["positive values"].append(Request(with_scale(positive, scale), seeds))
            scaled = with_scale(traced, scale)
            families["grid"] += [Request(heated(scaled, t), seeds) for t in ((1.0,) if smoke else TEMPERATURES)]
        families["inside"].append(Request(changed(traced, {"task.target": SoftmaxHull(0.0, 1.0)}), seeds))
        families["outside"].append(Request(changed(traced, {"task.target": SoftmaxHull(1.05, 1.5)}), seeds))
        if not smoke:
            families["width"] += [Request(changed(traced, {"task.dim": dim}), seeds) for dim in WIDTHS]
            narrow = changed(traced, {"model.head_dim": 2})
            families["heads"] += [Request(changed(narrow, {"model.heads": heads}), seeds) for heads in HEADS]
    return families


def _share(runs: Sequence[Run], *some: Kind) -> float:
    return float(np.isin(kinds(runs), some).mean())


def _interval(runs: Sequence[Run], *some: Kind) -> Interval:
    """The share of lanes of some classes with its 95 % interval."""
    chosen = np.isin(kinds(runs), some)
    return share_interval(int(chosen.sum()), chosen.size)


def _gap(one: Interval, other: Interval) -> float:
    """How far two shares may lie apart where they are equal but for chance: the reach of their difference to zero."""
    return share_difference(one, other).towards(0.0)


def _at(runs: Sequence[Run], path: str, value: Any) -> list[Run]:
    return [run for run in runs if value_at(run.experiment, path) == value]


def temperature_of(run: Run) -> float:
    """The temperature of a run's kernel."""
    attention = value_at(run.experiment, "model.attention")
    if isinstance(attention, Softmax):
        return attention.temperature
    return WIDE / attention.c if isinstance(attention, Gaussian) and attention.c is not None else 1.0


def claims(runs: Runs) -> list[Claim]:
    """The table of section 9.2, and what lies beyond it."""
    found: list[Claim] = []
    for kernel in kernels(runs):
        grid = of_kernel(runs, kernel, "grid")
        plain = [run for run in grid if temperature_of(run) == 1.0]
        found += [*_table(kernel, plain, ""), *_table(kernel, of_kernel(runs, kernel, "positive values"), "-positive")]
        found += [*_large(kernel, plain), *_scaling(kernel, grid)]
        found += _widths(kernel, of_kernel(runs, kernel, "width"), of_kernel(runs, kernel, "heads"))
    if "softmax" in kernels(runs):
        found += _softmax(runs)
    if {"softmax", "gaussian"} <= set(kernels(runs)):
        found += _between(runs)
    return found


def _table(kernel: str, runs: Sequence[Run], suffix: str) -> list[Claim]:
    """The shares of starts that reach 1e-8, each within its 95 % interval of that in the table.

    The table does not say how values were drawn, so it is held against values of either sign and against positive ones.
    """
    if kernel not in TABLE or not runs:
        return []
    shares, gaps = [], []
    for scale, count in zip(SCALES, TABLE[kernel], strict=True):
        chosen = _at(runs, "model.query.scale", scale)
        losses = np.concatenate([run.trajectory["loss"].values[:, -1] for run in chosen])
        both = share_interval(int((losses < 1e-8).sum()), losses.size), share_interval(count, 12)
        shares.append([one.value for one in both])
        gaps.append(_gap(*both))
    measured, expected = np.transpose(shares)
    about = About(
        f"table-{kernel}{suffix}",
        "The shares of starts that reach f < 1e-8 are those of table 9.2, within the 95 % intervals of both"
        + (", values positive" if suffix else ", values of either sign"),
        "specification, section 9.2",
        kernel,
        "Measured at scales 0.3, 1, 2, 4: "
        + ", ".join(f"{share:.2f}" for share in measured)
        + "; in the table "
        + ", ".join(f"{share:.2f}" for share in expected)
        + ".",
    )
    return [of_seeds(close(about, measured, expected, tolerance=np.asarray(gaps)), seed_count(runs))]


def _large(kernel: str, runs: Sequence[Run]) -> list[Claim]:
    """What becomes of starts at the largest scale."""
    chosen = _at(runs, "model.query.scale", SCALES[-1])
    reached = _interval(chosen, Kind.ZERO)
    others = kinds(chosen)[kinds(chosen) != Kind.ZERO]
    slow = share_interval(int((others == Kind.NOT_CONVERGED).sum()), max(1, others.size))
    said = f"End states at scale {SCALES[-1]:g}: {counted(chosen)}."
    return [
        at_most(
            About(
                f"large-{kernel}",
                "From the largest initial scale at most a tenth of the starts reach zero loss",
                "specification, section 9.2",
                kernel,
                said,
            ),
            reached,
            0.1,
        ),
        above(
            About(
                f"large-slow-{kernel}",
                "Most of the others are not stuck but still on their way after 3,000 steps",
                "measured",
                kernel,
                said,
            ),
            slow,
            0.5,
            where=bool(others.size),
        ),
    ]


def _scaling(kernel: str, runs: Sequence[Run]) -> list[Claim]:
    """Cells whose scale^2 / temperature is equal are the same problem in other units."""
    cells = [(value_at(run.experiment, "model.query.scale") ** 2 / temperature_of(run), run) for run in runs]
    pairs = [(one, other) for i, (a, one) in enumerate(cells) for b, other in cells[i + 1 :] if np.isclose(a, b)]
    if not pairs:
        return []
    shares = [[_interval([run], Kind.ZERO) for run in pair] for pair in pairs]
    gaps = np.asarray([one.value - other.value for one, other in shares])
    spread = np.asarray([_gap(one, other) for one, other in shares])
    about = About(
        f"scaling-{kernel}",
        "Scale and temperature act through scale^2 / temperature: equal cells reach zero equally often, within 95 %",
        "docs/theory/query_block.md",
        kernel,
        "Exact for gradient flow; the runs are line searches with a bounded number of steps.",
    )
    return [of_seeds(close(about, gaps, 0.0, tolerance=spread), seed_count(runs))]


def _widths(kernel: str, widths: Sequence[Run], heads: Sequence[Run]) -> list[Claim]:
    """Whether more room helps: D from below to above Nn, and heads."""
    if not widths or not heads:
        return []
    found = []
    for key, text, path, runs in (
        ("width", "With D = 24 more starts reach zero loss than with D = 6, below Nn = 12", "task.dim", widths),
        ("heads", "With eight heads more starts reach zero loss than with one", "model.heads", heads),
    ):
        values = [value_at(run.experiment, path) for run in runs]
        said = "; ".join(f"{value}: {counted([run])}" for value, run in zip(values, runs, strict=True))
        gain = share_difference(*(_interval([run], Kind.ZERO) for run in (runs[-1], runs[0])))
        about = About(f"{key}-{kernel}", text, SOURCE, kernel, f"{said}.")
        found.append(above(about, gain, 0.0))
    return found


def _softmax(runs: Runs) -> list[Claim]:
    """No finite suboptimal stationary point where keys are in general position; nothing reachable outside the hull."""
    general = [run for run in of_kernel(runs, "softmax", "grid", "positive values", "inside", "outside")]
    finite = np.isin(kinds(general), (Kind.MINIMUM, Kind.SADDLE))
    unknown = kinds(general) == Kind.DEGENERATE
    outside = of_kernel(runs, "softmax", "outside")
    return [
        at_most(
            About(
                "softmax-finite",
                "With D >= Nn and head width d >= n - 1 no softmax run ends at a finite suboptimal stationary point",
                "docs/theory/query_block.md",
                "softmax",
                f"{counted(general)}.",
            ),
            float(finite.sum()),
            0.0,
            uncertainty=float(unknown.sum()),
        ),
        at_most(
            About(
                "softmax-outside",
                "No softmax run reaches zero loss on targets outside the hull",
                "docs/theory/query_block.md",
                "softmax",
                f"{counted(outside)}.",
            ),
            _share(outside, Kind.ZERO),
            0.0,
        ),
    ]


def _between(runs: Runs) -> list[Claim]:
    """Which kernel reaches zero loss more often from the same starts, at small scale and outside the hull."""
    found = []
    small = [
        run for run in runs["grid"] if temperature_of(run) == 1.0 and value_at(run.experiment, "model.query.scale") <= 1
    ]
    for key, text, compare, chosen in (
        (
            "edge-positive",
            "At scales 0.3 and 1, values positive, the Gaussian kernel reaches zero loss at least as often",
            at_least,
            [run for run in runs["positive values"] if value_at(run.experiment, "model.query.scale") <= 1],
        ),
        (
            "edge",
            "At scales 0.3 and 1, inside the hull, the Gaussian kernel reaches zero loss at least as often",
            at_least,
            small,
        ),
        (
            "edge-outside",
            "On targets above the hull the Gaussian kernel reaches zero loss more often",
            above,
            runs["outside"],
        ),
    ):
        if not chosen:
            continue
        one, other = ([run for run in chosen if name(run.experiment) == kernel] for kernel in ("gaussian", "softmax"))
        gain = share_difference(_interval(one, Kind.ZERO), _interval(other, Kind.ZERO))
        said = f"Gaussian: {counted(one)}. Softmax: {counted(other)}."
        about = About(key, text, SOURCE, None, said)
        found.append(compare(about, gain, 0.0))
    return found


def _map(runs: Runs, title: str, measure: Callable[[Sequence[Run]], float]) -> go.Figure:
    temperatures = sorted({temperature_of(run) for run in runs["grid"]})
    columns = [(kernel, scale) for kernel in kernels(runs) for scale in SCALES]
    cells = np.full((len(temperatures), len(columns)), np.nan)
    for row, temperature in enumerate(temperatures):
        for column, (kernel, scale) in enumerate(columns):
            cell = [run for run in of_kernel(runs, kernel, "grid") if temperature_of(run) == temperature]
            if cell := _at(cell, "model.query.scale", scale):
                cells[row, column] = measure(cell)
    x = Categories("kernel and initial scale of query and key", [f"{kernel} {scale:g}" for kernel, scale in columns])
    y = Categories("temperature (Gaussian: c = 1/4 over it)", [f"{temperature:g}" for temperature in temperatures])
    return heat_map(title, x, y, cells, label="share of starts", scale="linear")


def reached(runs: Runs) -> go.Figure:
    """Share of starts at zero loss, by kernel, initial scale and temperature.

    One head of width 4, Nn = 12 targets within the softmax hull, D = 16, line search. Zero loss: polishing finds it and
    has at most a thousandth of the first loss to remove.
    """
    return _map(runs, "Share at zero loss", lambda cell: _share(cell, Kind.ZERO))


def stuck(runs: Runs) -> go.Figure:
    """Share of starts that are stuck: in a strict minimum, at a saddle, drifting to infinity, or degenerate.

    The same runs. What is missing to one in both maps together has not converged within the steps made.
    """
    return _map(runs, "Share stuck", lambda cell: _share(cell, *STUCK))


def room(runs: Runs) -> go.Figure:
    """Share of starts at zero loss as heads are added.

    Heads of width 2, so that three of four keys' differences do not fit in one head; D = 16, Nn = 12. Dashed: the
    share that is stuck.
    """
    figure = lines("Share", ChartAxis("heads", "log"), ChartAxis("share of starts"))
    for kernel in kernels(runs):
        chosen = of_kernel(runs, kernel, "heads")
        heads = np.asarray([value_at(run.experiment, "model.heads") for run in chosen], dtype=float)
        color = case_color(kernel)
        at_zero, held = (np.asarray([_share([run], *some) for run in chosen]) for some in ((Kind.ZERO,), STUCK))
        add_line(figure, heads, at_zero, f"{kernel}, zero loss", color=color, dash="solid")
        add_line(figure, heads, held, f"{kernel}, stuck", color=color)
    return figure


section = Section("search for spurious end states", requests, claims, (reached, stuck, room))

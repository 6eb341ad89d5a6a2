"""A search for spurious end states: many starts over initial scale, temperature, token width, heads and targets."""

from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.experiment import Experiment
from descentlab.models import Normal
from descentlab.plots.curves import ChartAxis, add_line, lines
from descentlab.plots.heatmaps import Categories, heat_map
from descentlab.plots.style import case_color
from descentlab.runs import Family, Runs
from descentlab.studies.song2024_query import shares
from descentlab.studies.song2024_query.experiments import (
    SCALE,
    SCALES,
    by_hand,
    ending,
    heated,
    temperature_of,
    with_scale,
)
from descentlab.study import Section, Size
from descentlab.sweep import Request, grid
from descentlab.tasks import SoftmaxHull
from descentlab.theory.stationary import Kind

TEMPERATURES = (0.25, 1.0, 4.0)
WIDTHS = (6, 12, 16, 24)
HEADS = (1, 2, 4, 8)
STUCK = (Kind.MINIMUM, Kind.SADDLE, Kind.DRIFTING, Kind.DEGENERATE)


def positive(base: Experiment) -> Experiment:
    """An instance by hand with positive values, targets inside their hull and random keys."""
    random = np.random.default_rng(0)
    values = random.uniform(0.2, 1.0, (3, 4))
    least, most = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    targets = least + random.uniform(0.25, 0.75, values.shape) * (most - least)
    return by_hand(base, values, targets, np.zeros((3, 4, 4))).changed({"model.key": Normal(1.0)})


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """A grid of scale and temperature; and token width, heads and targets one by one, at scale 1."""
    seeds, temperatures = size.seeds(2, 50, 200), size.pick((1.0,), TEMPERATURES, TEMPERATURES)
    starts = [ending(heated(base, 1.0), size.pick(100, 3_000, 3_000)) for base in bases]
    larger = size.pick([], starts, starts)
    narrow = [one.changed({"model.head_dim": 2}) for one in larger]
    hot = [heated(one, temperature) for one in starts for temperature in temperatures]
    families = {
        "grid": [with_scale(one, scale) for scale in SCALES for one in hot],
        "positive values": [with_scale(positive(one), scale) for one in larger for scale in SCALES],
        "width": [one for start in larger for one in grid(start, {"task.dim": WIDTHS})],
        "heads": [one for start in narrow for one in grid(start, {"model.heads": HEADS})],
        "inside": [one.changed({"task.target": SoftmaxHull(0.0, 1.0)}) for one in starts],
        "outside": [one.changed({"task.target": SoftmaxHull(1.05, 1.5)}) for one in starts],
    }
    return {family: [Request(one, seeds) for one in some] for family, some in families.items()}


def _map(runs: Family, title: str, measure: Callable[[Family], float]) -> go.Figure:
    temperatures = sorted({temperature_of(run) for run in runs})
    columns = [(kernel, scale) for kernel in runs.cases for scale in SCALES]
    cells = np.full((len(temperatures), len(columns)), np.nan)
    for column, (kernel, scale) in enumerate(columns):
        for row, temperature in enumerate(temperatures):
            of_scale = runs.of(kernel).where(SCALE, scale)
            if cell := Family(run for run in of_scale if temperature_of(run) == temperature):
                cells[row, column] = measure(cell)
    x = Categories("kernel and initial scale of query and key", [f"{kernel} {scale:g}" for kernel, scale in columns])
    y = Categories("temperature (Gaussian: c = 1/4 over it)", [f"{temperature:g}" for temperature in temperatures])
    return heat_map(title, x, y, cells, label="share of starts", scale="linear")


def reached(runs: Runs) -> go.Figure:
    """Share of starts at zero loss, by kernel, initial scale and temperature.

    One head of width 4, Nn = 12 targets within the softmax hull, D = 16, line search. Zero loss: polishing finds it and
    has at most a thousandth of the first loss to remove.
    """
    return _map(runs["grid"], "Share at zero loss", lambda cell: shares.share(cell, Kind.ZERO).value)


def stuck(runs: Runs) -> go.Figure:
    """Share of starts that are stuck: in a strict minimum, at a saddle, drifting to infinity, or degenerate.

    The same runs. What is missing to one in both maps together has not converged within the steps made.
    """
    return _map(runs["grid"], "Share stuck", lambda cell: shares.share(cell, *STUCK).value)


def room(runs: Runs) -> go.Figure:
    """Share of starts at zero loss as heads are added.

    Heads of width 2, so that three of four keys' differences do not fit in one head; D = 16, Nn = 12. Dashed: the
    share that is stuck.
    """
    figure = lines("Share", ChartAxis("heads", "log"), ChartAxis("share of starts"))
    for kernel, some in runs["heads"].by_case().items():
        cells, color = some.by("model.heads"), case_color(kernel)
        at_zero, held = (
            np.asarray([shares.share(cell, *kinds).value for cell in cells.values()]) for kinds in ((Kind.ZERO,), STUCK)
        )
        heads = np.asarray(list(cells), dtype=float)
        add_line(figure, heads, at_zero, f"{kernel}, zero loss", color=color, dash="solid")
        add_line(figure, heads, held, f"{kernel}, stuck", color=color)
    return figure


section = Section("search for spurious end states", requests, shares.STATEMENTS, (reached, stuck, room))

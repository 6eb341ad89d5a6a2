"""Curves over steps: the median of many lanes with its band, single lines, levels.

Every function takes a figure and returns the same one, so calls chain. What a curve means is the caller's affair.
"""

import dataclasses
from typing import Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from descentlab.mistake import Mistake
from descentlab.plots.style import REFERENCE, TEMPLATE, free_color, translucent

__all__ = ["ChartAxis", "add_band", "add_level", "add_line", "lines", "thinned"]

Dash = Literal["solid", "dash", "dot", "dashdot", "longdash"]

MOST_POINTS = 400


@dataclasses.dataclass(frozen=True)
class ChartAxis:
    """One axis of a figure.

    Attributes:
        label: what is drawn along it, with its unit.
        scale: *linear*, or *log*, on which numbers at or below 0 (so also step 0) have no place and are left out.
    """

    label: str
    scale: Literal["linear", "log"] = "linear"


def lines(title: str, x: ChartAxis, y: ChartAxis) -> go.Figure:
    """An empty figure with two labelled axes, to which `add_band`, `add_line` and `add_level` add.

    Args:
        title: what the figure shows.
        x: the horizontal axis, most often steps.
        y: the vertical axis.

    Returns:
        The figure.
    """
    figure = go.Figure(layout={"template": TEMPLATE, "title": {"text": title}})
    figure.update_xaxes(title_text=x.label, type=x.scale)
    figure.update_yaxes(title_text=y.label, type=y.scale)
    return figure


def thinned(steps: ArrayLike, most: int = MOST_POINTS) -> np.ndarray:
    """Which of many increasing steps to draw: half of them spaced logarithmically, half evenly.

    The logarithmic half shows the fast start, the even half keeps the end from looking angular on a linear axis.
    Spikes between drawn steps are lost.

    Args:
        steps: numbers in increasing order.
        most: the largest number of points that may remain, at least 2.

    Returns:
        Increasing positions in `steps`, at most `most`; always the first and the last, and all if there are few.
    """
    count = np.asarray(steps).size
    if count <= most:
        return np.arange(count)
    log_spaced = np.geomspace(1, count, most // 2) - 1
    even = np.linspace(0, count - 1, most - most // 2)
    return np.unique(np.rint(np.concatenate([log_spaced, even])).astype(int))


def add_band(
    figure: go.Figure,
    steps: ArrayLike,
    values: ArrayLike,
    label: str,
    *,
    color: str | None = None,
    quantiles: tuple[float, float] = (0.1, 0.9),
) -> go.Figure:
    """Add the median over lanes as a line and a band between two quantiles of the lanes.

    Numbers that are not finite (a lane that diverged) are left out of the quantiles; how many lanes remain is shown
    on hovering and, if any is missing at the last step, in the legend. Where none remains the line has a gap.

    Args:
        figure: the figure to draw into.
        steps: the steps of the values, increasing.
        values: one row a lane, one column a step; a single series counts as one lane.
        label: the name in the legend, which toggles line and band together.
        color: `#rrggbb`; by default the kernel's if the label names one, else the next of the palette.
        quantiles: lower and upper edge of the band, between 0 and 1.

    Returns:
        The same figure.

    Raises:
        Mistake: if the values do not have one column a step.
    """
    x, lanes = np.asarray(steps), np.atleast_2d(np.asarray(values, dtype=np.float64))
    if x.ndim != 1 or lanes.ndim != 2 or lanes.shape[1] != x.size:
        raise Mistake(
            f"add_band wants steps of shape (steps,) and values of shape (lanes, steps), "
            f"got {x.shape} and {lanes.shape}; transpose or select before drawing"
        )
    color = color or free_color(figure, label)
    kept = thinned(x)
    x, lanes = x[kept], lanes[:, kept]
    low, median, high = _quantiles(lanes, (quantiles[0], 0.5, quantiles[1]))
    remaining = np.isfinite(lanes).sum(axis=0)
    total = lanes.shape[0]
    if total > 1:
        _draw_band(figure, x, (_drawable(figure, low), high), label, color)
    short = f" ({remaining[-1]} of {total} lanes at the end)" if x.size and remaining[-1] < total else ""
    spread = f"<br>{quantiles[0]:.0%} to {quantiles[1]:.0%}: %{{customdata[0]:.3g}} to %{{customdata[1]:.3g}}"
    over = f"{spread}<br>%{{customdata[2]}} of {total} lanes" if total > 1 else ""
    return figure.add_scatter(
        x=x,
        y=median,
        mode="lines",
        line={"width": 2, "color": color},
        name=label + short,
        legendgroup=label,
        customdata=np.stack([low, high, remaining], axis=1),
        hovertemplate=f"<b>{label}</b><br>%{{x}}: %{{y:.4g}}{over}<extra></extra>",
    )


def add_line(
    figure: go.Figure, x: ArrayLike, y: ArrayLike, label: str, *, color: str = REFERENCE, dash: Dash = "dash"
) -> go.Figure:
    """Add one line, as a rule a bound or a reference that measured bands are held against.

    Args:
        figure: the figure to draw into.
        x: increasing numbers along the horizontal axis; many are thinned as in `add_band`.
        y: as many numbers; one that is not finite leaves a gap.
        label: the name in the legend.
        color: `#rrggbb`; by default the grey of references.
        dash: how the line is broken; measured series are solid.

    Returns:
        The same figure.

    Raises:
        Mistake: if `x` and `y` differ in length.
    """
    along, heights = np.asarray(x), np.asarray(y, dtype=np.float64)
    if along.ndim != 1 or along.shape != heights.shape:
        raise Mistake(f"add_line wants x and y of one equal length, got shapes {along.shape} and {heights.shape}")
    kept = thinned(along)
    return figure.add_scatter(
        x=along[kept],
        y=np.where(np.isfinite(heights), heights, np.nan)[kept],
        mode="lines",
        name=label,
        line={"width": 1.75, "color": color, "dash": dash},
        hovertemplate=f"<b>{label}</b><br>%{{x}}: %{{y:.4g}}<extra></extra>",
    )


def add_level(figure: go.Figure, height: float | int, label: str, *, color: str = REFERENCE) -> go.Figure:
    """Add a horizontal line across the whole figure at a height, with its label at the left end.

    Args:
        figure: the figure to draw into.
        height: where it lies on the vertical axis, above 0 if that is logarithmic.
        label: short text written on it.
        color: `#rrggbb`; by default the grey of references.

    Returns:
        The same figure.
    """
    return figure.add_shape(
        type="line",
        xref="x domain",
        x0=0,
        x1=1,
        y0=height,
        y1=height,
        line={"width": 1.25, "color": color, "dash": "dot"},
        label={"text": label, "textposition": "start", "yanchor": "bottom", "font": {"size": 11, "color": color}},
    )


def _draw_band(figure: go.Figure, x: np.ndarray, edges: tuple[np.ndarray, np.ndarray], label: str, color: str) -> None:
    outline_x, outline_y = _outline(x, *edges)
    figure.add_scatter(
        x=outline_x,
        y=outline_y,
        mode="lines",
        line={"width": 0, "color": color},
        fill="toself",
        fillcolor=translucent(color, 0.18),
        hoverinfo="skip",
        legendgroup=label,
        showlegend=False,
    )


def _quantiles(lanes: np.ndarray, levels: tuple[float, float, float]) -> np.ndarray:
    """Quantiles of the finite lanes at every step; not a number where there is none."""
    found = np.full((len(levels), lanes.shape[1]), np.nan)
    finite = np.isfinite(lanes)
    some = finite.any(axis=0)
    if some.any():
        found[:, some] = np.nanquantile(np.where(finite, lanes, np.nan)[:, some], levels, axis=0)
    return found


def _drawable(figure: go.Figure, low: np.ndarray) -> np.ndarray:
    """The lower edge with what a logarithmic axis cannot show raised to the smallest number above 0."""
    above = low[low > 0]
    if figure.layout.yaxis.type != "log" or not above.size:
        return low
    return np.where(low <= 0, above.min(), low)


def _outline(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A closed outline for every unbroken stretch of the band, with a gap after each."""
    known = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
    stretches = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1) if known.size else []
    edge_x = [np.concatenate([x[run], x[run][::-1], [np.nan]]) for run in stretches]
    edge_y = [np.concatenate([high[run], low[run][::-1], [np.nan]]) for run in stretches]
    return np.concatenate([np.empty(0), *edge_x]), np.concatenate([np.empty(0), *edge_y])

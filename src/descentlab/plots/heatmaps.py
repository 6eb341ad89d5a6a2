"""Heat maps over two categorical axes, one number a cell."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from descentlab.mistake import Mistake
from descentlab.plots.style import REFERENCE, SEQUENTIAL, TEMPLATE

__all__ = ["Categories", "heat_map"]

MOST_WRITTEN = 16


@dataclasses.dataclass(frozen=True)
class Categories:
    """One categorical axis of a heat map.

    Attributes:
        label: what varies along it.
        names: its values in order, different from each other.
    """

    label: str
    names: Sequence[str]


def heat_map(
    title: str,
    x: Categories,
    y: Categories,
    values: ArrayLike,
    *,
    label: str,
    scale: Literal["log", "linear"] = "log",
) -> go.Figure:
    """A heat map with its numbers written into the cells, unless the columns are too many for that.

    A cell without a finite number is hatched and takes no part in the colour scale: NaN means that nothing was
    measured, infinity that the number diverged, and a written cell says which.

    Args:
        title: what the figure shows.
        x: the columns, from left to right.
        y: the rows, from bottom to top.
        values: one row for each name of `y`, one column for each of `x`.
        label: what the colour stands for, with its unit.
        scale: how colours are spaced; *log* needs numbers above 0.

    Returns:
        The figure.

    Raises:
        Mistake: if the shape does not fit the names, a name is repeated, or a number has no logarithm.
    """
    cells = _checked(np.asarray(values, dtype=np.float64), x, y, scale)
    finite = np.isfinite(cells)
    shown = np.where(finite, cells, np.nan)
    colors = np.log10(shown) if scale == "log" else shown
    ticks = _decades(shown[finite]) if scale == "log" else {}
    figure = go.Figure(layout={"template": TEMPLATE, "title": {"text": title}})
    figure.add_heatmap(
        x=list(x.names),
        y=list(y.names),
        z=colors,
        customdata=shown,
        colorscale=SEQUENTIAL,
        xgap=2,
        ygap=2,
        hoverongaps=False,
        colorbar={"title": {"text": label, "side": "right"}} | ticks,
        hovertemplate=f"{x.label} %{{x}}<br>{y.label} %{{y}}<br>{label}: <b>%{{customdata:.4g}}</b><extra></extra>",
    )
    for row, column in np.argwhere(~finite):
        _hatch(figure, int(row), int(column))
    if len(x.names) <= MOST_WRITTEN:
        _write_numbers(figure, (x.names, y.names), cells, colors)
    grid = {"showgrid": False, "showline": False, "ticks": ""}
    figure.update_xaxes(title_text=x.label, type="category", range=[-0.5, len(x.names) - 0.5], **grid)
    figure.update_yaxes(title_text=y.label, type="category", range=[-0.5, len(y.names) - 0.5], **grid)
    return figure


def _checked(cells: np.ndarray, x: Categories, y: Categories, scale: str) -> np.ndarray:
    wanted = (len(y.names), len(x.names))
    if cells.shape != wanted:
        raise Mistake(
            f"heat_map wants values of shape {wanted}, rows for {y.label!r}, got {cells.shape}; transpose them"
        )
    for axis in (x, y):
        if len(set(axis.names)) < len(axis.names):
            raise Mistake(f"heat_map wants different names along {axis.label!r}, got {list(axis.names)}")
    lowest = cells[np.isfinite(cells)].min(initial=np.inf)
    if scale == "log" and lowest <= 0:
        raise Mistake(f"a log scale holds numbers above 0, got {lowest:g}; choose scale='linear'")
    return cells


def _written(value: float) -> str:
    special = {"nan": "\N{EM DASH}", "inf": "\N{INFINITY}", "-inf": "\N{MINUS SIGN}\N{INFINITY}"}
    return special.get(str(value), f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e+"))


def _write_numbers(
    figure: go.Figure, names: tuple[Sequence[str], Sequence[str]], cells: np.ndarray, colors: np.ndarray
) -> None:
    """Write the numbers over the colours, dark on the light upper part of the scale and light on the rest."""
    finite = np.isfinite(cells)
    low, high = (colors[finite].min(), colors[finite].max()) if finite.any() else (0.0, 1.0)
    bright = (colors - low) > 0.45 * (high - low)
    inks = np.where(finite, np.where(bright, "#14161a", "#ffffff"), REFERENCE)
    figure.add_scatter(
        x=list(names[0]) * len(names[1]),
        y=[name for name in names[1] for _ in names[0]],
        mode="text",
        text=[_written(value) for value in cells.ravel()],
        textfont={"color": inks.ravel().tolist(), "size": 11},
        hoverinfo="skip",
        showlegend=False,
    )


def _decades(values: np.ndarray) -> dict[str, list]:
    """Ticks of a colour bar of logarithms, at most about six; 2 and 5 among them if decades are few."""
    if not values.size:
        return {}
    low, high = np.log10(values.min()), np.log10(values.max())
    whole = np.arange(np.floor(low), np.ceil(high) + 1)
    steps = [1.0] if high - low > 2 else [1.0, 2.0, 5.0]
    ticks = np.array([np.log10(step) + decade for decade in whole for step in steps])
    ticks = ticks[(ticks >= low - 1e-9) & (ticks <= high + 1e-9)]
    ticks = ticks[:: -(-ticks.size // 6)] if ticks.size > 1 else np.unique([low, high])
    return {"tickvals": ticks.tolist(), "ticktext": [_written(10**tick) for tick in ticks]}


def _hatch(figure: go.Figure, row: int, column: int) -> None:
    """Diagonals through a cell; on a categorical axis the n-th name lies at n, its cell half a unit around."""
    left, bottom, side = column - 0.47, row - 0.47, 0.94
    starts = np.arange(-0.75, 1, 0.25)
    strokes = [(max(start, 0), max(-start, 0), min(start + 1, 1), min(1 - start, 1)) for start in starts]
    path = " ".join(
        f"M {left + side * x0:g},{bottom + side * y0:g} L {left + side * x1:g},{bottom + side * y1:g}"
        for x0, y0, x1, y1 in strokes
    )
    figure.add_shape(type="path", path=path, line={"color": REFERENCE, "width": 1}, opacity=0.4, layer="below")

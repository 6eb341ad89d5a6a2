"""A matrix as a picture: sizes of entries as colours, borders between blocks."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from descentlab.mistake import Mistake
from descentlab.plots.style import SEQUENTIAL, TEMPLATE

__all__ = ["block_matrix"]

MOST_CELLS = 256
"""Cells of a picture along each side; larger matrices are averaged, so that a page stays small."""


def block_matrix(title: str, values: ArrayLike, blocks: Mapping[str, int], *, floor: float) -> go.Figure:
    """The sizes of the entries of a square matrix on a logarithmic colour scale.

    Where entries are too many for a cell each, a cell is the geometric mean of its neighbourhood.

    Args:
        title: what the figure shows.
        values: the matrix.
        blocks: rows of each block by its name, first to last; so are columns.
        floor: sizes below it have its colour.

    Returns:
        The figure.

    Raises:
        Mistake: if the matrix is not square or the blocks do not fill it.
    """
    sizes = np.abs(np.asarray(values, dtype=np.float64))
    count = sum(blocks.values())
    if sizes.shape != (count, count):
        raise Mistake(f"block_matrix wants a matrix of {count} x {count} for blocks {dict(blocks)}, got {sizes.shape}")
    edges = np.unique(np.linspace(0, count, min(count, MOST_CELLS) + 1).astype(int))
    logs, lengths = np.log10(np.maximum(sizes, floor)), np.diff(edges)
    cells = np.add.reduceat(np.add.reduceat(logs, edges[:-1], axis=0), edges[:-1], axis=1) / np.outer(lengths, lengths)
    ticks = np.arange(np.ceil(cells.min()), np.floor(cells.max()) + 1)
    figure = go.Figure(layout={"template": TEMPLATE, "title": {"text": title}})
    figure.add_heatmap(
        x=edges,
        y=edges,
        z=cells.astype(np.float32),
        colorscale=SEQUENTIAL,
        colorbar={
            "title": {"text": "|entry|", "side": "right"},
            "tickvals": ticks,
            "ticktext": [f"1e{t:g}" for t in ticks],
        },
        hovertemplate="row %{y}, column %{x}<br>|entry|: <b>10^%{z:.2f}</b><extra></extra>",
    )
    borders = np.cumsum([0, *blocks.values()])
    for border in borders[1:-1]:
        for line in (
            {"x0": border, "x1": border, "y0": 0, "y1": count},
            {"y0": border, "y1": border, "x0": 0, "x1": count},
        ):
            figure.add_shape(type="line", line={"color": "#ffffff", "width": 1.5}, **line)
    named = {"tickvals": (borders[1:] + borders[:-1]) / 2, "ticktext": list(blocks), "showgrid": False, "ticks": ""}
    figure.update_xaxes(range=[0, count], constrain="domain", **named)
    figure.update_yaxes(range=[count, 0], scaleanchor="x", constrain="domain", **named)
    figure.update_layout(height=560)
    return figure

"""Numbers with their intervals, one row each."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.plots.style import PALETTE, REFERENCE, TEMPLATE

__all__ = ["Interval", "intervals"]

Interval = tuple[float, float, float]
"""Lower end, value, upper end."""


def intervals(
    title: str, rows: Sequence[str], series: Mapping[str, Sequence[Interval]], label: str, *, reference: float = 1.0
) -> go.Figure:
    """A point with its interval in every row, several series below each other, on a logarithmic axis.

    Args:
        title: what the figure shows.
        rows: from top to bottom.
        series: one interval a row, by the name in the legend; NaN leaves a row empty.
        label: what is drawn along the axis.
        reference: where a dotted line marks the number that decides.

    Returns:
        The figure.
    """
    figure = go.Figure(layout={"template": TEMPLATE, "title": {"text": title}, "height": 90 + 44 * len(rows)})
    for k, (name, numbers) in enumerate(series.items()):
        low, value, high = np.asarray(numbers, dtype=np.float64).T
        shift = 0.6 * ((k + 0.5) / len(series) - 0.5)
        figure.add_scatter(
            x=value,
            y=np.arange(len(rows)) + shift,
            mode="markers",
            name=name,
            marker={"size": 8, "color": PALETTE[k % len(PALETTE)]},
            error_x={"type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low, "width": 3},
            customdata=np.stack([low, high], axis=1),
            hovertemplate=f"<b>{name}</b><br>%{{x:.3g}} (%{{customdata[0]:.3g}} to %{{customdata[1]:.3g}})",
        )
    figure.add_vline(reference, line={"color": REFERENCE, "dash": "dot", "width": 1.25})
    figure.update_xaxes(title_text=label, type="log")
    ticks = {"tickvals": list(range(len(rows))), "ticktext": list(rows), "range": [len(rows) - 0.5, -0.5]}
    figure.update_yaxes(**ticks, showgrid=False)
    return figure

"""Parts of a whole as stacked bars, and distributions as outlines."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from descentlab.mistake import Mistake
from descentlab.plots.curves import ChartAxis
from descentlab.plots.style import PALETTE, TEMPLATE

__all__ = ["distributions", "stacked_bars"]


def stacked_bars(title: str, label: str, names: Sequence[str], parts: Mapping[str, ArrayLike]) -> go.Figure:
    """One horizontal bar a name, from top to bottom, cut into its parts.

    Args:
        title: what the figure shows.
        label: what is drawn along a bar, with its unit.
        names: of the bars, different from each other.
        parts: by its name in the legend, the part's length in every bar.

    Returns:
        The figure.

    Raises:
        Mistake: if a part does not have one length a bar.
    """
    figure = go.Figure(layout={"template": TEMPLATE, "title": {"text": title}, "barmode": "stack"})
    figure.update_layout(legend_traceorder="normal")
    for at, (part, lengths) in enumerate(parts.items()):
        values = np.asarray(lengths, dtype=np.float64)
        if values.shape != (len(names),):
            raise Mistake(f"stacked_bars wants {len(names)} lengths of {part!r}, got shape {values.shape}")
        figure.add_bar(
            x=values,
            y=list(names),
            name=part,
            orientation="h",
            marker={"color": PALETTE[at % len(PALETTE)]},
            hovertemplate=f"<b>{part}</b><br>%{{y}}: %{{x:.4g}}<extra></extra>",
        )
    figure.update_xaxes(title_text=label)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return figure


def distributions(title: str, x: ChartAxis, samples: Mapping[str, ArrayLike], *, bins: int = 60) -> go.Figure:
    """The share of samples in equally wide bins, one outline a series; on a logarithmic axis of their logarithms.

    Args:
        title: what the figure shows.
        x: the axis of the samples.
        samples: by its name in the legend, a series of finite numbers, above 0 for a logarithmic axis.
        bins: how many from the smallest to the largest of all samples.

    Returns:
        The figure.
    """
    figure = go.Figure(layout={"template": TEMPLATE, "title": {"text": title}})
    numbers = {name: np.asarray(values, dtype=np.float64) for name, values in samples.items()}
    scaled = {name: np.log10(values) if x.scale == "log" else values for name, values in numbers.items()}
    every = np.concatenate(list(scaled.values()))
    edges = np.linspace(every.min(), every.max(), bins + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    for at, (name, values) in enumerate(scaled.items()):
        counts, _ = np.histogram(values, edges)
        figure.add_scatter(
            x=10**middles if x.scale == "log" else middles,
            y=counts / values.size,
            mode="lines",
            name=name,
            line={"width": 2, "shape": "hvh", "color": PALETTE[at % len(PALETTE)]},
            hovertemplate=f"<b>{name}</b><br>around %{{x:.3g}}: %{{y:.2%}}<extra></extra>",
        )
    figure.update_xaxes(title_text=x.label, type=x.scale)
    figure.update_yaxes(title_text="share of samples", tickformat=".0%", rangemode="tozero")
    return figure

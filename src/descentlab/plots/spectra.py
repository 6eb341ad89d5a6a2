"""Spectral densities of several matrices in one figure."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from descentlab.plots.curves import ChartAxis, lines
from descentlab.plots.style import PALETTE

__all__ = ["Curve", "densities"]

LOWEST = 1e-6
"""Densities below this share of the largest one of a curve are left out."""

Curve = tuple[ArrayLike, ArrayLike, ArrayLike]
"""Eigenvalues in ascending order, the density there, its standard error."""


def densities(title: str, curves: Mapping[str, Curve]) -> go.Figure:
    """The density of eigenvalues of each matrix, with a band of two standard errors, on a logarithmic height.

    Args:
        title: what the figure shows.
        curves: by the name in the legend.

    Returns:
        The figure.
    """
    figure = lines(title, ChartAxis("eigenvalue"), ChartAxis("density", "log"))
    for at, (label, curve) in enumerate(curves.items()):
        grid, density, error = (np.asarray(one, dtype=np.float64) for one in curve)
        color = PALETTE[at % len(PALETTE)]
        floor = LOWEST * density.max()
        low, high = np.maximum(density - 2 * error, floor), np.maximum(density + 2 * error, floor)
        figure.add_scatter(
            x=np.concatenate([grid, grid[::-1]]),
            y=np.concatenate([high, low[::-1]]),
            fill="toself",
            fillcolor=color,
            opacity=0.2,
            line={"width": 0},
            hoverinfo="skip",
            legendgroup=label,
            showlegend=False,
        )
        figure.add_scatter(
            x=grid,
            y=np.where(density > floor, density, np.nan),
            mode="lines",
            name=label,
            legendgroup=label,
            line={"width": 1.75, "color": color},
            hovertemplate=f"<b>{label}</b><br>%{{x:.4g}}: %{{y:.3g}}<extra></extra>",
        )
    return figure

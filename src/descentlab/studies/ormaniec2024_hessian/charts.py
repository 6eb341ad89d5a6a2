"""Norms against the scale of the embeddings."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.plots.curves import ChartAxis, add_line, lines
from descentlab.plots.style import PALETTE
from descentlab.runs import Run
from descentlab.studies.ormaniec2024_hessian.recorded import SYMBOLS, LeadingPower, norms, scales

__all__ = ["growth_chart"]

_MARKERS = {"outer": "circle", "functional": "square", "hessian": "diamond"}

LOWEST = 1e-20
"""Norms below it are left out of figures: those of the Gaussian kernel have no lower end."""


def growth_chart(title: str, run: Run, arrays: Sequence[str], powers: Sequence[LeadingPower] = ()) -> go.Figure:
    """The mean of each norm over seeds with its standard error, and dashed lines of given slopes.

    Args:
        title: what the figure shows.
        run: whose norms.
        arrays: which blocks.
        powers: slopes; their lines start at the smallest scale.
    """
    figure = lines(title, ChartAxis("standard deviation of the embeddings", "log"), ChartAxis("Frobenius norm", "log"))
    x = scales(run)
    for at, array in enumerate(arrays):
        for part, symbol in SYMBOLS.items():
            each = norms(run, part, array)
            middle = each.mean(axis=0)
            if not np.any(middle > LOWEST):
                continue
            error = each.std(axis=0, ddof=min(1, each.shape[0] - 1)) / np.sqrt(each.shape[0])
            shown = middle > LOWEST
            label = f"{symbol}, {array}"
            figure.add_scatter(
                x=x[shown],
                y=middle[shown],
                error_y={"array": error[shown], "width": 3, "thickness": 1},
                mode="lines+markers",
                name=label,
                line={"width": 1.5, "color": PALETTE[at % len(PALETTE)]},
                marker={"symbol": _MARKERS[part], "size": 7},
                hovertemplate=f"<b>{label}</b><br>%{{x:.3g}}: %{{y:.4g}} ± %{{error_y.array:.2g}}<extra></extra>",
            )
            # H has the power of its larger part.
            for power in powers:
                if power[:2] == (array, part) and part != "hessian":
                    expected = middle[0] * (x / x[0]) ** power.exponent
                    add_line(figure, x, expected, f"power {power.exponent:g}")
    return figure

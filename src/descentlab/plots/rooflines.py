"""The roofline of a machine with operators under it."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.plots.curves import ChartAxis, add_line, lines
from descentlab.plots.style import PALETTE

__all__ = ["Reached", "roofline"]

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")


@dataclasses.dataclass(frozen=True)
class Reached:
    """Where operators of one kind lie.

    Attributes:
        kind: name in the legend.
        names: of the operators.
        intensity: operations a byte of each.
        rate: operations a second of each.
    """

    kind: str
    names: Sequence[str]
    intensity: Sequence[float]
    rate: Sequence[float]


def roofline(title: str, peak: float, bandwidth: float, points: Sequence[Reached]) -> go.Figure:
    """Operations a second against operations a byte: the most that a machine allows, and what operators reach.

    Args:
        title: what the figure shows.
        peak: operations a second.
        bandwidth: bytes a second.
        points: operators by kind.

    Returns:
        The figure.
    """
    figure = lines(title, ChartAxis("operations a byte", "log"), ChartAxis("operations a second", "log"))
    every = np.array([one for kind in points for one in kind.intensity] + [peak / bandwidth])
    span = np.unique(np.append(np.geomspace(every.min() / 2, every.max() * 2, 200), peak / bandwidth))
    add_line(figure, span, np.minimum(peak, bandwidth * span), "roofline", dash="solid")
    for at, kind in enumerate(points):
        figure.add_scatter(
            x=list(kind.intensity),
            y=list(kind.rate),
            customdata=list(kind.names),
            mode="markers",
            name=kind.kind,
            marker={"size": 9, "color": PALETTE[at % len(PALETTE)], "symbol": _SYMBOLS[at % len(_SYMBOLS)]},
            hovertemplate="<b>%{customdata}</b><br>%{x:.3g} a byte, %{y:.3g} a second<extra></extra>",
        )
    return figure

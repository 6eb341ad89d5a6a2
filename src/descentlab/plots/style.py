"""The look that all figures share: colours that mean the same everywhere, and one plotly template.

Every colour of a series has a contrast of at least 3 to 1 against white paper and against a dark screen, and any
two stay apart for readers with protanopia or deuteranopia, so that a figure need not change its series when the page
around it turns dark. What does change with the page (fonts, axes, grid) is the page's business.
"""

import zlib
from typing import Any

import plotly.graph_objects as go

__all__ = ["PALETTE", "REFERENCE", "SEQUENTIAL", "TEMPLATE", "free_color", "case_color", "translucent"]

_KERNELS = {
    "softmax": "#3b93ec",
    "gaussian": "#e76e1c",
    "normalizedgaussian": "#945090",
    "linear": "#1ca17f",
    "relu": "#7c5f2f",
}

PALETTE = (*_KERNELS.values(), "#6f3fef")
"""Colours of series, in the order in which they are given out."""

REFERENCE = "#7f868f"
"""Grey of what is not measured: bounds, thresholds, other people's numbers."""

SEQUENTIAL = "Viridis"
"""Colour scale of magnitudes: its lightness rises monotonically, so it also reads in grey."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"


def case_color(case: str) -> str:
    """The fixed colour of a case, such as an attention kernel.

    Args:
        case: its name; small and capital letters, spaces and underscores do not count.

    Returns:
        A hexadecimal colour. What is not a kernel of the package gets one of the palette that depends on its name only.

    Examples:
        >>> case_color("Softmax")
        '#3b93ec'
    """
    known = _known(case)
    return known or PALETTE[zlib.crc32(case.encode()) % len(PALETTE)]


def free_color(figure: go.Figure, label: str) -> str:
    """The colour for the next series: its kernel's if the label names one, else the first that the figure lacks.

    Args:
        figure: where the series will be drawn.
        label: its name in the legend.

    Returns:
        A hexadecimal colour; the palette starts again once all of it is used.
    """
    scatters: list[Any] = [trace for trace in figure.data if isinstance(trace, go.Scatter)]
    used = [trace.line.color for trace in scatters if trace.showlegend is not False]
    free = [color for color in PALETTE if color not in used]
    return _known(label) or (free[0] if free else PALETTE[len(used) % len(PALETTE)])


def translucent(color: str, opacity: float) -> str:
    """The colour `#rrggbb` with an opacity from 0 to 1, as CSS writes it.

    Examples:
        >>> translucent("#ff0000", 0.5)
        'rgba(255, 0, 0, 0.5)'
    """
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity})"


def _known(name: str) -> str | None:
    return _KERNELS.get("".join(letter for letter in name.lower() if letter.isalnum()))


def _template() -> go.layout.Template:
    grid = translucent(REFERENCE, 0.25)
    axis: dict[str, Any] = {
        "automargin": True,
        "exponentformat": "power",
        "gridcolor": grid,
        "linecolor": REFERENCE,
        "minexponent": 6,
        "showline": True,
        "tickcolor": REFERENCE,
        "ticklen": 4,
        "ticks": "outside",
        "title": {"standoff": 10},
        "zeroline": False,
    }
    bar: dict[str, Any] = {
        "outlinewidth": 0,
        "thickness": 12,
        "ticklen": 4,
        "ticks": "outside",
        "exponentformat": "power",
    }
    return go.layout.Template(
        layout={
            "colorway": list(PALETTE),
            "font": {"family": _FONT, "size": 13, "color": "#1b1d21"},
            "hoverlabel": {"align": "left", "font": {"family": _FONT, "size": 12}},
            "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
            "margin": {"l": 60, "r": 20, "t": 44, "b": 52},
            "paper_bgcolor": "rgba(0, 0, 0, 0)",
            "plot_bgcolor": "rgba(0, 0, 0, 0)",
            "scene": {"camera": {"center": {"x": 0, "y": 0, "z": -0.15}, "eye": {"x": 1.65, "y": 1.65, "z": 1.1}}},
            "title": {"x": 0, "xref": "paper", "font": {"size": 16}},
            "xaxis": axis,
            "yaxis": axis,
        },
        data={
            "contour": [{"colorbar": bar, "colorscale": SEQUENTIAL}],
            "heatmap": [{"colorbar": bar, "colorscale": SEQUENTIAL}],
            "surface": [{"colorbar": bar, "colorscale": SEQUENTIAL}],
        },
    )


TEMPLATE = _template()
"""Transparent paper, thin grey axes, the legend above the plot."""

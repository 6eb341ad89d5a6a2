"""Loss surfaces in three dimensions and as contour maps, side by side on one scale or on one plot."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import plotly.graph_objects as go

from descentlab.plots.style import REFERENCE, SEQUENTIAL, TEMPLATE, case_color

if TYPE_CHECKING:  # figures need no JAX
    from descentlab.measures.landscape import Landscapes

__all__ = ["AXES", "Sheet", "contours", "sheets", "surfaces"]

Scale = Literal["log", "linear"]

GAPS = (0.08, 0.16)
"""Share of the width between two sheets, and of the height between two that are stacked."""

PATH = "#d3287d"
"""Colour of a path: apart from the whole colour scale and from the kernels."""

DECADES = 12
"""A logarithmic scale goes no further below its largest loss than this; less is drawn at its lower end."""


@dataclasses.dataclass(frozen=True)
class Sheet:
    """One surface with the path of a run.

    Attributes:
        name: what it belongs to, most often a kernel.
        first: coordinates along the first direction, increasing.
        second: those along the second.
        values: the loss, rows along the first direction.
        path: coordinates of points of a run from its start to its end, one row a point.
        distances: of these points from the plane.
        minima: coordinates of local minima, one row each.
    """

    name: str
    first: np.ndarray
    second: np.ndarray
    values: np.ndarray
    path: np.ndarray
    distances: np.ndarray
    minima: np.ndarray


AXES = {
    "random": ("first draw", "second draw"),
    "trajectory": ("start 0, end 1", "aside"),
    "common": ("start 0, first end 1", "to the second end"),
}
"""What lies along the two directions of a plane, by how it was chosen."""


def sheets(found: "Landscapes", protocol: str) -> list[Sheet]:
    """The first plane of the first lane of every run, chosen in one way.

    Args:
        found: what was measured.
        protocol: one of `random`, `trajectory` and `common`.

    Returns:
        One sheet a run that has such a plane.
    """
    views = {name: found.of(name, protocol)[:1] for name in found.names}
    return [
        Sheet(
            name,
            view.surface.first,
            view.surface.second,
            view.surface.values,
            view.path[0],
            view.path[1],
            view.minima,
        )
        for name, some in views.items()
        for view in some
    ]


def surfaces(title: str, sheets: Sequence[Sheet], axes: tuple[str, str]) -> go.Figure:
    """Surfaces side by side, or by a button all in one plot; heights and colours on one scale.

    A path is drawn on the surface, at the point of the plane closest to where the run was; how far that was is shown
    on hovering. A second button chooses between a logarithmic and a linear axis of the loss.

    Args:
        title: what the figure shows.
        sheets: one a surface.
        axes: what is drawn along the first and the second direction.

    Returns:
        The figure.
    """
    low, high = _range(sheets)
    figure = go.Figure(layout={"template": TEMPLATE, "title": {"text": title}})
    edges = np.log10([low, high])
    for i, sheet in enumerate(sheets):
        heights = np.maximum(sheet.values, low).T
        figure.add_surface(
            x=sheet.first,
            y=sheet.second,
            z=heights,
            surfacecolor=np.log10(heights),
            cmin=edges[0],
            cmax=edges[1],
            showscale=False,
            name=sheet.name,
            scene=_numbered("scene", i),
            hovertemplate=f"<b>{sheet.name}</b><br>%{{x:.3g}}, %{{y:.3g}}<br>loss %{{z:.4g}}<extra></extra>",
        )
        _draw_path(figure, sheet, low, _numbered("scene", i))
    scenes = [_numbered("scene", i) for i in range(len(sheets) + 1)]
    lengthwise = {name: {"title": {"text": text}} for name, text in zip(("xaxis", "yaxis"), axes, strict=True)}
    for scene in scenes:
        figure.layout[scene] = {
            **lengthwise,
            "zaxis": {"title": {"text": "loss"}, "exponentformat": "power"},
            "aspectmode": "cube",
        }
    _arrange(figure, sheets, [(f"{scene}.domain.x", f"{scene}.domain.y") for scene in scenes[:-1]], (520, 440))
    scales = [
        _button(name, [{}, _on_all(scenes, {"zaxis.type": name, "zaxis.range": list(ends)})])
        for name, ends in (("log", edges), ("linear", (low, high)))
    ]
    menus = [_menu(scales, 1.0, "right")]
    if len(sheets) > 1:
        menus.append(_menu(_one_or_all(sheets, scenes), 0.0, "left"))
    figure.update_layout(scales[0]["args"][1], updatemenus=menus, showlegend=False)
    return figure


def contours(title: str, sheets: Sequence[Sheet], axes: tuple[str, str]) -> go.Figure:
    """Contour maps side by side on one logarithmic colour scale, each with its path and its local minima.

    A path leads from a circle to a star; minima are crosses.

    Args:
        title: what the figure shows.
        sheets: one a surface.
        axes: what is drawn along the first and the second direction.

    Returns:
        The figure.
    """
    low, high = _range(sheets)
    ends = np.log10([low, high])
    figure = go.Figure(layout={"template": TEMPLATE, "title": {"text": title}, "showlegend": False})
    places = []
    for i, sheet in enumerate(sheets):
        on = {"xaxis": _numbered("x", i), "yaxis": _numbered("y", i)}
        figure.add_contour(
            x=sheet.first,
            y=sheet.second,
            z=np.log10(np.maximum(sheet.values, low)).T,
            customdata=sheet.values.T,
            contours={"start": ends[0], "end": ends[1], "size": (ends[1] - ends[0]) / 20},
            line={"width": 0.5, "color": "rgba(255, 255, 255, 0.35)"},
            zmin=ends[0],
            zmax=ends[1],
            showscale=i == 0,
            colorbar={"title": {"text": "log10 of the loss", "side": "right"}},
            hovertemplate=f"<b>{sheet.name}</b><br>%{{x:.3g}}, %{{y:.3g}}<br>loss %{{customdata:.4g}}<extra></extra>",
            **on,
        )
        _draw_flat(figure, sheet, on)
        x, y = _numbered("xaxis", i), _numbered("yaxis", i)
        figure.layout[x] = {"title": {"text": axes[0]}, "anchor": on["yaxis"], "showgrid": False}
        figure.layout[y] = {"title": {"text": axes[1]}, "anchor": on["xaxis"], "showgrid": False}
        places.append((f"{x}.domain", f"{y}.domain"))
    _arrange(figure, sheets, places, (420, 380))
    return figure


def _numbered(name: str, index: int) -> str:
    """The plotly name of an axis or scene: the first has no number."""
    return name if index == 0 else f"{name}{index + 1}"


def _range(sheets: Sequence[Sheet]) -> tuple[float, float]:
    """Lowest and highest loss to be drawn on any sheet, above 0."""
    every = np.concatenate([sheet.values.ravel() for sheet in sheets])
    every = every[np.isfinite(every)]
    high = max(float(every.max(initial=0.0)), 1e-30)
    positive = every[every > high / 10**DECADES]
    low = float(positive.min(initial=high))
    return (low, high) if low < high else (high / 10, high)


def _heights(sheet: Sheet, low: float) -> np.ndarray:
    """The surface at the points of the path, between the four cells around each; NaN off the grid."""
    i, a = _between(sheet.first, sheet.path[:, 0])
    j, b = _between(sheet.second, sheet.path[:, 1])
    f = np.maximum(sheet.values, low)
    along = (1 - a) * f[i, j] + a * f[i + 1, j], (1 - a) * f[i, j + 1] + a * f[i + 1, j + 1]
    inside = (a >= 0) & (a <= 1) & (b >= 0) & (b <= 1)
    return np.where(inside, (1 - b) * along[0] + b * along[1], np.nan)


def _between(line: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The grid line before each number, and how far it is on the way to the next one."""
    before = np.clip(np.searchsorted(line, at) - 1, 0, line.size - 2)
    return before, (at - line[before]) / (line[before + 1] - line[before])


def _draw_path(figure: go.Figure, sheet: Sheet, low: float, scene: str) -> None:
    """The path on its surface, a little bit above it so that it is not swallowed."""
    sizes = np.full(len(sheet.path), 2.5)
    sizes[[0, -1]] = 6
    figure.add_scatter3d(
        x=sheet.path[:, 0],
        y=sheet.path[:, 1],
        z=1.02 * _heights(sheet, low),
        mode="lines+markers",
        line={"width": 5, "color": PATH},
        marker={"size": sizes, "color": PATH},
        customdata=sheet.distances,
        name=f"path, {sheet.name}",
        showlegend=False,
        scene=scene,
        hovertemplate=f"<b>path, {sheet.name}</b><br>%{{x:.3g}}, %{{y:.3g}}<br>%{{customdata:.3g}} from the plane"
        "<extra></extra>",
    )


def _draw_flat(figure: go.Figure, sheet: Sheet, on: dict[str, str]) -> None:
    """The path and the minima on a contour map."""
    symbols = ["circle-open", *["circle"] * (len(sheet.path) - 2), "star"]
    figure.add_scatter(
        x=sheet.path[:, 0],
        y=sheet.path[:, 1],
        mode="lines+markers",
        line={"width": 2, "color": PATH},
        marker={"symbol": symbols, "size": [10, *[3] * (len(sheet.path) - 2), 11], "color": PATH},
        customdata=sheet.distances,
        hovertemplate="<b>path</b><br>%{x:.3g}, %{y:.3g}<br>%{customdata:.3g} from the plane<extra></extra>",
        **on,
    )
    figure.add_scatter(
        x=sheet.minima[:, 0],
        y=sheet.minima[:, 1],
        mode="markers",
        marker={"symbol": "x-thin", "size": 10, "line": {"width": 2, "color": "#ffffff"}},
        hovertemplate="<b>local minimum</b><br>%{x:.4g}, %{y:.4g}<extra></extra>",
        **on,
    )


def _arrange(
    figure: go.Figure, sheets: Sequence[Sheet], domains: Sequence[tuple[str, str]], heights: tuple[int, int]
) -> None:
    """Put the sheets side by side, and say how the page stacks them where it is narrow.

    Args:
        figure: with one part of the layout a sheet.
        sheets: whose names are written above them.
        domains: by sheet, where its horizontal and its vertical domain stand in the layout.
        heights: in pixels: of the wide figure, and of each sheet of the narrow one.
    """
    bare = {"xref": "paper", "yref": "paper", "showarrow": False, "xanchor": "center", "yanchor": "bottom"}
    figure.layout.annotations = [{**bare, "text": f"<b>{sheet.name}</b>"} for sheet in sheets]
    count = len(sheets)
    shapes = {
        "wide": _places(domains, [((i, count), (0, 1)) for i in range(count)]) | {"height": heights[0]},
        "narrow": _places(domains, [((0, 1), (count - 1 - i, count)) for i in range(count)])
        | {"height": heights[1] * count},
    }
    for path, value in shapes["wide"].items():
        figure.layout[path] = value
    figure.layout.meta = shapes


def _places(domains: Sequence[tuple[str, str]], cells: Sequence[tuple[tuple[int, int], ...]]) -> dict[str, Any]:
    """Domains and places of names, for each sheet in its cell: which of how many, along and upwards."""
    changes: dict[str, Any] = {}
    for i, (names, cell) in enumerate(zip(domains, cells, strict=True)):
        for name, (which, of), gap in zip(names, cell, GAPS, strict=True):
            width = (1 - gap * (of - 1)) / of
            changes[name] = [which * (width + gap), which * (width + gap) + width]
        changes[f"annotations[{i}].x"] = float(np.mean(changes[names[0]]))
        changes[f"annotations[{i}].y"] = changes[names[1]][1]
    return changes


def _on_all(scenes: Sequence[str], changes: dict[str, Any]) -> dict[str, Any]:
    return {f"{scene}.{name}": value for scene in scenes for name, value in changes.items()}


def _one_or_all(sheets: Sequence[Sheet], scenes: Sequence[str]) -> list[dict[str, Any]]:
    """Buttons that put all surfaces into the last scene, each in its own colour, and back."""
    count = len(sheets)
    apart = [scene for scene in scenes[:-1] for _ in range(2)]
    plain: list[Any] = [[[0, case_color(sheet.name)], [1, case_color(sheet.name)]] for sheet in sheets]
    # Surfaces and paths take turns.
    ours = {"scene": apart, "colorscale": [SEQUENTIAL, None] * count, "opacity": [1] * 2 * count}
    together = {
        "scene": [scenes[-1]] * 2 * count,
        "colorscale": [part for scale in plain for part in (scale, None)],
        "opacity": [0.75, 1] * count,
    }
    names = [f"annotations[{i}].visible" for i in range(count)]
    return [
        _button("side by side", [ours | {"showlegend": False}, {"showlegend": False, **dict.fromkeys(names, True)}]),
        _button(
            "one plot",
            [together | {"showlegend": [True, False] * count}, {"showlegend": True, **dict.fromkeys(names, False)}],
        ),
    ]


def _button(label: str, arguments: list[Any]) -> dict[str, Any]:
    return {"label": label, "method": "update", "args": arguments}


def _menu(buttons: list[dict[str, Any]], x: float, anchor: str) -> dict[str, Any]:
    return {
        "type": "buttons",
        "direction": "right",
        "buttons": buttons,
        "x": x,
        "xanchor": anchor,
        "y": 0,
        "yanchor": "top",
        "bgcolor": "rgba(0, 0, 0, 0)",
        "bordercolor": REFERENCE,
        "font": {"color": REFERENCE, "size": 12},
        "pad": {"t": 8},
    }

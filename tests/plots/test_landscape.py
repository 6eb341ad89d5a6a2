"""Surfaces and contour maps: what is drawn where, on which scale, and what the buttons change."""

import numpy as np
import plotly.graph_objects as go
import pytest

from descentlab.plots import Sheet, case_color, contours, surfaces

AXES = ("d1", "d2")


def sheet(name, factor=1.0, path=((0.0, 0.0), (0.5, 0.2), (1.0, 0.0))):
    first, second = np.linspace(-1, 2, 7), np.linspace(-1, 1, 5)
    values = factor * (1 + first[:, None] ** 2 + 3 * second**2)
    return Sheet(name, first, second, values, np.asarray(path), np.zeros(len(path)), np.asarray([[0.0, 0.0]]))


def pair():
    return [sheet("Softmax"), sheet("Gaussian", 100.0)]


def of(figure, kind):
    return [trace for trace in figure.data if isinstance(trace, kind)]


def test_surfaces_have_their_rows_along_the_first_axis():
    figure = surfaces("loss", pair(), AXES)
    one = of(figure, go.Surface)[0]
    # Plotly's rows run along y.
    assert np.asarray(one.z).shape == (one.y.size, one.x.size)
    assert one.z[0][6] == pytest.approx(1 + 4 + 3)
    assert figure.layout.scene.xaxis.title.text == "d1"
    assert figure.layout.scene2.yaxis.title.text == "d2"


def test_heights_and_colours_are_on_one_scale():
    figure = surfaces("loss", pair(), AXES)
    assert {(trace.cmin, trace.cmax) for trace in of(figure, go.Surface)} == {(0.0, np.log10(800.0))}
    ranges = {tuple(figure.layout[scene].zaxis.range) for scene in ("scene", "scene2", "scene3")}
    assert ranges == {(0.0, np.log10(800.0))}
    flat = contours("loss", pair(), AXES)
    assert {(trace.zmin, trace.zmax) for trace in of(flat, go.Contour)} == {(0.0, np.log10(800.0))}


def test_a_path_lies_on_its_surface_and_stops_where_the_grid_does():
    off = sheet("Softmax", path=((0.0, 0.0), (1.0, 0.5), (5.0, 0.0)))
    path = of(surfaces("loss", [off], AXES), go.Scatter3d)[0]
    np.testing.assert_allclose(path.z[:2], np.asarray([1.0, 1 + 1 + 0.75]) * 1.02)
    assert np.isnan(path.z[2])


def test_a_path_between_cells_is_bilinear():
    between = sheet("Softmax", path=((0.25, 0.25), (1.0, 0.5)))
    corners = [1 + a**2 + 3 * b**2 for a in (0, 0.5) for b in (0, 0.5)]
    path = of(surfaces("loss", [between], AXES), go.Scatter3d)[0]
    np.testing.assert_allclose(path.z[0], 1.02 * np.mean(corners))


def button(figure, label):
    return next(one for menu in figure.layout.updatemenus for one in menu.buttons if one.label == label)


def test_one_button_puts_all_surfaces_into_one_scene_in_their_own_colours():
    figure = surfaces("loss", pair(), AXES)
    for i, trace in enumerate(figure.data):
        assert trace.scene == ("scene", "scene2")[i // 2]
    changes, layout = button(figure, "one plot").args
    assert changes["scene"] == ["scene3"] * 4
    assert [scale[0][1] for scale in changes["colorscale"][::2]] == [case_color("Softmax"), case_color("Gaussian")]
    assert layout["annotations[1].visible"] is False
    back, layout = button(figure, "side by side").args
    assert back["scene"] == [trace.scene for trace in figure.data]
    assert layout["annotations[1].visible"] is True


def test_one_surface_needs_no_such_button():
    figure = surfaces("loss", pair()[:1], AXES)
    assert [one.label for menu in figure.layout.updatemenus for one in menu.buttons] == ["log", "linear"]
    assert button(figure, "linear").args[1]["scene.zaxis.range"] == [1.0, 8.0]


def test_a_loss_of_zero_has_a_place_on_the_logarithmic_scale():
    zero = sheet("Softmax")
    zero.values[3, 2] = 0.0
    surface = of(surfaces("loss", [zero], AXES), go.Surface)[0]
    assert np.all(np.isfinite(surface.surfacecolor))
    assert np.min(surface.z) == np.min(zero.values[zero.values > 0])


@pytest.mark.parametrize("draw", [surfaces, contours])
def test_sheets_are_side_by_side_or_on_narrow_screens_below_each_other(draw):
    figure = draw("loss", pair(), AXES)
    shapes = figure.layout.meta
    first, second = ("scene.domain.{}", "scene2.domain.{}") if draw is surfaces else ("{}axis.domain", "{}axis2.domain")
    for path, value in shapes["wide"].items():
        assert figure.layout[path] == (tuple(value) if isinstance(value, list) else value)
    wide, narrow = shapes["wide"], shapes["narrow"]
    assert wide[first.format("x")][1] < wide[second.format("x")][0]
    assert wide[first.format("y")] == wide[second.format("y")] == [0, 1]
    assert narrow[second.format("y")][1] < narrow[first.format("y")][0]
    assert narrow[first.format("x")] == narrow[second.format("x")] == [0, 1]


def test_a_contour_map_shows_start_end_and_minima():
    _, path, minima = contours("loss", pair()[:1], AXES).data
    assert (path.marker.symbol[0], path.marker.symbol[-1]) == ("circle-open", "star")
    assert (minima.x[0], minima.y[0]) == (0.0, 0.0)

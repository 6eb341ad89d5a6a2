"""Heat maps: every cell has its number, and a cell without one is not mistaken for a small one."""

import numpy as np
import plotly.colors
import pytest

from descentlab.plots.heatmaps import Categories, heat_map

X = Categories("rate", ["0.1", "0.2", "0.3"])
Y = Categories("width", ["8", "16"])
VALUES = np.array([[1.0, 10.0, np.nan], [100.0, np.inf, 1000.0]])


def luminance(rgb) -> float:
    parts = np.asarray(rgb, dtype=float)
    return float(np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


def test_colors_are_logarithms_and_hovering_tells_the_number():
    cells = heat_map("title", X, Y, VALUES, label="loss").data[0]
    np.testing.assert_allclose(cells.z, [[0, 1, np.nan], [2, np.nan, 3]])
    np.testing.assert_array_equal(cells.customdata, [[1, 10, np.nan], [100, np.nan, 1000]])
    np.testing.assert_allclose(
        10.0 ** np.array(cells.colorbar.tickvals), [float(text) for text in cells.colorbar.ticktext]
    )


def test_a_linear_scale_takes_any_number():
    cells = heat_map("title", X, Y, -VALUES, label="margin", scale="linear").data[0]
    np.testing.assert_array_equal(cells.z, [[-1, -10, np.nan], [-100, np.nan, -1000]])


def test_every_number_is_written_in_its_cell_and_missing_ones_by_their_kind():
    _, written = heat_map("title", X, Y, VALUES, label="loss").data
    by_cell = dict(zip(zip(written.y, written.x, strict=True), written.text, strict=True))
    assert by_cell == {
        ("8", "0.1"): "1", ("8", "0.2"): "10", ("8", "0.3"): "—",
        ("16", "0.1"): "100", ("16", "0.2"): "∞", ("16", "0.3"): "1e+3",
    }  # fmt: skip


def test_exactly_the_cells_without_a_number_are_hatched_inside_their_borders():
    shapes = heat_map("title", X, Y, VALUES, label="loss").layout.shapes
    corners = [
        np.array([pair.split(",") for pair in shape.path.split() if "," in pair], dtype=float) for shape in shapes
    ]
    centres = [(points.min(axis=0) + points.max(axis=0)) / 2 for points in corners]
    np.testing.assert_allclose(centres, [[2, 0], [1, 1]], atol=1e-6)
    for points, centre in zip(corners, centres, strict=True):
        assert np.abs(points - centre).max() < 0.5


def test_written_numbers_are_readable_on_their_color():
    values = np.linspace(0, 1, 15)[None]
    names = Categories("x", [str(i) for i in range(15)])
    _, written = heat_map("t", names, Categories("y", ["a"]), values, label="v", scale="linear").data
    for value, ink in zip(values[0], written.textfont.color, strict=True):
        ground = luminance(plotly.colors.sample_colorscale("Viridis", value, colortype="tuple")[0])
        text = luminance([int(ink[at : at + 2], 16) / 255 for at in (1, 3, 5)])
        assert (max(ground, text) + 0.05) / (min(ground, text) + 0.05) > 4


def test_many_columns_are_left_without_written_numbers():
    names = Categories("x", [str(i) for i in range(40)])
    assert len(heat_map("t", names, Categories("y", ["a"]), np.ones((1, 40)), label="v").data) == 1


@pytest.mark.parametrize("values", [np.full((2, 3), np.nan), np.full((2, 3), 0.013), np.array([[1.1, 1.3, 1.4]] * 2)])
def test_a_map_of_nothing_or_of_a_narrow_range_is_drawn(values):
    cells = heat_map("title", X, Y, values, label="loss").data[0]
    if np.isfinite(values).any():
        assert len(cells.colorbar.tickvals) >= 1


@pytest.mark.parametrize(
    ("x", "values", "message"),
    [
        (X, VALUES.T, "transpose"),
        (X, np.zeros((2, 3)), "scale='linear'"),
        (Categories("rate", ["a", "a", "b"]), VALUES, "different names along 'rate'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(x, values, message):
    with pytest.raises(ValueError, match=message):
        heat_map("title", x, Y, values, label="loss")

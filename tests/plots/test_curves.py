"""Curves: what is drawn is what was measured."""

import numpy as np
import pytest

from descentlab.plots.curves import MOST_POINTS, ChartAxis, add_band, add_level, add_line, lines, thinned
from descentlab.plots.style import case_color


@pytest.fixture
def figure():
    return lines("title", ChartAxis("step"), ChartAxis("loss", "log"))


class TestThinning:
    @pytest.mark.parametrize("count", [401, 1000, 54321])
    def test_the_first_and_last_step_stay_and_the_rest_is_few_and_increasing(self, count):
        kept = thinned(np.arange(count))
        assert kept[0] == 0
        assert kept[-1] == count - 1
        assert MOST_POINTS / 2 < kept.size <= MOST_POINTS
        assert np.all(np.diff(kept) > 0)

    @pytest.mark.parametrize("count", [0, 1, 2, 400])
    def test_few_steps_all_stay(self, count):
        np.testing.assert_array_equal(thinned(np.arange(count)), np.arange(count))

    def test_every_decade_and_every_tenth_of_the_run_is_drawn(self):
        count = 100_000
        kept = thinned(np.arange(count))
        decades = np.histogram(kept + 1, np.geomspace(1, count, 6))[0]
        tenths = np.histogram(kept, np.linspace(0, count, 11))[0]
        assert decades.min() >= 9
        assert tenths.min() >= 15

    def test_a_long_band_is_thinned_and_keeps_its_ends(self, figure):
        steps = np.arange(0, 50_000, 5)
        add_band(figure, steps, np.vstack([1.0 + steps, 2.0 + steps]), "softmax")
        line = figure.data[-1]
        assert len(line.x) <= MOST_POINTS
        assert (line.x[0], line.x[-1]) == (steps[0], steps[-1])
        np.testing.assert_allclose(line.y, line.x + 1.5)


class TestBand:
    def test_line_and_edges_are_the_quantiles_of_the_lanes(self, figure):
        steps = np.arange(5)
        values = np.random.default_rng(0).lognormal(size=(9, 5))
        add_band(figure, steps, values, "gaussian", quantiles=(0.25, 0.75))
        band, line = figure.data
        np.testing.assert_allclose(line.y, np.sort(values, axis=0)[4])
        np.testing.assert_allclose(band.y[:5], np.sort(values, axis=0)[6])
        np.testing.assert_allclose(band.y[5:10], np.sort(values, axis=0)[2][::-1])
        np.testing.assert_array_equal(band.x[:10], [0, 1, 2, 3, 4, 4, 3, 2, 1, 0])

    def test_a_single_lane_is_a_line_without_band(self, figure):
        add_band(figure, np.arange(3), np.array([3.0, 2.0, 1.0]), "linear")
        (line,) = figure.data
        np.testing.assert_array_equal(line.y, [3.0, 2.0, 1.0])

    def test_diverged_lanes_are_left_out_and_counted(self, figure):
        values = np.array([[1.0, 1.0, 1.0], [3.0, 3.0, np.nan], [5.0, np.inf, np.nan]])
        add_band(figure, np.arange(3), values, "softmax")
        line = figure.data[-1]
        np.testing.assert_array_equal(line.y, [3.0, 2.0, 1.0])
        np.testing.assert_array_equal(line.customdata[:, 2], [3, 2, 1])
        assert line.name == "softmax (1 of 3 lanes at the end)"

    def test_where_no_lane_is_left_there_is_a_gap_in_line_and_band(self, figure):
        values = np.array([[1.0, np.nan, 2.0], [3.0, np.nan, 4.0]])
        add_band(figure, np.arange(3), values, "softmax", quantiles=(0.0, 1.0))
        band, line = figure.data
        np.testing.assert_array_equal(line.y, [2.0, np.nan, 3.0])
        np.testing.assert_array_equal(band.x, [0, 0, np.nan, 2, 2, np.nan])
        np.testing.assert_array_equal(band.y, [3, 1, np.nan, 4, 2, np.nan])

    def test_lanes_that_are_never_finite_draw_nothing_and_raise_nothing(self, figure):
        add_band(figure, np.arange(2), np.full((2, 2), np.nan), "softmax")
        assert np.isnan(figure.data[-1].y).all()

    def test_a_band_on_a_log_axis_never_reaches_zero(self, figure):
        add_band(figure, np.arange(2), np.array([[1.0, 0.0], [2.0, 4.0]]), "softmax", quantiles=(0.0, 1.0))
        assert np.nanmin(figure.data[0].y) == 1.0
        linear = lines("title", ChartAxis("step"), ChartAxis("loss"))
        add_band(linear, np.arange(2), np.array([[1.0, 0.0], [2.0, 4.0]]), "softmax", quantiles=(0.0, 1.0))
        assert np.nanmin(linear.data[0].y) == 0.0

    def test_the_legend_toggles_line_and_band_together(self, figure):
        add_band(figure, np.arange(2), np.ones((2, 2)), "softmax")
        band, line = figure.data
        assert band.legendgroup == line.legendgroup == "softmax"
        assert band.showlegend is False

    def test_colors_are_the_kernels_and_else_different(self, figure):
        for label in ("rate 0.1", "softmax", "rate 0.2"):
            add_band(figure, np.arange(2), np.ones((2, 2)), label)
        colors = [trace.line.color for trace in figure.data if trace.showlegend is not False]
        assert colors[1] == case_color("softmax")
        assert colors[0] != colors[2]

    @pytest.mark.parametrize("shape", [(3, 4), (5, 2), (2, 3, 5)])
    def test_values_of_another_shape_are_refused(self, figure, shape):
        with pytest.raises(ValueError, match="transpose or select"):
            add_band(figure, np.arange(5), np.ones(shape), "softmax")


class TestReferences:
    def test_a_bound_is_dashed_and_kept_in_its_place(self, figure):
        add_line(figure, np.arange(4), np.array([8.0, 4.0, np.inf, 1.0]), "bound")
        (line,) = figure.data
        assert line.line.dash == "dash"
        np.testing.assert_array_equal(line.y, [8.0, 4.0, np.nan, 1.0])

    def test_a_line_of_unequal_lengths_is_refused(self, figure):
        with pytest.raises(ValueError, match="equal length"):
            add_line(figure, np.arange(4), np.ones(3), "bound")

    def test_a_level_lies_at_its_height_across_the_figure(self, figure):
        add_level(figure, 20.0, "2/η")
        (shape,) = figure.layout.shapes
        assert (shape.y0, shape.y1, shape.x0, shape.x1, shape.xref) == (20.0, 20.0, 0, 1, "x domain")
        assert shape.label.text == "2/η"

    def test_calls_chain_on_one_figure(self, figure):
        steps, ones = np.arange(3), np.ones((2, 3))
        assert add_level(add_line(add_band(figure, steps, ones, "a"), steps, ones[0], "b"), 1.0, "c") is figure
        assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("linear", "log")

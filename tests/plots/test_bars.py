"""Bars, distributions and rooflines: what is drawn is what was given."""

import numpy as np
import pytest

from descentlab.plots import ChartAxis, Reached, distributions, roofline, stacked_bars


def test_bars_hold_the_parts_that_were_given():
    figure = stacked_bars("t", "percent", ["a", "b"], {"first": np.array([1.0, 2.0]), "second": np.array([3.0, 4.0])})
    assert [trace.name for trace in figure.data] == ["first", "second"]
    assert [list(trace.x) for trace in figure.data] == [[1, 2], [3, 4]]
    assert figure.layout.barmode == "stack"
    with pytest.raises(ValueError, match=r"wants 2 lengths of 'first', got shape \(3,\)"):
        stacked_bars("t", "percent", ["a", "b"], {"first": np.ones(3)})


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_distribution_adds_up_to_one_and_lies_where_its_samples_do(scale):
    samples = np.random.default_rng(0).uniform(10, 100, 500)
    figure = distributions("t", ChartAxis("x", scale), {"one": samples, "other": samples[:100]}, bins=9)
    assert figure.layout.xaxis.type == scale
    for trace, drawn in zip(figure.data, (samples, samples[:100]), strict=True):
        assert sum(trace.y) == pytest.approx(1)
        assert drawn.min() <= min(trace.x) < max(trace.x) <= samples.max()


def test_a_roofline_bends_where_the_rates_meet_and_has_its_points():
    points = [Reached("kind", ["a", "b"], [0.5, 50.0], [1.0, 10.0])]
    figure = roofline("t", peak=20.0, bandwidth=4.0, points=points)
    roof, drawn = figure.data
    assert max(roof.y) == 20
    assert np.all(np.asarray(roof.y) == np.minimum(20, 4 * np.asarray(roof.x)))
    assert 5.0 in roof.x
    assert (min(roof.x) <= 0.5, max(roof.x) >= 50.0) == (True, True)
    assert (list(drawn.x), list(drawn.y), list(drawn.customdata)) == ([0.5, 50.0], [1.0, 10.0], ["a", "b"])

"""The intervals that decide verdicts, against the distribution functions they invert and by counting."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.scipy.special import betainc

from descentlab.estimate import Estimate, Interval
from descentlab.mistake import Mistake
from descentlab.statistics import (
    bootstrap_interval,
    factor_interval,
    mean_interval,
    paired_interval,
    printed,
    ratio_of_medians,
    share_difference,
    share_interval,
    slope_interval,
    slopes,
)
from support.coverage import METHODS, POPULATIONS, share_covered


def coverage(t, freedom):
    """How much of Student's distribution lies within t."""
    return 1 - betainc(freedom / 2, 0.5, freedom / (freedom + jnp.asarray(t) ** 2))


@pytest.mark.parametrize("count", [2, 3, 5, 12, 31, 200])
def test_the_quantiles_are_those_of_student(float64, count):
    numbers = np.random.default_rng(count).normal(size=count)
    t = mean_interval(numbers).error / (numbers.std(ddof=1) / np.sqrt(count))
    np.testing.assert_allclose(coverage(t, count - 1.0), 0.95, atol=1e-5)


def test_the_interval_contains_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(3.0, 2.0, size=(4000, 4))
    inside = [abs(one.value - 3.0) <= one.error for one in map(mean_interval, draws)]
    assert abs(np.mean(inside) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 4000)


def test_one_number_says_nothing_of_its_error():
    assert mean_interval(2.0) == (-np.inf, 2.0, np.inf)
    assert factor_interval(2.0)[::2] == (0.0, np.inf)
    with pytest.raises(Mistake, match="at least one number"):
        mean_interval([])


@pytest.mark.parametrize("value", [0.5, 1 / 3])
def test_seeds_that_agree_have_the_resolution_as_their_error(value):
    for numbers in ([value] * 5, [value, value + 1e-16]):
        assert mean_interval(numbers, resolution=1 / 4096).error == pytest.approx(1 / 4096, rel=1e-12)
    assert mean_interval([value] * 5).error < 1e-16


def test_seeds_that_differ_keep_the_interval_of_their_spread():
    some = [0.5, 0.5, 0.5 + 1 / 4000]
    assert mean_interval(some, resolution=1 / 4000) == mean_interval(some)
    assert mean_interval([0.5], resolution=1 / 4000).error == np.inf


def test_an_interval_reaches_towards_a_bound_on_the_side_of_the_bound():
    found = Interval(1.0, 3.0, 4.0)
    assert (found.towards(0.0), found.towards(10.0), found.towards(3.0)) == (2.0, 1.0, 2.0)
    assert Interval(np.inf, np.inf, np.inf).towards(1.0) == 0


@pytest.mark.parametrize("count", [1, 2, 12, 50])
@pytest.mark.parametrize("truth", [0.05, 0.5, 0.9])
def test_the_interval_of_a_share_contains_it_at_least_as_often_as_it_says(truth, count):
    hits = range(count + 1)
    weights = scipy.stats.binom.pmf(hits, count, truth)
    ends = [share_interval(hit, count) for hit in hits]
    inside = [one.low <= truth <= one.high for one in ends]
    assert np.sum(weights * inside) >= 0.95
    assert [one.value for one in ends] == [hit / count for hit in hits]


def test_a_difference_of_shares_is_covered_and_one_trial_each_decides_nothing():
    one, other = share_interval(1, 1), share_interval(0, 1)
    assert share_difference(one, other).low < 0 < share_difference(one, other).value == 1
    hits = range(21)
    first, second = (scipy.stats.binom.pmf(hits, 20, truth) for truth in (0.3, 0.6))
    shares = [share_interval(hit, 20) for hit in hits]
    gaps = [[share_difference(a, b) for b in shares] for a in shares]
    inside = np.array([[gap.low <= -0.3 <= gap.high for gap in row] for row in gaps])
    assert first @ inside @ second >= 0.95
    assert gaps[10][10].low == -gaps[10][10].high


def test_pairs_are_compared_seed_by_seed():
    one, other = np.array([1.0, 5.0, 9.0]), np.array([0.0, 4.0, 7.0])
    assert paired_interval(one, other) == mean_interval([1.0, 1.0, 2.0])
    assert paired_interval(one, one, resolution=0.5) == (-0.5, 0.0, 0.5)
    with pytest.raises(Mistake, match="the same seeds"):
        paired_interval(one, other[:2])


def test_a_factor_is_compared_by_its_logarithm():
    low, value, high = factor_interval([1.0, 100.0, 10.0])
    assert value == pytest.approx(10.0, rel=1e-12)
    assert low * high == pytest.approx(100.0, rel=1e-12)
    assert np.log(high) == pytest.approx(mean_interval(np.log([1.0, 100.0, 10.0])).high, rel=1e-12)
    assert all(map(np.isnan, factor_interval([1.0, 0.0])))


def test_slopes_are_those_of_least_squares():
    x = np.array([0.0, 1.0, 2.0, 4.0])
    y = np.random.default_rng(0).normal(size=(2, 3, 4)) + 3 * x
    expected = [[scipy.stats.linregress(x, row).slope for row in rows] for rows in y]
    np.testing.assert_allclose(slopes(x, y), expected, rtol=1e-12)
    assert slope_interval(x, y[0]) == mean_interval(slopes(x, y[0]))


@pytest.mark.parametrize(
    ("text", "value", "half"),
    [
        ("0.6807", 0.6807, 5e-5),
        (".04", 0.04, 5e-3),
        ("192.00", 192.0, 5e-3),
        ("100", 100.0, 0.5),
        ("-1.5e3", -1500, 50),
    ],
)
def test_a_printed_number_is_known_to_half_a_unit_of_its_last_digit(text, value, half):
    assert printed(text) == Estimate(value, half)


def test_what_is_no_number_is_not_printed():
    with pytest.raises(Mistake, match="'six'"):
        printed("six")


SKEWED = ("mean", "log-normal, 1")
"""Numbers that spread over factors have no mean that a few of them tell: the page says so."""


@pytest.mark.parametrize("name", ["mean", "paired difference", "factor", "ratio of medians"])
def test_intervals_contain_the_true_value_from_the_smallest_number_of_seeds_on(name):
    method = METHODS[name]
    draws = 200 if name == "ratio of medians" else 4000
    shares = {kind: share_covered(method, one, method.smallest, draws) for kind, one in POPULATIONS.items()}
    assert {kind for kind, share in shares.items() if share < 0.93} == ({SKEWED[1]} if name == SKEWED[0] else set())


@pytest.mark.parametrize("count", range(5, 30, 2))
def test_the_bootstrap_of_a_median_covers_as_often_as_it_says_whatever_the_distribution(count):
    # Its ends are places among the sorted numbers; how many numbers lie below the true median is binomial.
    low, _, high = bootstrap_interval(medians, np.arange(float(count)))
    assert scipy.stats.binom.cdf(high, count, 0.5) - scipy.stats.binom.cdf(low, count, 0.5) >= 0.93


@pytest.mark.parametrize("name", METHODS)
def test_below_the_smallest_number_of_seeds_nothing_is_said(name):
    method = METHODS[name]
    numbers = np.random.default_rng(0).uniform(1.0, 2.0, method.samples * (method.smallest - 1))
    assert method.interval(numbers).error == np.inf


def medians(batch):
    return np.median(batch, axis=1)


def test_the_bootstrap_of_a_median_contains_it_about_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(2.0, 1.0, size=(400, 20))
    found = [bootstrap_interval(medians, one) for one in draws]
    assert [one.value for one in found] == list(np.median(draws, axis=1))
    inside = np.mean([one.low <= 2.0 <= one.high for one in found])
    assert abs(inside - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 400)


def test_the_bootstrap_draws_seeds_and_keeps_what_belongs_to_one_together():
    pairs = np.random.default_rng(1).normal(size=(12, 1)) + np.array([[0.0, 1.0]])
    apart = bootstrap_interval(lambda batch: medians(batch)[:, 1] - medians(batch)[:, 0], pairs)
    np.testing.assert_allclose(apart, 1.0, rtol=1e-12)
    assert ratio_of_medians(np.full(6, 3.0), np.full(5, 2.0)) == (1.5, 1.5, 1.5)


def test_the_bootstrap_of_one_seed_or_of_no_number_says_nothing():
    assert bootstrap_interval(medians, [2.0]) == (-np.inf, 2.0, np.inf)
    assert ratio_of_medians([0.0] * 3 + [1.0] * 2, [0.0] * 3 + [1.0] * 2)[::2] == (-np.inf, np.inf)
    for empty in (lambda: bootstrap_interval(medians, []), lambda: share_interval(0, 0)):
        with pytest.raises(Mistake, match="at least one"):
            empty()

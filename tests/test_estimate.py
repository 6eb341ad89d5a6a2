"""The interval of a mean, against the distribution function it inverts and by counting."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import betainc

from descentlab.estimate import mean_interval


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
    assert mean_interval(2.0) == (2.0, np.inf)
    with pytest.raises(ValueError, match="at least one number"):
        mean_interval([])

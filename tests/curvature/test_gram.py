"""Extreme eigenvalues of the Gram matrix, dense and by Lanczos, against NumPy."""

import dataclasses

import jax
import numpy as np
import pytest

from descentlab.curvature import dense_extremes, gram, lanczos_extremes, largest_eigenvalue
from descentlab.data import FullBatch
from support.problems import SMALL, VALUE_ONLY, started

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def problem():
    with jax.enable_x64(True):
        objective, params = started(dataclasses.replace(SMALL, data=FullBatch(6)))
        jacobian = jax.jit(lambda tree: objective.jacobian(tree))(params)
    return objective, params, np.linalg.svd(jacobian, compute_uv=False) ** 2


def test_dense_extremes_lie_within_their_error(problem):
    objective, params, exact = problem
    found = jax.jit(lambda tree: dense_extremes(objective, tree))(params)
    assert abs(found.smallest.value - exact[-1]) <= found.smallest.error
    assert abs(found.largest.value - exact[0]) <= found.largest.error
    assert found.largest.error < 1e-13 * exact[0]


def test_fewer_columns_than_rows_leave_zero_within_the_error(float64):
    layer = dataclasses.replace(VALUE_ONLY.model, heads=1)
    objective, params = started(dataclasses.replace(VALUE_ONLY, model=layer, data=FullBatch(6)))
    found = jax.jit(lambda tree: dense_extremes(objective, tree))(params)
    assert abs(found.smallest.value) <= found.smallest.error


@pytest.mark.parametrize("matvecs", [3, 8, 40])
def test_ritz_values_bound_the_extremes_and_carry_a_true_residual(problem, matvecs):
    objective, params, exact = problem
    found = jax.jit(lambda tree: lanczos_extremes(objective, tree, matvecs=matvecs))(params)
    rounding = 1e-13 * exact[0]
    assert found.smallest.value >= exact[-1] - rounding
    assert found.largest.value <= exact[0] + rounding
    for one in found:
        assert np.abs(exact - one.value).min() <= one.error + rounding
    if matvecs >= len(exact):
        np.testing.assert_allclose(found.smallest.value, exact[-1], rtol=0, atol=rounding)
        np.testing.assert_allclose(found.largest.value, exact[0], rtol=0, atol=rounding)
        assert max(one.error for one in found) < rounding
    else:
        assert found.smallest.error > rounding


def test_the_largest_eigenvalue_of_many_rows_comes_from_lanczos(problem, monkeypatch):
    objective, params, exact = problem
    monkeypatch.setattr(gram, "DENSE_ROWS", 5)
    np.testing.assert_allclose(jax.jit(lambda tree: largest_eigenvalue(objective, tree))(params), exact[0], rtol=1e-12)

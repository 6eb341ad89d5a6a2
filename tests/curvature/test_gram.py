"""Extreme eigenvalues of the Gram matrix, dense and from products, against NumPy."""

import dataclasses

import jax
import numpy as np
import pytest

from descentlab.curvature import Gram, Krylov, dense_extremes, gram, krylov_extremes, largest_eigenvalue
from descentlab.data import FullBatch
from support.problems import SMALL, VALUE_ONLY, started
from support.rounding import rounding

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


def test_a_small_eigenvalue_keeps_the_digits_that_the_gram_matrix_loses(problem):
    """Rows of J that nearly agree: the smallest eigenvalue is far below the rounding of the largest."""
    objective, params, _ = problem
    close = objective.on(objective.examples._replace(inputs=objective.inputs.at[1].set(objective.inputs[0] + 1e-9)))
    jacobian = np.asarray(close.jacobian(params))
    singular, unit = np.linalg.svd(jacobian, compute_uv=False), np.finfo(np.float64).eps
    assert singular[-1] ** 2 < unit * singular[0] ** 2
    found = dense_extremes(close, params)
    for one, exact in zip(found, (singular[-1] ** 2, singular[0] ** 2), strict=True):
        assert abs(one.value - exact) <= 2 * one.error < 1e-3 * exact  # either is wrong by one error at most


def test_fewer_columns_than_rows_leave_zero_within_the_error(float64):
    layer = dataclasses.replace(VALUE_ONLY.model, heads=1)
    objective, params = started(dataclasses.replace(VALUE_ONLY, model=layer, data=FullBatch(6)))
    found = jax.jit(lambda tree: dense_extremes(objective, tree))(params)
    assert found.smallest == (0, 0)


def test_extremes_from_products_are_the_true_ones_within_their_errors(problem):
    objective, params, exact = problem
    found = jax.jit(lambda tree: krylov_extremes(objective, tree, Krylov()))(params)
    for one, true in zip(found, (exact[-1], exact[0]), strict=True):
        assert abs(one.value - true) <= one.error <= 1e-12 * exact[0]


def test_extremes_that_are_not_verified_are_bounds_of_unknown_error():
    """300 rows, whose smallest eigenvalues lie too close for as many products."""
    model = dataclasses.replace(SMALL.model, heads=16, head_dim=4)
    objective, params = started(dataclasses.replace(SMALL, data=FullBatch(100), model=model))
    exact = np.linalg.svd(np.asarray(objective.jacobian(params)), compute_uv=False) ** 2
    found = krylov_extremes(objective, params, Krylov(verify=False, products=60))
    slack = rounding(60 * len(exact)) * exact[0]
    assert exact[0] * (1 - 1e-6) <= found.largest.value <= exact[0] + slack
    assert exact[-1] - slack <= found.smallest.value <= 0.01 * exact[0]
    assert np.isinf([found.smallest.error, found.largest.error]).all()


def test_the_largest_eigenvalue_of_many_rows_comes_from_products(problem, monkeypatch):
    objective, params, exact = problem
    monkeypatch.setattr(gram, "DENSE_ROWS", 5)
    np.testing.assert_allclose(jax.jit(lambda tree: largest_eigenvalue(objective, tree))(params), exact[0], rtol=1e-6)


def test_pieces_under_a_cap_make_the_matrix_of_all_jacobians(problem):
    objective, params, _ = problem
    jacobian = np.asarray(objective.jacobian(params))
    rows, columns = jacobian.shape
    atol = rounding(2 * columns) * np.sum(jacobian**2, axis=1).max()
    two = 8 * (rows**2 + 2 * 3 * rows // 6 * columns)
    for memory in (two, 2**30):
        np.testing.assert_allclose(Gram(objective, params).dense(memory=memory), jacobian @ jacobian.T, atol=atol)
    with pytest.raises(ValueError, match="of 6 samples with 3 outputs each takes .* enough for 1 samples; take fewer"):
        Gram(objective, params).dense(memory=8 * 3 * rows // 6 * columns + 200)


@pytest.mark.parametrize("rows", [1, 512])
def test_extremes_by_factors_and_by_the_spectrum_are_those_of_the_jacobian(problem, monkeypatch, rows):
    objective, params, exact = problem
    monkeypatch.setattr(gram, "DENSE_ROWS", rows)
    found = Gram(objective, params).extremes()
    for one, true in zip(found, (exact[-1], exact[0]), strict=True):
        assert abs(one.value - true) <= one.error
        assert one.error <= 2 * rounding(2 * exact.size) * exact[0]


def test_what_factors_do_not_confirm_is_found_from_the_spectrum(problem, monkeypatch):
    """Lanczos steps that miss the smallest eigenvalue, and those that miss the largest."""
    objective, params, exact = problem
    monkeypatch.setattr(gram, "DENSE_ROWS", 1)
    right = gram.eigsh
    for wrong in (1.01 * exact[-1], 0.99 * exact[0]):
        near = 1 / wrong if wrong < 1 else wrong

        def eigsh(operator, wrong=near, **options):
            value = right(operator, **options)
            return np.asarray([wrong]) if abs(value[0] / wrong - 1) < 0.02 else value

        monkeypatch.setattr(gram, "eigsh", eigsh)
        found = Gram(objective, params).extremes()
        assert abs(found.smallest.value - exact[-1]) <= found.smallest.error
        assert abs(found.largest.value - exact[0]) <= found.largest.error


def test_a_singular_matrix_has_the_smallest_eigenvalue_zero_within_the_error(float64, monkeypatch):
    monkeypatch.setattr(gram, "DENSE_ROWS", 1)
    twice = dataclasses.replace(SMALL, data=FullBatch(2), task=dataclasses.replace(SMALL.task, duplicates=1))
    found = Gram(*started(twice)).extremes()
    assert abs(found.smallest.value) <= found.smallest.error < found.largest.value


@pytest.mark.parametrize("rows", [1, 512])
def test_parameters_that_are_no_numbers_leave_no_extremes(problem, monkeypatch, rows):
    objective, params, _ = problem
    monkeypatch.setattr(gram, "DENSE_ROWS", rows)
    found = Gram(objective, jax.tree.map(lambda leaf: leaf * np.nan, params)).extremes()
    assert np.isnan([*found.smallest, *found.largest]).all()

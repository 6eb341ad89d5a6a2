"""The largest Hessian eigenvalue against a dense Hessian, and where the Krylov space ends early."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from descentlab.curvature import hessian_product, sharpness
from support.problems import SMALL, started

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def problem():
    with jax.enable_x64(True):
        objective, params = started(SMALL)
        flat, restore = ravel_pytree(params)
        dense = jax.jit(jax.hessian(lambda vector: objective.loss(restore(vector))))(flat)
    return objective.loss, params, np.asarray(dense)


def test_products_are_those_of_the_dense_hessian(problem):
    loss, params, dense = problem
    vector = jax.random.normal(jax.random.key(3), (dense.shape[0],))
    found = jax.jit(lambda v: hessian_product(loss, params)(v))(vector)
    np.testing.assert_allclose(found, dense @ vector, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("matvecs", [5, 20, 60])
def test_sharpness_is_a_lower_bound_with_a_true_residual(problem, matvecs):
    loss, params, dense = problem
    spectrum = np.linalg.eigvalsh(dense)
    found = jax.jit(lambda tree: sharpness(loss, tree, matvecs=matvecs))(params)
    rounding = 1e-12 * spectrum[-1]
    assert found.value <= spectrum[-1] + rounding
    assert np.abs(spectrum - found.value).min() <= found.error + rounding
    if matvecs == 60:
        np.testing.assert_allclose(found.value, spectrum[-1], rtol=1e-10)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_a_hessian_of_low_rank_exhausts_the_krylov_space_and_stays_finite(rank):
    factor = jax.random.normal(jax.random.key(1), (rank, 30))
    exact = np.linalg.eigvalsh(factor.T @ factor)[-1] if rank else 0.0
    found = jax.jit(lambda x: sharpness(lambda y: 0.5 * jnp.sum((factor @ y) ** 2), x, matvecs=25))(jnp.ones(30))
    np.testing.assert_allclose(found.value, exact, rtol=1e-10, atol=1e-12)
    assert found.error <= 1e-9 * max(1.0, exact)

"""One convention: f = 1/(2N) sum of squares, J = dr/dtheta, grad f = J^T r, K = J J^T."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from descentlab.curvature import Gram
from descentlab.models import MeanPool
from descentlab.tasks import Noise, TokenRegression
from support import naive
from support.problems import LAYER, SMALL, in_numpy, started

pytestmark = pytest.mark.usefixtures("float64")

WIDE = dataclasses.replace(
    SMALL, model=dataclasses.replace(LAYER, output_dim=2), task=TokenRegression(tokens=3, dim=4, target=Noise(2.0))
)
POOLED = dataclasses.replace(SMALL, model=dataclasses.replace(LAYER, output_dim=2, readout=MeanPool()))
SOME = dataclasses.replace(WIDE, trained=("key", "output"))
each = pytest.mark.parametrize("experiment", [WIDE, POOLED, SOME], ids=["all", "pooled", "some"])


@each
def test_the_loss_is_the_sum_of_squares_over_twice_the_samples(experiment):
    objective, params = started(experiment)
    outputs = jnp.stack([objective.model(params)(x) for x in objective.inputs])
    expected = sum(float(r) ** 2 for r in np.ravel(outputs - objective.targets)) / (2 * 2)
    np.testing.assert_allclose(objective.loss(params), expected, rtol=1e-14)
    residual = objective.residual(params)
    np.testing.assert_allclose(residual @ residual / 2, expected, rtol=1e-14)


@each
def test_the_jacobian_is_the_derivative_of_the_residual(experiment):
    objective, params = started(experiment)
    flat, unravel = ravel_pytree(params)
    rows = objective.targets.size

    @jax.jit
    def everything(flat):
        params = unravel(flat)
        derivative = jax.jacrev(lambda vector: objective.residual(unravel(vector)))(flat)
        gradient = ravel_pytree(jax.grad(objective.loss)(params))[0]
        gram = jax.vmap(Gram(objective, params).linear())(jnp.eye(rows))
        return objective.residual(params), objective.jacobian(params), derivative, gradient, gram

    residual, jacobian, derivative, gradient, gram = everything(flat)
    assert jacobian.shape == (rows, flat.size)
    np.testing.assert_allclose(jacobian, derivative, rtol=0, atol=1e-14)
    np.testing.assert_allclose(gradient, jacobian.T @ residual, rtol=0, atol=1e-13)
    np.testing.assert_allclose(gram, jacobian @ jacobian.T, rtol=0, atol=1e-13)


def test_loss_is_that_of_the_loops():
    inputs, targets, arrays = in_numpy(WIDE)
    objective, params = started(WIDE)
    weights = naive.WEIGHTS[type(LAYER.attention)](LAYER.attention)
    np.testing.assert_allclose(objective.loss(params), naive.loss(inputs, targets, arrays, weights), rtol=1e-13)

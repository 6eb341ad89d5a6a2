"""Curvature and Gram matrices of losses with weights, ignored targets and signs, against dense derivatives."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from descentlab.curvature import EmpiricalFisher, Functional, GaussNewton, Gram, Hessian
from descentlab.losses import CrossEntropy, Logistic, SquaredError
from descentlab.objective import Examples, Objective

pytestmark = pytest.mark.usefixtures("float64")
FAST = jax.jit
RANDOM = np.random.default_rng(0)
COUNT, TOKENS = 5, 3
PER_EXAMPLE = RANDOM.random(COUNT) + 0.1
PER_TOKEN = RANDOM.random((COUNT, TOKENS)) * (RANDOM.random((COUNT, TOKENS)) < 0.8)
CLASSES = RANDOM.integers(0, 2, (COUNT, TOKENS))
SIGNS = 2.0 * CLASSES - 1
CASES = {
    "weighted squares": (SquaredError(), RANDOM.normal(size=(COUNT, TOKENS, 2)), PER_EXAMPLE),
    "one left out": (SquaredError(), RANDOM.normal(size=(COUNT, TOKENS, 2)), np.array([1, 0, 2, 0, 1])),
    "weighted classes": (CrossEntropy(), CLASSES, PER_EXAMPLE),
    "ignored classes": (CrossEntropy(-100), np.where(RANDOM.random((COUNT, TOKENS)) < 0.4, -100, CLASSES), None),
    "both": (CrossEntropy(-100), np.where(RANDOM.random((COUNT, TOKENS)) < 0.4, -100, CLASSES), PER_TOKEN),
    "signs": (Logistic(), SIGNS, None),
    "weighted signs": (Logistic(), SIGNS, PER_TOKEN),
}


class Layer(eqx.Module):
    """A layer whose outputs curve, small enough for dense derivatives."""

    weight: Any

    def __call__(self, tokens):
        return jnp.tanh(tokens @ self.weight)


@pytest.fixture(params=CASES)
def case(request, float64):
    """An objective, and where."""
    loss, targets, weights = CASES[request.param]
    inputs = jnp.asarray(RANDOM.normal(size=(COUNT, TOKENS, 3)))
    weights = None if weights is None else jnp.asarray(weights)
    params = Layer(jnp.asarray(RANDOM.normal(size=(3, 1 if isinstance(loss, Logistic) else 2))))
    return Objective(Layer(None), Examples(inputs, jnp.asarray(targets), weights), loss), params


def parts(objective, params):
    """Hessian, Gauss-Newton part and matrix of the single gradients, all dense."""
    flat, unravel = ravel_pytree(params)

    def outputs(vector):
        return objective.outputs(unravel(vector))

    @FAST
    def found(flat):
        hessian = jax.hessian(lambda vector: objective.loss(unravel(vector)))(flat)
        at = outputs(flat)
        rows = jax.jacobian(outputs)(flat).reshape(at.size, -1)
        bend = jax.hessian(lambda entries: objective.compared(entries.reshape(at.shape)))(at.ravel())
        return hessian, rows.T @ bend @ rows, rows

    return found(flat)


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_parts_of_the_hessian_are_the_dense_ones_at_once_and_in_batches(case):
    hessian, outer, _ = parts(*case)
    for batch in (None, 2):
        same(Hessian(*case, batch).dense(), hessian)
        same(GaussNewton(*case, batch).dense(), outer)
        np.testing.assert_allclose(
            Functional(*case, batch).dense(), hessian - outer, rtol=0, atol=1e-12 * np.abs(hessian).max()
        )
    assert np.linalg.eigvalsh(outer)[0] >= -1e-13 * np.abs(outer).max()


def test_the_empirical_fisher_weighs_each_gradient_by_the_share_of_its_example(case):
    objective, params = case
    flat, unravel = ravel_pytree(params)
    expected, gradient = np.zeros((flat.size, flat.size)), np.zeros(flat.size)
    slope_on = FAST(jax.grad(lambda vector, some: objective.on(some).loss(unravel(vector))))
    inputs, targets, weights, _ = objective.examples
    for row in range(COUNT):
        one = slice(row, row + 1)
        alone = Examples(inputs[one], targets[one], None if weights is None else weights[one])
        slope = np.asarray(slope_on(flat, alone))
        expected += float(objective.share(alone)) * np.outer(slope, slope)
        gradient += float(objective.share(alone)) * slope
    same(gradient, np.asarray(slope_on(flat, objective.examples)))
    for batch in (None, 2):
        same(EmpiricalFisher(objective, params, batch).dense(), expected)


def test_the_gram_matrix_has_the_roots_of_the_weights_in_least_squares_alone(case):
    objective, params = case
    _, _, rows = parts(objective, params)
    shares = np.full(COUNT, 1 / COUNT)
    if isinstance(objective.loss_function, SquaredError):
        weights = np.asarray(objective.examples.weights)
        shares = weights / weights.sum()
        vectors = jnp.eye(len(rows))
        scaled = np.sqrt(np.repeat(shares, len(rows) // COUNT))[:, None] * rows
        same(jax.vmap(FAST(Gram(objective, params).linear()))(vectors), scaled @ scaled.T)
        slope = ravel_pytree(jax.grad(objective.loss)(params))[0]
        same(objective.jacobian(params).T @ objective.residual(params), np.asarray(slope))
    scaled = np.sqrt(np.repeat(shares, len(rows) // COUNT))[:, None] * rows
    gram = Gram(objective, params)
    product = gram.linear()
    same(FAST(jax.vmap(product))(jnp.eye(len(rows))), scaled @ scaled.T)
    same(gram.dense(memory=gram.shape[0] ** 2 * 8 + 2 * 3 * len(rows) // COUNT * rows.shape[1] * 8), scaled @ scaled.T)

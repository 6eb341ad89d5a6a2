"""No sampled derivative exceeds its bound, and where the proofs say that a bound is attained, it is."""

import dataclasses
from itertools import combinations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.attention import Gaussian, Linear, NormalizedGaussian, NoScaling, Power, ReLU, Softmax
from descentlab.theory.lipschitz import (
    SOFTMAX_CURVATURE,
    Geometry,
    attention_lipschitz,
    geometry,
    kernel_bounds,
    largest_radius,
)
from support import naive
from support.problems import SMALL, started

pytestmark = pytest.mark.usefixtures("float64")

BOUNDED = [Gaussian(0.5), Softmax(0.5), Linear()]
BOUNDED += [Gaussian(scaling=NoScaling()), Softmax(scaling=Power(1.0)), Linear(scaling=Power(-0.5))]
kernels = pytest.mark.parametrize("kernel", BOUNDED, ids=str)
SUBSETS = [subset for size in range(1, 5) for subset in combinations(naive.BLOCKS, size)]


def problem(kernel, trained, seed=0):
    model = dataclasses.replace(SMALL.model, attention=kernel)
    return started(dataclasses.replace(SMALL, model=model, trained=trained), seed)


def norms(objective, params):
    return geometry(objective.model(params), objective, params)


def drawn(rng, samples=2, tokens=3, dim=4, width=2):
    """Tokens and the query and key matrices of one head, at a random scale."""
    inputs = rng.normal(size=(samples, tokens, dim)) * 10 ** rng.uniform(-0.5, 0.3)
    return inputs, *(rng.normal(size=(dim, width)) * 10 ** rng.uniform(-1, 0.5) for _ in range(2))


def where_of(inputs, query, key, trained):
    """The geometry of one head; what the kernel's constants do not depend on is zero."""
    norms = {"query": np.linalg.norm(query, 2), "key": np.linalg.norm(key, 2), "value": 0.0, "output": 0.0}
    return Geometry(
        spectral=jnp.asarray(np.linalg.norm(inputs, ord=2, axis=(1, 2))),
        longest=jnp.asarray(np.linalg.norm(inputs, axis=2).max(axis=1)),
        tokens=inputs.shape[1],
        head_dim=query.shape[1],
        norms={name: jnp.asarray(norm) for name, norm in norms.items()},
        features=jnp.asarray(0.0),
        trained=trained,
    )


def features(kernel, inputs, query, key):
    """One head's columns of B, by loops."""
    weights = naive.WEIGHTS[type(kernel)](kernel)
    return np.concatenate([weights(x @ query, x @ key) @ x for x in inputs]) / np.sqrt(len(inputs))


def derivatives(kernel, inputs, query, key, direction, spacing):
    """Norms of the first and second derivative of the features along a direction, by central differences."""
    centre, up, down = (
        features(kernel, inputs, query + t * direction[0], key + t * direction[1]) for t in (0, spacing, -spacing)
    )
    return np.linalg.norm(up - down) / (2 * spacing), np.linalg.norm(up - 2 * centre + down) / spacing**2


@pytest.mark.parametrize("trained", [("query",), ("key",), ("query", "key")], ids="+".join)
@kernels
def test_no_difference_of_features_exceeds_the_kernel_constants(kernel, trained):
    rng = np.random.default_rng(0)
    worst = np.zeros(2)
    for _ in range(40):
        inputs, query, key = drawn(rng)
        where = where_of(inputs, query, key, trained)
        bounds = np.asarray(kernel_bounds(kernel, where, jnp.asarray(0.0)))
        for _ in range(5):
            direction = [rng.normal(size=query.shape) * (name in trained) for name in ("query", "key")]
            direction = [d / np.sqrt(sum(np.sum(e**2) for e in direction)) for d in direction]
            found = np.asarray(derivatives(kernel, inputs, query, key, direction, 1e-4))
            rounding = np.asarray([1e-11, 1e-6]) * (1 + np.abs(inputs).max() ** 3)
            assert np.all(found <= bounds * (1 + 1e-5) + rounding)
            worst = np.maximum(worst, found / np.maximum(bounds, 1e-3))
    assert worst[0] > 0.15


@kernels
def test_the_constants_hold_for_all_weights_of_the_ball(kernel):
    """The constants are of the centre and the radius; the derivative is taken elsewhere in the ball."""
    rng = np.random.default_rng(1)
    for _ in range(40):
        inputs, query, key = drawn(rng)
        radius = 10 ** rng.uniform(-1, 0.5)
        bounds = np.asarray(kernel_bounds(kernel, where_of(inputs, query, key, ("query", "key")), jnp.asarray(radius)))
        move, direction = rng.normal(size=(2, 2, *query.shape))
        move, direction = radius * move / np.linalg.norm(move), direction / np.linalg.norm(direction)
        found = derivatives(kernel, inputs, query + move[0], key + move[1], direction, 1e-4)
        assert np.all(found <= bounds * (1 + 1e-5) + 1e-6 * (1 + np.abs(inputs).max() ** 3))


@pytest.mark.parametrize("moving", [1, 2])
def test_equal_tokens_attain_the_gaussian_constants(moving):
    r"""$C_1$ at $\|q - k\| = 1/\sqrt{2c}$, $C_2$ at $q = k$, both along the line of q - k."""
    c, kernel = 0.5, Gaussian(0.5)
    token = np.asarray([1.0, 0.0, 0.0, 0.0])
    inputs = np.tile(1.3 * token, (2, 3, 1))
    axis = np.outer(token, [1.0, 0.0])
    direction = [axis / np.sqrt(moving), -axis / np.sqrt(moving) * (moving == 2)]
    trained = ("query", "key")[:moving]
    for order, distance in ((0, 1 / np.sqrt(2 * c)), (1, 0.0)):
        query, key = distance / 1.3 * axis, 0.0 * axis
        bounds = kernel_bounds(kernel, where_of(inputs, query, key, trained), jnp.asarray(0.0))
        found = derivatives(kernel, inputs, query, key, direction, 1e-4)
        assert 0.99 * bounds[order] < found[order] <= bounds[order] * (1 + 1e-6)


def curvature(s, u):
    """|E (u - E u)^3| over probabilities s: the second derivative of softmax along u, u and u."""
    return abs(s @ (u - s @ u) ** 3)


def test_the_softmax_curvature_is_attained_by_two_tokens_and_never_exceeded():
    top = (1 + 1 / np.sqrt(3)) / 2
    two = curvature(np.asarray([top, 1 - top]), np.asarray([1.0, -1.0]) / np.sqrt(2))
    assert two == pytest.approx(SOFTMAX_CURVATURE, rel=1e-12)
    jacobian = jax.jacfwd(jax.jacfwd(jax.nn.softmax))(jnp.log(jnp.asarray([top, 1 - top])))
    direction = np.asarray([1.0, -1.0]) / np.sqrt(2)
    assert np.linalg.norm(jacobian @ direction @ direction) == pytest.approx(SOFTMAX_CURVATURE, rel=1e-12)
    rng = np.random.default_rng(2)
    for size in (2, 3, 4, 7):
        for _ in range(500):
            s = rng.dirichlet(np.full(size, 10 ** rng.uniform(-1.5, 1)))
            u, w = rng.normal(size=(2, size))
            u, w = u / np.linalg.norm(u), w / np.linalg.norm(w)
            second = (np.diag(s) - np.outer(s, s)) @ ((u - s @ u) * (w - s @ w))
            assert np.linalg.norm(second) <= SOFTMAX_CURVATURE * (1 + 1e-12)


@pytest.fixture(scope="module")
def jacobians():
    """By kernel, the start of all four blocks and their Jacobian as one program; the oracles hold it against loops."""
    found = {}
    with jax.enable_x64(True):
        for kernel in BOUNDED:
            objective, params = problem(kernel, naive.BLOCKS)
            found[kernel] = (params, jax.jit(jax.jacrev(objective.residual)))
    return found


@pytest.mark.parametrize("trained", SUBSETS, ids="+".join)
@kernels
def test_no_difference_quotient_of_the_jacobian_exceeds_its_lipschitz_bound(kernel, trained, jacobians):
    start, jacobian = jacobians[kernel]
    where = norms(*problem(kernel, trained))
    rng = np.random.default_rng(3)
    for radius in (0.02, 0.3, 2.0):
        bound = float(attention_lipschitz(kernel, where, jnp.asarray(radius)))
        for _ in range(3):
            found, points = [], []
            for _ in range(2):
                move = [rng.normal(size=getattr(start, name).shape) for name in trained]
                size = radius * rng.uniform() / np.sqrt(sum(np.sum(m**2) for m in move))
                blocks = [getattr(start, name) + size * m for name, m in zip(trained, move, strict=True)]
                there = eqx.tree_at(lambda p: [getattr(p, name) for name in trained], start, blocks)
                columns = jacobian(there)
                found.append(np.concatenate([np.reshape(getattr(columns, name), (6, -1)) for name in trained], axis=1))
                points.append(np.concatenate([np.ravel(block) for block in blocks]))
            change = np.linalg.norm(found[0] - found[1], 2)
            assert change <= bound * np.linalg.norm(points[0] - points[1]) * (1 + 1e-9) + 1e-12


def test_the_jacobian_of_a_linear_model_is_constant():
    for trained in (("value",), ("output",)):
        where = norms(*problem(Softmax(), trained))
        assert attention_lipschitz(Softmax(), where, jnp.asarray(1.0)) == 0


@pytest.mark.parametrize("kernel", [ReLU(), NormalizedGaussian()], ids=lambda kernel: type(kernel).__name__)
def test_no_bound_is_claimed_where_none_is_proved(kernel):
    where = norms(*problem(kernel, ("query", "value")))
    assert kernel_bounds(kernel, where, jnp.asarray(1.0)) is None
    assert attention_lipschitz(kernel, where, jnp.asarray(1.0)) is None


@pytest.mark.parametrize("half", [1e-9, 1.0, 1e7])
def test_the_radius_solves_its_equation_from_below(half):
    def slope(radius):
        return 3.0 + 0.5 * radius + radius**2

    radius = largest_radius(slope, jnp.asarray(half))
    assert slope(radius) * radius <= half
    assert slope(radius) * radius == pytest.approx(half, rel=1e-11)
    assert slope(radius * (1 + 1e-11)) * radius * (1 + 1e-11) > half


def test_a_radius_below_the_range_is_none():
    """The smallest radius tried, e^-70, is too large already: a larger one would certify what is not so."""
    assert largest_radius(lambda radius: 1e60 * jnp.ones_like(radius), jnp.asarray(1.0)) == 0


def test_without_curvature_the_radius_is_as_good_as_infinite():
    assert largest_radius(lambda radius: 0.0 * radius, jnp.asarray(1.0)) > 1e29


def test_weights_of_examples_are_refused():
    objective, params = started(SMALL)
    weighted = objective.on(objective.examples._replace(weights=jnp.ones(2)))
    with pytest.raises(ValueError, match="these bounds are for examples that all count the same, got weights"):
        norms(weighted, params)

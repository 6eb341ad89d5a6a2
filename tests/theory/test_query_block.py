"""The entrywise product against J J^T, its bound, and that beta bounds every change of J."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab._describe import replace_at
from descentlab.attention import Gaussian, NoScaling, Power, ReLU, Softmax
from descentlab.models import MeanPool
from descentlab.theory.certificate import Certified
from descentlab.theory.query_block import QueryBlock
from descentlab.theory.query_gram import query_gram, token_bound
from support.problems import SMALL, in_numpy, point_of, started
from support.quantities import by_quantity
from support.query_block import Layer

pytestmark = pytest.mark.usefixtures("float64")

KERNELS = [Softmax(0.5), Gaussian(0.7), Softmax(scaling=Power(1.5)), Gaussian(scaling=NoScaling())]
kernels = pytest.mark.parametrize("kernel", KERNELS, ids=str)
FAST = functools.partial(eqx.filter_jit, compiler_options={"xla_backend_optimization_level": 0})
BASE = dataclasses.replace(SMALL, trained=("query",))
PROBE = Certified(certificate=QueryBlock())


def problem(kernel, **changes):
    """Two samples of three tokens, eight numbers a token, so that D >= Nn = 6."""
    experiment = replace_at(replace_at(BASE, "model.attention", kernel), "task.dim", 8)
    for path, value in changes.items():
        experiment = replace_at(experiment, path.replace("__", "."), value)
    return experiment


def constants(experiment, seed=0):
    values = FAST(PROBE)(point_of(experiment, seed))
    return by_quantity(PROBE, np.asarray(values).tolist())


@pytest.mark.parametrize(("heads", "output_dim"), [(1, 1), (3, 3)])
@kernels
def test_the_entrywise_product_is_that_of_the_jacobian(kernel, heads, output_dim):
    objective, params = started(problem(kernel, model__heads=heads, model__output_dim=output_dim))
    gram, jacobian = FAST(lambda o, p: (query_gram(o, p), o.jacobian(p)))(objective, params)
    exact = np.asarray(jacobian) @ np.asarray(jacobian).T
    assert np.abs(gram - exact).max() <= 1e-12 * np.abs(exact).max()


@pytest.mark.parametrize("kernel", [Softmax(0.5), Gaussian(0.7)], ids=str)
def test_the_hessian_is_the_one_of_the_page(kernel):
    """And that of the page is what differences of its gradient say."""
    experiment = problem(kernel, model__heads=2, model__output_dim=2)
    inputs, targets, blocks = in_numpy(experiment)
    query = blocks.pop("query")
    known = {"temperature": kernel.temperature} if isinstance(kernel, Softmax) else {"c": kernel.c}
    layer = Layer(inputs, targets, **blocks, **known)
    derived = layer.hessian(query)
    objective, params = started(experiment)

    def loss(moved):
        return objective.loss(eqx.tree_at(lambda tree: tree.query, params, moved))

    found = np.asarray(FAST(jax.hessian(loss))(params.query)).reshape(derived.shape)
    np.testing.assert_allclose(found, derived, rtol=0, atol=1e-13 * np.abs(derived).max() * len(derived))
    step, units = 1e-5, np.eye(query.size).reshape(-1, *query.shape)
    quotients = [(layer.gradient(query + step * u) - layer.gradient(query - step * u)) / (2 * step) for u in units]
    np.testing.assert_allclose(quotients, derived, rtol=0, atol=1e-7 * np.abs(derived).max())


@pytest.mark.parametrize("output_dim", [1, 2])
@pytest.mark.parametrize("kernel", [Softmax(0.5), Gaussian(0.7)], ids=str)
def test_the_bound_lies_below_the_smallest_eigenvalue_and_above_zero(kernel, output_dim):
    for seed in range(3):
        experiment = problem(kernel, model__output_dim=output_dim)
        found = constants(experiment, seed)
        objective, params = started(experiment, seed)
        jacobian = np.asarray(objective.jacobian(params))
        smallest = np.linalg.eigvalsh(jacobian @ jacobian.T)[0]
        assert found["smallest"] == pytest.approx(smallest, rel=1e-7)
        assert 0 < found["bound"] <= smallest
        assert found["bound"] == pytest.approx((found["tokens"] * found["weakest"]) ** 2 / 2)


def test_orthonormal_tokens_attain_the_bound():
    """With X X^T = I the product is block diagonal, one block a token."""
    objective, params = started(problem(Softmax()))
    tokens = jnp.linalg.qr(objective.inputs.reshape(6, 8).T)[0].T
    objective = objective.on(objective.examples._replace(inputs=tokens.reshape(2, 3, 8)))
    sigma, gamma = token_bound(objective, params)
    jacobian = objective.jacobian(params)
    assert sigma == pytest.approx(1.0)
    assert jnp.linalg.svd(jacobian, compute_uv=False)[-1] == pytest.approx(float(gamma) / np.sqrt(2), rel=1e-10)


def test_with_fewer_numbers_a_token_than_tokens_the_bound_is_zero_and_heads_may_still_help():
    found = constants(replace_at(problem(Softmax()), "task.dim", 4))
    assert found["tokens"] == found["bound"] == 0
    assert found["smallest"] > 0


@kernels
def test_no_pair_of_points_changes_the_jacobian_faster_than_beta(kernel):
    objective, params = started(problem(kernel))
    beta, worst = constants(problem(kernel))["beta"], 0.0
    jacobian = FAST(lambda query: objective.jacobian(eqx.tree_at(lambda tree: tree.query, params, query)))
    for seed, distance in enumerate((1e-3, 1e-2, 0.1, 1.0, 10.0) * 8):
        first, second = jax.random.normal(jax.random.key(seed), (2, *params.query.shape))
        at = params.query + first
        other = at + distance * second
        change = np.linalg.norm(jacobian(other) - jacobian(at), 2) / (distance * float(jnp.linalg.norm(second)))
        worst = max(worst, change / beta)
    assert 0.02 < worst <= 1


@pytest.mark.parametrize("kernel", [Softmax(), Gaussian(0.7)], ids=str)
def test_the_ratio_and_the_step_are_those_of_the_statement(kernel):
    found = constants(problem(kernel))
    sigma, largest = np.sqrt(found["smallest"]), np.sqrt(found["largest"])
    assert found["ratio"] == pytest.approx(2 * found["beta"] * found["residual"] / sigma**2, rel=1e-9)
    kept = sigma * np.sqrt(max(1 - found["ratio"], 0.0))
    assert found["kept"] == pytest.approx(kept, rel=1e-9)
    assert found["reach"] == pytest.approx(2 * found["residual"] / (sigma + kept), rel=1e-9)
    longest = largest + found["beta"] * found["reach"]
    assert found["step"] == pytest.approx(1 / (longest**2 + found["beta"] * found["residual"] / 2), rel=1e-9)


def test_equal_keys_leave_nothing_to_softmax_and_something_to_the_gaussian_kernel():
    assert constants(problem(Softmax(), **{"model.key.scale": 0.0}))["ratio"] == np.inf
    assert constants(problem(Gaussian(0.7), **{"model.key.scale": 0.0}))["bound"] > 0


@pytest.mark.parametrize(
    "experiment",
    [
        problem(ReLU()),
        dataclasses.replace(problem(Softmax()), trained=("query", "key")),
        problem(Softmax(), model__readout=MeanPool()),
    ],
    ids=["kernel without a formula", "more than the query block", "one target a sample"],
)
def test_where_it_does_not_apply_there_are_no_constants(experiment):
    found = constants(experiment)
    assert np.isfinite(found.pop("residual"))
    assert np.isnan(list(found.values())).all()

"""The closed form against automatic differentiation, Kronecker products, differences, and what theory says of it."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab._describe import replace_at
from descentlab.attention import Gaussian, Linear, NormalizedGaussian, NoScaling, Power, ReLU, Softmax
from descentlab.curvature import Functional, GaussNewton
from descentlab.models.initializers import Normal
from descentlab.theory import attention_hessian as closed
from descentlab.theory.attention_hessian import BLOCKS, Head, attention_hessian, joined, merged
from descentlab.theory.attention_moments import Link, link, moments, z1, z2
from support import kronecker, naive
from support.problems import SMALL, started

pytestmark = pytest.mark.usefixtures("float64")

FAST = functools.partial(eqx.filter_jit, compiler_options={"xla_backend_optimization_level": 0})
PRODUCTS = [Softmax(), Softmax(2.0), Linear()]
SCALED = [Softmax(0.8, scaling=NoScaling()), Linear(scaling=Power(0.2)), Gaussian(scaling=Power(1.0))]
KERNELS = [*PRODUCTS, Gaussian(), Gaussian(0.3), NormalizedGaussian(0.3), *SCALED]
SHAPES = [(3, 4, 2), (5, 3, 4), (2, 5, 1)]
kernels = pytest.mark.parametrize("kernel", KERNELS, ids=str)
PAIRS = [(one, other) for one in BLOCKS for other in BLOCKS]
SCORES = [("query", "query"), ("query", "key"), ("key", "key")]

hessian = FAST(attention_hessian)


def drawn(seed=0, tokens=3, dim=4, width=2):
    """The random instances of the paper's checks: all entries standard normal."""
    normal = np.random.default_rng(seed).normal
    shapes = ((tokens, dim), (dim, width), (dim, width), (dim, dim), (tokens, dim))
    *head, targets = (jnp.asarray(normal(size=shape)) for shape in shapes)
    return Head(*head), targets


def outputs(kernel, head):
    return kernel.weights(head.inputs @ head.query, head.inputs @ head.key) @ head.inputs @ head.value


@FAST
def by_autodiff(kernel, head, targets):
    """H_o, H_f and H by block: the Jacobian's product, the Hessian of outputs times the residual, that of the loss."""
    weights = {name: getattr(head, name) for name in BLOCKS}

    def of(weights):
        return outputs(kernel, head._replace(**weights))

    residual = of(weights) - targets
    jacobian = {name: slope.reshape(targets.size, -1) for name, slope in jax.jacfwd(of)(weights).items()}
    outer = {(a, b): jacobian[a].T @ jacobian[b] for a, b in PAIRS}

    def blocks(nested):
        return {(a, b): nested[a][b].reshape(weights[a].size, -1) for a, b in PAIRS}

    functional = jax.hessian(lambda w: jnp.sum(residual * of(w)))(weights)
    whole = jax.hessian(lambda w: 0.5 * jnp.sum((of(w) - targets) ** 2))(weights)
    return outer, blocks(functional), blocks(whole)


def difference(found, expected):
    """The largest difference of a block, relative to the larger of both; where both are zero it is zero."""
    worst = 0.0
    for pair in PAIRS:
        one, other = np.asarray(found[pair]), np.asarray(expected[pair])
        size = max(np.linalg.norm(one), np.linalg.norm(other))
        worst = max(worst, np.linalg.norm(one - other) / size if size else 0.0)
    return worst


def spectrum(matrix):
    return np.linalg.eigvalsh(np.asarray(matrix))


def smallest(matrix):
    """The smallest eigenvalue relative to the largest in size."""
    found = spectrum(matrix)
    return found[0] / np.abs(found).max()


# --- the theorem ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@kernels
def test_all_blocks_of_both_parts_are_those_of_automatic_differentiation(kernel, shape):
    for seed in range(3):
        head, targets = drawn(seed, *shape)
        found = hessian(kernel, head, targets)
        outer, functional, whole = by_autodiff(kernel, head, targets)
        assert difference(found.outer, outer) < 1e-12
        assert difference(found.functional, functional) < 1e-12
        assert difference(found.whole, whole) < 1e-12
        assert not np.any(found.functional["value", "value"])


def test_a_wrong_sign_in_the_third_moment_is_seen(monkeypatch):
    def turned(attention, weights):
        first, second = link(attention, weights)
        return Link(first, -second)

    monkeypatch.setattr(closed, "link", turned)
    head, targets = drawn()
    found = attention_hessian(Softmax(), head, targets)
    outer, functional, _ = by_autodiff(Softmax(), head, targets)
    assert difference(found.outer, outer) < 1e-12
    assert difference(found.functional, functional) > 0.1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kernel", PRODUCTS, ids=str)
def test_it_is_the_theorem_with_kronecker_products(kernel, shape):
    head, targets = drawn(0, *shape)
    arrays, linear = [np.asarray(array) for array in head], isinstance(kernel, Linear)
    inputs, query, key, _ = arrays
    tau = 1.0 if linear else kernel.temperature
    weights = naive.linear(inputs @ query, inputs @ key) if linear else None
    weights = naive.softmax(inputs @ query, inputs @ key, temperature=tau) if weights is None else weights
    slopes = kronecker.linear_slopes(weights) if linear else kronecker.softmax_slopes(weights)
    scale = 1 / (tau * np.sqrt(query.shape[1]))
    outer, functional = kronecker.product_blocks(arrays, np.asarray(targets), weights, slopes, scale)
    found = hessian(kernel, head, targets)
    assert difference(found.outer, outer) < 1e-12
    assert difference(found.functional, functional) < 1e-12
    of, exact = moments(kernel, jnp.asarray(weights), head.inputs), kronecker.factors(inputs, slopes)
    for one, other in zip((z1(head.inputs, of), z2(head.inputs, of)), exact, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13 * max(1.0, np.abs(other).max()))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_gaussian_kernel_has_the_blocks_of_its_page(shape):
    head, targets = drawn(0, *shape)
    arrays, c = [np.asarray(array) for array in head], 0.3
    weights = naive.gaussian(arrays[0] @ arrays[1], arrays[0] @ arrays[2], c=c)
    slopes = kronecker.gaussian_slopes(weights)
    outer, functional = kronecker.gaussian_blocks(arrays, np.asarray(targets), weights, slopes, c)
    found = hessian(Gaussian(c), head, targets)
    assert difference(found.outer, outer) < 1e-12
    assert difference(found.functional, functional) < 1e-12


@pytest.mark.parametrize("kernel", [Softmax(), Linear(), Softmax(scaling=Power(0.3))], ids=str)
def test_one_matrix_for_query_and_key(kernel):
    head, targets = drawn()
    one = merged(head.inputs, head.query @ head.key.T, head.value, scaling=kernel.scaling)
    inputs = np.asarray(head.inputs)
    scores = inputs @ np.asarray(head.query @ head.key.T) @ inputs.T
    rows = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights = scores if isinstance(kernel, Linear) else rows / rows.sum(axis=1, keepdims=True)
    slopes = kronecker.linear_slopes(weights) if isinstance(kernel, Linear) else kronecker.softmax_slopes(weights)
    arrays = [np.asarray(array) for array in head]
    outer, functional = kronecker.merged_blocks(arrays, np.asarray(targets), weights, slopes)
    found, own = hessian(kernel, one, targets), ("query", "query")
    np.testing.assert_allclose(found.outer[own], outer, atol=1e-12 * np.abs(outer).max())
    np.testing.assert_allclose(found.functional[own], functional, atol=1e-12 * np.abs(outer).max())
    assert not np.any(found.scores[own])
    assert smallest(found.outer[own]) >= -1e-12


def test_one_matrix_has_negative_curvature_from_softmax_alone():
    least = {Softmax(): [], Linear(): []}
    for seed in range(5):
        head, targets = drawn(seed)
        one = merged(head.inputs, head.query @ head.key.T, head.value)
        for kernel, found in least.items():
            found.append(smallest(hessian(kernel, one, targets).whole["query", "query"]))
    assert max(least[Softmax()]) < -1e-3
    assert min(least[Linear()]) >= -1e-12


@kernels
def test_second_differences_of_the_loss_are_the_block_of_query_and_key(kernel):
    head, targets = drawn(2)
    block, step = hessian(kernel, head, targets).whole["query", "key"], 1e-4

    @FAST
    def loss(query, key):
        return 0.5 * jnp.sum((outputs(kernel, head._replace(query=query, key=key)) - targets) ** 2)

    for row, column in [(0, 0), (3, 5), (6, 1)]:
        u, w = (jnp.zeros(8).at[at].set(step).reshape(4, 2) for at in (row, column))
        corners = [loss(head.query + a * u, head.key + b * w) * a * b for a in (1, -1) for b in (1, -1)]
        np.testing.assert_allclose(sum(corners) / (4 * step**2), block[row, column], atol=1e-5 * jnp.abs(block).max())


@pytest.mark.parametrize("kernel", [Softmax(0.5), Linear(), Gaussian(0.3)], ids=str)
def test_the_mean_over_examples_is_the_curvature_of_the_packages_objective(kernel):
    """One head whose output block is the identity: blocks, rows and the factor of the loss are those of training."""
    experiment = SMALL
    changes = {"model.attention": kernel, "model.heads": 1, "model.head_dim": 2, "model.output_dim": 2}
    for path, value in (changes | {"model.output": Normal(1.0)}).items():
        experiment = replace_at(experiment, path, value)
    objective, params = started(replace_at(experiment, "trained", BLOCKS))
    frozen = eqx.tree_at(lambda model: model.output, objective.frozen, jnp.eye(2)[None])
    objective = eqx.tree_at(lambda one: one.frozen, objective, frozen)
    outer, functional = (joined_mean(kernel, objective, params, part) for part in ("outer", "functional"))
    for found, operator in ((outer, GaussNewton), (functional, Functional)):
        exact = operator(objective, params).dense()
        assert np.abs(found - exact).max() < 1e-12 * np.abs(exact).max()


def joined_mean(kernel, objective, params, part):
    found = [
        joined(getattr(hessian(kernel, Head(x, params.query[0], params.key[0], params.value[0]), y), part))
        for x, y in zip(objective.inputs, objective.targets, strict=True)
    ]
    return sum(found) / len(found)


# --- moments -------------------------------------------------------------------------------------------


@kernels
def test_the_link_has_the_derivatives_of_the_weights_in_the_scores(kernel):
    """Scores are moved one by one: as products of queries with keys that are the unit vectors."""
    product = isinstance(kernel, Softmax | Linear)
    rows = {Softmax: jax.nn.softmax, NormalizedGaussian: jax.nn.softmax, Linear: lambda t: t, Gaussian: jnp.exp}
    scores = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4))) - (0 if product else 2)
    row = rows[type(kernel)]
    first, second = link(kernel, row(scores))
    np.testing.assert_allclose(first[0], jax.jacfwd(row)(scores[0]), atol=1e-14)
    np.testing.assert_allclose(second[0], jax.jacfwd(jax.jacfwd(row))(scores[0]), atol=1e-14)


def test_moments_of_softmax_are_central_and_those_of_the_gaussian_kernel_raw():
    head, _ = drawn(1, 5)
    inputs = np.asarray(head.inputs)
    for kernel, centred in ((Softmax(), True), (NormalizedGaussian(), True), (Gaussian(), False)):
        weights = np.asarray(kernel.weights(inputs @ head.query, inputs @ head.key))
        found = moments(kernel, jnp.asarray(weights), head.inputs)
        np.testing.assert_allclose(found.first, weights @ inputs)
        for i, row in enumerate(weights):
            tokens = inputs - row @ inputs if centred else inputs
            np.testing.assert_allclose(found.second[i], np.einsum("j,ja,jb->ab", row, tokens, tokens), atol=1e-13)
            third = np.einsum("j,ja,jb,jc->abc", row, tokens, tokens, tokens)
            np.testing.assert_allclose(found.third[i], third, atol=1e-13)


def test_moments_of_linear_attention_are_those_of_all_tokens():
    head, _ = drawn(1, 5)
    found = moments(Linear(), Linear().weights(head.inputs @ head.query, head.inputs @ head.key), head.inputs)
    for second in found.second:
        np.testing.assert_allclose(second, head.inputs.T @ head.inputs, rtol=1e-13)
    assert not np.any(found.third)


def test_one_hot_attention_leaves_nothing_but_the_value_block():
    head, targets = drawn()
    head = head._replace(query=1e6 * head.query)
    weights = Softmax().weights(head.inputs @ head.query, head.inputs @ head.key)
    assert set(np.unique(weights)) == {0.0, 1.0}
    found = moments(Softmax(), weights, head.inputs)
    assert not np.any(found.second)
    assert not np.any(found.third)
    whole = hessian(Softmax(), head, targets).whole
    assert all(np.any(block) == (pair == ("value", "value")) for pair, block in whole.items())


def test_nearly_one_hot_attention_keeps_its_digits():
    """The smallest weight of a row decides M_2; 1 - s would have rounded to zero."""
    weights, inputs = jnp.asarray([[1.0, 1e-30]]), jnp.asarray([[0.0], [2.0]])
    np.testing.assert_allclose(moments(Softmax(), weights, inputs).second, 4e-30, rtol=1e-12)


def test_uniform_attention_has_the_covariance_of_the_tokens_in_every_row():
    head, _ = drawn(3, 6)
    weights = Softmax().weights(0 * head.inputs @ head.query, head.inputs @ head.key)
    found = moments(Softmax(), weights, head.inputs)
    expected = np.cov(np.asarray(head.inputs).T, bias=True)
    for second in found.second:
        np.testing.assert_allclose(second, expected, atol=1e-14)


# --- signs ---------------------------------------------------------------------------------------------


@kernels
def test_the_outer_product_part_is_positive_semidefinite(kernel):
    for seed in range(5):
        assert smallest(joined(hessian(kernel, *drawn(seed)).outer)) >= -1e-12


def test_softmax_bends_the_query_block_downwards_and_linear_attention_no_diagonal_block():
    for seed in range(10):
        head, targets = drawn(seed)
        assert smallest(hessian(Softmax(), head, targets).whole["query", "query"]) < -1e-3
        linear = hessian(Linear(), head, targets)
        for name in BLOCKS:
            assert smallest(linear.whole[name, name]) >= -1e-12
            assert not np.any(linear.functional[name, name])


@pytest.mark.parametrize("kernel", PRODUCTS, ids=str)
def test_scores_of_a_product_bend_only_between_query_and_key(kernel):
    head, targets = drawn()
    found = hessian(kernel, head, targets)
    gradient = _score_gradient(kernel, head, targets)
    root = np.sqrt(2) * getattr(kernel, "temperature", 1.0)
    expected = np.kron(head.inputs.T @ gradient @ head.inputs, np.eye(2)) / root
    between = {("query", "key"), ("key", "query")}
    np.testing.assert_allclose(found.scores["query", "key"], expected, atol=1e-13 * np.abs(expected).max())
    assert {pair for pair, block in found.scores.items() if np.any(block)} == between
    pairs = spectrum(joined(found.scores, ("query", "key")))
    np.testing.assert_allclose(pairs, -pairs[::-1], atol=1e-13 * pairs[-1])
    assert pairs[-1] > 0


def _score_gradient(kernel, head, targets):
    """df/dT by automatic differentiation: softmax and linear attention as functions of their scores."""
    root = np.sqrt(head.query.shape[1]) * getattr(kernel, "temperature", 1.0)
    scores = head.inputs @ head.query @ (head.inputs @ head.key).T / root
    row = (lambda t: t) if isinstance(kernel, Linear) else jax.nn.softmax
    return jax.grad(lambda t: 0.5 * jnp.sum((row(t) @ head.inputs @ head.value - targets) ** 2))(scores)


def test_scores_of_a_distance_bend_every_block_by_what_outputs_lack():
    """In the query block by F (F - Y), token by token; in all of them with one sign where no output is too large."""
    head, targets = drawn()
    c, kernel = 0.3, Gaussian(0.3)
    at = outputs(kernel, head)
    excess = jnp.sum(at * (at - targets), axis=1)
    expected = -2 * c * np.kron(head.inputs.T @ jnp.diag(excess) @ head.inputs, np.eye(2))
    found = hessian(kernel, head, targets).scores
    np.testing.assert_allclose(found["query", "query"], expected, atol=1e-12 * np.abs(expected).max())
    assert all(np.any(found[pair]) for pair in SCORES)

    positive = head._replace(inputs=jnp.abs(head.inputs), value=jnp.abs(head.value))
    at = outputs(kernel, positive)
    for targets, sign in ((at + 1, 1.0), (at - 1, -1.0)):
        part = joined(hessian(kernel, positive, targets).scores, ("query", "key"))
        assert smallest(sign * part) >= -1e-12


def test_where_the_gaussian_kernel_sees_one_token_each_its_curvature_stays():
    """At the peak S = I the first derivative vanishes, and H is that of the scores."""
    head, targets = drawn()
    whole = jnp.round(10 * head.query)  # so that distances are exact
    head = head._replace(inputs=jnp.round(10 * head.inputs), query=whole, key=whole)
    c, own = 0.5, ("query", "query")
    assert np.array_equal(Gaussian(c).weights(head.inputs @ head.query, head.inputs @ head.key), np.eye(3))
    found = hessian(Gaussian(c), head, targets)
    values = head.inputs @ head.value
    lost = jnp.sum((values - targets) * values, axis=1)
    expected = -2 * c * np.kron(head.inputs.T @ jnp.diag(lost) @ head.inputs, np.eye(2))
    assert not np.any(found.outer[own])
    np.testing.assert_allclose(found.whole[own], expected, atol=1e-12 * np.abs(expected).max())


# --- orders --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.5, 3.0])
def test_powers_of_the_temperature_at_equal_attention(tau):
    """With the query block multiplied by the temperature, attention stays as it is."""
    head, targets = drawn()
    at_one = hessian(Softmax(), head, targets)
    warm = hessian(Softmax(tau), head._replace(query=tau * head.query), targets)
    powers = {("value", "value"): 0, ("value", "query"): 1, ("query", "query"): 2}
    for part in ("outer", "weights", "value"):
        for pair, power in powers.items():
            one, other = getattr(at_one, part)[pair], getattr(warm, part)[pair]
            np.testing.assert_allclose(other, one * tau**-power, atol=1e-12 * float(jnp.abs(one).max()))
    product = ("query", "key")
    np.testing.assert_allclose(warm.scores[product], at_one.scores[product] / tau, rtol=1e-10)


ORDERS = {
    Softmax(): {"outer": (2, 4, 4, 6, 6, 6), "functional": (None, 3, 3, 5, 5, 3)},
    Linear(): {"outer": (6, 6, 6, 6, 6, 6), "functional": (None, 3, 3, None, None, 3)},
    Gaussian(): {"outer": (2, 4, 4, 6, 6, 6), "functional": (None, 3, 3, 3, 3, 3)},
    NormalizedGaussian(): {"outer": (2, 4, 4, 6, 6, 6), "functional": (None, 3, 3, 5, 3, 3)},
}
TABLE = [("value", "value"), ("value", "query"), ("value", "key"), ("query", "query"), ("key", "key"), ("query", "key")]


@pytest.mark.parametrize(("kernel", "orders"), ORDERS.items(), ids=[str(kernel) for kernel in ORDERS])
def test_orders_in_the_scale_of_the_data(kernel, orders):
    """With targets that stay, and with targets zero, where the residual is F and of order 1, or 3 if linear."""
    residual = 3 if isinstance(kernel, Linear) else 1
    for seed in range(3):
        head, targets = drawn(seed, 6, 4, 2)
        for part, expected in orders.items():
            for factor, more in ((1.0, 0), (0.0, residual if part == "functional" else 0)):
                norms = [_norms(kernel, head, factor * targets, part, scale) for scale in (1e-5, 1e-4)]
                for pair, order in zip(TABLE, expected, strict=True):
                    low, high = (one[pair] for one in norms)
                    if order is None:
                        assert low == high == 0
                    else:
                        assert np.log10(high / low) == pytest.approx(order + more, abs=0.05)


def _norms(kernel, head, targets, part, scale):
    found = getattr(hessian(kernel, head._replace(inputs=scale * head.inputs), targets), part)
    return {pair: float(np.linalg.norm(block)) for pair, block in found.items()}


def test_a_kernel_without_derivatives_is_refused():
    head, targets = drawn()
    with pytest.raises(TypeError, match="no link is known for ReLU"):
        attention_hessian(ReLU(), head, targets)

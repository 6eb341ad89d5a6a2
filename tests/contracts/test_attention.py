"""What holds for every attention kernel."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.attention import AbstractAttention
from support import members, naive

pytestmark = pytest.mark.usefixtures("float64")
each = pytest.mark.parametrize("kernel", members.examples(AbstractAttention), ids=members.name)

RANDOM = np.random.default_rng(0)
QUERY, KEY, VALUE = (RANDOM.normal(size=shape) for shape in ((3, 2), (4, 2), (4, 3)))
MASK = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]], dtype=bool)
MASKED = jnp.asarray(MASK)
COTANGENT = RANDOM.normal(size=(3, 3))


def gradients(kernel, mask):
    """The gradient of <COTANGENT, S V> in query, key and value."""
    total = lambda q, k, v: jnp.sum(COTANGENT * kernel(q, k, v, mask))  # noqa: E731
    return eqx.filter_jit(jax.grad(total, argnums=(0, 1, 2)))(*map(jnp.asarray, (QUERY, KEY, VALUE)))


def naive_total(kernel, mask):
    weights = naive.WEIGHTS[type(kernel)](kernel)
    return lambda q, k, v: sum(COTANGENT[i] @ (weights(q, k, mask) @ v)[i] for i in range(3))


@each
@pytest.mark.parametrize("mask", [None, MASKED], ids=["all", "masked"])
def test_weights_and_output_are_those_of_the_loops(kernel, mask):
    expected = naive.WEIGHTS[type(kernel)](kernel)(QUERY, KEY, mask)
    np.testing.assert_allclose(kernel.weights(*map(jnp.asarray, (QUERY, KEY)), mask), expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(
        kernel(*map(jnp.asarray, (QUERY, KEY, VALUE)), mask), expected @ VALUE, rtol=1e-13, atol=1e-14
    )


@each
@pytest.mark.parametrize("mask", [None, MASKED], ids=["all", "masked"])
def test_gradients_are_those_of_the_loops(kernel, mask):
    total = naive_total(kernel, mask)
    found = gradients(kernel, mask)
    expected = (
        naive.difference_quotient(lambda q: total(q, KEY, VALUE), QUERY),
        naive.difference_quotient(lambda k: total(QUERY, k, VALUE), KEY),
        naive.difference_quotient(lambda v: total(QUERY, KEY, v), VALUE),
    )
    for name, one, other in zip(("query", "key", "value"), found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-10, err_msg=name)
        assert np.abs(other).max() > 1e-3, "a gradient that vanishes tests nothing"


@each
def test_masked_entries_are_zero_and_what_lies_behind_them_does_not_matter(kernel):
    query, key = jnp.asarray(QUERY), jnp.asarray(KEY)
    weights = kernel.weights(query, key, MASKED)
    assert np.all(np.asarray(weights)[~MASK] == 0)
    assert np.all(kernel(query, key, jnp.asarray(VALUE), MASKED)[1] == 0)
    elsewhere = key.at[1].set(17.0)
    np.testing.assert_array_equal(kernel.weights(query, elsewhere, MASKED), weights)
    for gradient in gradients(kernel, MASKED):
        assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(gradients(kernel, MASKED)[0][1], 0)
    np.testing.assert_array_equal(gradients(kernel, MASKED)[1][1], 0)


@each
def test_large_logits_stay_finite(kernel):
    query, key = 1e3 * jnp.asarray(QUERY), 1e3 * jnp.asarray(KEY)
    assert np.all(np.isfinite(kernel.weights(query, key, MASKED)))
    one_row = jax.jit(jax.grad(lambda q: jnp.sum(kernel.weights(q, key, MASKED)[0] ** 2)))(query)
    assert np.all(np.isfinite(one_row))


@each
def test_the_hessian_is_the_difference_quotient_of_the_gradient(kernel):
    sizes = (QUERY.size, KEY.size)

    def total(flat):
        query, key = flat[: sizes[0]].reshape(3, 2), flat[sizes[0] : sum(sizes)].reshape(4, 2)
        return jnp.sum(COTANGENT * kernel(query, key, flat[sum(sizes) :].reshape(4, 3), MASKED))

    flat = np.concatenate([QUERY.ravel(), KEY.ravel(), VALUE.ravel()])
    hessian = jax.jit(jax.hessian(total))(flat)
    gradient = jax.jit(jax.grad(total))
    np.testing.assert_allclose(hessian, naive.difference_quotient(gradient, flat), rtol=0, atol=1e-9)
    assert np.abs(hessian).max() > 1e-2


@each
def test_permuting_keys_permutes_columns(kernel):
    order = np.array([2, 0, 3, 1])
    query, key, value = map(jnp.asarray, (QUERY, KEY, VALUE))
    weights = kernel.weights(query, key, MASKED)
    permuted = kernel.weights(query, key[order], MASKED[:, order])
    if kernel.sees_places:
        assert not np.allclose(permuted, weights[:, order], rtol=1e-4)
        return
    np.testing.assert_allclose(permuted, weights[:, order], rtol=1e-14, atol=0)
    np.testing.assert_allclose(
        kernel(query, key[order], value[order], MASKED[:, order]), kernel(query, key, value, MASKED), rtol=0, atol=1e-14
    )


@each
def test_mapping_over_heads_is_a_loop_over_heads(kernel):
    query, key, value = (jnp.asarray(np.stack([x, -0.5 * x, x[::-1]])) for x in (QUERY, KEY, VALUE))
    mapped = jax.vmap(kernel, in_axes=(0, 0, 0, None))(query, key, value, MASKED)
    for h in range(3):
        np.testing.assert_allclose(mapped[h], kernel(query[h], key[h], value[h], MASKED), rtol=0, atol=1e-14)


@each
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_data_type_is_kept(kernel, dtype):
    query, key, value = (jnp.asarray(x, dtype) for x in (QUERY, KEY, VALUE))
    for mask in (None, MASKED):
        assert kernel.weights(query, key, mask).dtype == dtype
        assert kernel(query, key, value, mask).dtype == dtype


@each
def test_floats_of_a_kernel_may_be_traced(kernel):
    floats, rest = eqx.partition(kernel, lambda leaf: isinstance(leaf, float))
    lanes = jax.tree.map(lambda leaf: jnp.asarray([leaf, 2 * leaf]), floats)

    def weights(floats, query):
        return eqx.combine(floats, rest).weights(query, jnp.asarray(KEY))

    mapped = eqx.filter_vmap(weights, in_axes=(0, None), axis_size=2)(lanes, jnp.asarray(QUERY))
    doubled = eqx.combine(jax.tree.map(lambda leaf: 2 * leaf, floats), rest)
    for lane, one in enumerate((kernel, doubled)):
        np.testing.assert_allclose(mapped[lane], naive.WEIGHTS[type(one)](one)(QUERY, KEY), rtol=1e-13, atol=1e-15)


def perturbed(kernel, change):
    """The weights before and after a change of queries and keys."""
    given = jnp.asarray(QUERY), jnp.asarray(KEY)
    return np.asarray(kernel.weights(*given)), np.asarray(kernel.weights(*change(*given)))


TURN = np.linalg.qr(RANDOM.normal(size=(2, 2)))[0]
SHEAR = np.array([[1.0, 0.7], [0.0, 1.0]])


def found_facts(kernel):
    """What a few changes say of a kernel: a property that it has must survive them."""
    same = lambda change: np.allclose(*perturbed(kernel, change), rtol=1e-12, atol=1e-14)  # noqa: E731
    weights = np.asarray(kernel.weights(jnp.asarray(QUERY), jnp.asarray(KEY)))
    other = np.asarray(kernel.weights(jnp.asarray(QUERY).at[1:].multiply(3.0), jnp.asarray(KEY)))
    shifted = same(lambda q, k: (q, k + jnp.array([0.3, -0.8])))
    # Along this path every product of the first row changes sign once, at 0.
    row = lambda t: kernel.weights(t * jnp.asarray(QUERY[:1]), jnp.asarray(KEY)).sum()  # noqa: E731
    sides = [jax.grad(row)(t) for t in (-1e-9, 1e-9)]
    products = same(lambda q, k: (q @ SHEAR, k @ np.linalg.inv(SHEAR).T))
    distances = same(lambda q, k: (q @ TURN + 0.4, k @ TURN + 0.4))
    ratio = (weights[0, 0] / weights[0, 1]) / np.divide(*exponential_pair(kernel))
    return {
        "row_by_row": np.allclose(other[0], weights[0], rtol=1e-14),
        "rows_sum_to_one": np.allclose(weights.sum(axis=1), 1, rtol=1e-14),
        "positive": bool((weights > 0).all()),
        "smooth": abs(sides[1] - sides[0]) < 1e-6,
        "products_only": products,
        "distances_only": distances,
        "softmax_rows": (shifted or distances) and abs(ratio - 1) < 1e-12,
    }


def exponential_pair(kernel):
    """The first two weights of the first row where the other keys are masked: rows of softmax keep their ratio."""
    mask = jnp.asarray(np.arange(4)[None] < 2)
    pair = np.asarray(kernel.weights(jnp.asarray(QUERY), jnp.asarray(KEY), mask))[0, :2]
    return pair if np.isclose(pair.sum(), 1, rtol=1e-14) else (np.nan, 1.0)


@each
def test_a_kernel_states_the_facts_that_it_has_and_no_other(kernel):
    assert dataclasses.asdict(kernel.facts) == found_facts(kernel)

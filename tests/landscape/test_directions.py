"""Random directions, and the scaling symmetry of query and key."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab._tree import named, with_named
from descentlab.attention import Gaussian, Softmax
from descentlab.landscape import balanced, off_scaling, random_direction
from support.problems import SMALL, started

pytestmark = pytest.mark.usefixtures("float64")


class Biased(eqx.Module):
    """Blocks of a layer with biases, one of them zero, and a LayerNorm's scale."""

    query: jax.Array
    query_bias: jax.Array
    key: jax.Array
    key_bias: jax.Array
    scale: jax.Array

    def loss(self):
        tokens = jnp.linspace(-1, 1, 20).reshape(5, 4) * self.scale
        queries, keys = ((jnp.einsum("td,hde->hte", tokens, w) + b[:, None]) for w, b in self.pairs())
        return jnp.sum(jax.nn.softmax(jnp.einsum("hte,hse->hts", queries, keys)) ** 3)

    def pairs(self):
        return (self.query, self.query_bias), (self.key, self.key_bias)


def biased():
    keys = jax.random.split(jax.random.key(5), 4)
    draw = [jax.random.normal(k, s) for k, s in zip(keys, [(2, 4, 3), (2, 3), (2, 4, 3), (4,)], strict=True)]
    return Biased(draw[0], draw[1], draw[2], jnp.zeros((2, 3)), draw[3])


def rescaled(params, factors):
    """Every head of the query times a factor, of the key divided by it, biases too."""
    arrays = dict(named(params))
    for name in arrays:
        if name.startswith(("query", "key")):
            power = np.asarray(factors) ** (1 if name.startswith("query") else -1)
            arrays[name] = arrays[name] * power.reshape(-1, *(1,) * (arrays[name].ndim - 1))
    return with_named(params, arrays)


def layer(kernel):
    return started(dataclasses.replace(SMALL, model=dataclasses.replace(SMALL.model, attention=kernel)))


def moved(params, direction, by):
    return jax.tree.map(lambda x, d: x + by * d, params, direction)


def assert_same(one, other):
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)


def test_every_matrix_of_every_head_has_the_norm_of_the_weights_and_zero_stays_zero():
    at = biased()
    found = random_direction(at, key=jax.random.key(1))
    for name in ("query", "key"):
        norms = [np.linalg.norm(getattr(tree, name), axis=(1, 2)) for tree in (found, at)]
        np.testing.assert_allclose(*norms, rtol=1e-12)
    np.testing.assert_allclose(*(np.linalg.norm(t.query_bias, axis=1) for t in (found, at)), rtol=1e-12)
    np.testing.assert_allclose(*(np.linalg.norm(t.scale) for t in (found, at)), rtol=1e-12)
    assert not np.any(found.key_bias)
    assert np.all(np.isfinite(found.query))


def test_the_draw_has_entries_of_both_signs_and_of_mean_zero():
    ones = {"w": jnp.ones((200, 200))}
    entries = np.asarray(random_direction(ones, key=jax.random.key(0))["w"])
    assert abs(entries.mean()) < 5 / 200
    np.testing.assert_allclose(np.mean(entries > 0), 0.5, atol=5 * 0.5 / 200)


def test_the_same_key_draws_the_same_for_both_kernels_and_another_key_does_not():
    (_, one), (_, other) = layer(Softmax()), layer(Gaussian())
    same = random_direction(one, key=jax.random.key(3))
    assert_same(same, random_direction(other, key=jax.random.key(3)))
    assert np.any(random_direction(one, key=jax.random.key(4)).query != same.query)


def test_the_draw_of_a_block_does_not_depend_on_what_else_is_trained():
    _, every = started(SMALL)
    _, query = started(dataclasses.replace(SMALL, trained=("query",)))
    key = jax.random.key(3)
    np.testing.assert_array_equal(random_direction(every, key=key).query, random_direction(query, key=key).query)


def test_softmax_has_the_symmetry_and_the_gaussian_kernel_has_not():
    for kernel, same in ((Softmax(), True), (Gaussian(), False)):
        objective, params = layer(kernel)
        gap = abs(objective.loss(rescaled(params, [3.0, 0.2])) / objective.loss(params) - 1)
        assert (gap < 1e-12) == same, kernel


@pytest.mark.parametrize("by", [0.3, -0.9])
def test_a_random_direction_sees_the_same_loss_from_every_representative(by):
    at = biased()
    there = rescaled(at, [3.0, 0.2])
    losses = [moved(p, random_direction(p, key=jax.random.key(1)), by).loss() for p in (at, there)]
    assert abs(losses[0] - at.loss()) > 1e-3
    np.testing.assert_allclose(*losses, rtol=1e-12)


def test_balanced_is_one_representative_of_all_and_leaves_the_loss():
    at = biased()
    found = balanced(at)
    np.testing.assert_allclose(*(np.linalg.norm(w, axis=(1, 2)) for w in (found.query, found.key)), rtol=1e-12)
    np.testing.assert_allclose(found.loss(), at.loss(), rtol=1e-12)
    assert_same(found, balanced(rescaled(at, [3.0, 0.2])))
    zero = eqx.tree_at(lambda tree: tree.key, at, jnp.zeros((2, 4, 3)))
    assert_same(balanced(zero), zero)


def test_off_scaling_removes_the_tangent_and_nothing_else():
    at = biased()
    arrays = {name: jnp.zeros_like(array) for name, array in named(at).items()}
    tangent = with_named(at, arrays | {"query": at.query, "query_bias": at.query_bias, "key": -at.key})
    assert_same(off_scaling(tangent, at), with_named(at, arrays))
    direction = random_direction(at, key=jax.random.key(1))
    once = off_scaling(direction, at)
    assert np.linalg.norm(once.query - direction.query) > 1e-3
    assert_same(off_scaling(once, at), once)
    mixed = jax.tree.map(lambda d, t: d + 0.7 * t, direction, tangent)
    assert_same(off_scaling(mixed, at), once)
    there = rescaled(at, [3.0, 0.2])
    assert_same(off_scaling(rescaled(direction, [3.0, 0.2]), there), rescaled(once, [3.0, 0.2]))


@pytest.mark.parametrize("function", [balanced, lambda params: off_scaling(params, params)])
def test_where_one_block_is_fixed_there_is_no_symmetry(function):
    _, params = started(dataclasses.replace(SMALL, trained=("query", "value")))
    with pytest.raises(ValueError, match=r"key is not there \(they have query, value\)"):
        function(params)

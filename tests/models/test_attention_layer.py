"""The layer against loops over heads, tokens and samples."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.attention import Gaussian, NoScaling, Softmax
from descentlab.experiment import check
from descentlab.given import Given
from descentlab.models import (
    AttentionLayer,
    Fixed,
    MeanPool,
    MultiHeadAttention,
    Normal,
    Orthogonal,
    PerToken,
    Signs,
    SumPool,
    Zero,
)
from descentlab.probes import feature_matrix
from support import naive
from support.problems import LAYER, SMALL, in_numpy, started

pytestmark = pytest.mark.usefixtures("float64")
INPUTS = np.random.default_rng(2).normal(size=(2, 3, 4))
START = Given("query", np.random.default_rng(3).normal(size=(2, 4, 2)))


@pytest.mark.parametrize("kernel", [Softmax(), Gaussian(0.4)], ids=["softmax", "gaussian"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("readout", [PerToken(), MeanPool(), SumPool()], ids=["token", "mean", "sum"])
@pytest.mark.parametrize("value_dim", [None, 5])
def test_outputs_are_those_of_the_loops(kernel, residual, readout, value_dim):
    layer = AttentionLayer(
        kernel,
        heads=2,
        head_dim=3,
        value_dim=value_dim,
        output_dim=4 if residual else 2,
        readout=readout,
        residual=residual,
        key=Orthogonal(1.5),
        value=Normal(0.3),
    )
    model = layer.init(jnp.asarray(INPUTS[0]), key=jax.random.key(4))
    params = {name: np.asarray(getattr(model, name)) for name in naive.BLOCKS}
    weights = naive.WEIGHTS[type(kernel)](kernel)
    pool = not isinstance(readout, PerToken)
    expected = naive.outputs(INPUTS, params, weights, residual=residual, pool=pool)
    expected = expected * INPUTS.shape[1] if isinstance(readout, SumPool) else expected
    assert model.value.shape == (2, 4, value_dim or 3)
    np.testing.assert_allclose(jax.vmap(model)(jnp.asarray(INPUTS)), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("readout", [PerToken(), MeanPool()], ids=["token", "pool"])
def test_outputs_are_linear_in_the_features(readout):
    layer = dataclasses.replace(LAYER, output_dim=2, readout=readout)
    objective, params = started(dataclasses.replace(SMALL, model=layer))
    model = objective.model(params)
    rows = np.sqrt(2) * feature_matrix(objective, params)
    product = sum(rows[:, 4 * h : 4 * h + 4] @ model.value[h] @ model.output[h] for h in range(2))
    outputs = jax.vmap(model)(objective.inputs)
    np.testing.assert_allclose(product, outputs.reshape(-1, 2), rtol=0, atol=1e-13)


def test_neurons_with_fixed_signs_are_an_output_block():
    """Two value matrices of five neurons, the mean over the first less that over the second, summed over queries."""
    layer = AttentionLayer(Softmax(scaling=NoScaling()), 1, 3, 10, output=Signs(), readout=SumPool())
    model = layer.init(jnp.asarray(INPUTS[0]), key=jax.random.key(1))
    for tokens in INPUTS:
        products = (tokens @ model.query[0]) @ (tokens @ model.key[0]).T
        weights = np.exp(products) / np.exp(products).sum(axis=1, keepdims=True)
        neurons = weights @ tokens @ np.asarray(model.value[0])
        wanted = (neurons[:, :5].mean(axis=1) - neurons[:, 5:].mean(axis=1)).sum()
        np.testing.assert_allclose(model(jnp.asarray(tokens)), [wanted], rtol=1e-12)


def test_a_mask_hides_tokens_from_the_layer():
    model = LAYER.init(jnp.asarray(INPUTS[0]), key=jax.random.key(0))
    mask = jnp.asarray(np.array([[1, 1, 0]] * 3, dtype=bool))
    one = jnp.asarray(INPUTS[0])
    other = one.at[2].add(1.0)
    np.testing.assert_array_equal(model(one, mask)[:2], model(other, mask)[:2])
    assert np.all(model.weights(one, mask)[:, :, 2] == 0)
    features = np.asarray(model.features(one, mask)).reshape(3, 2, 4)
    np.testing.assert_allclose(features.transpose(1, 0, 2), model.weights(one, mask) @ INPUTS[0], atol=1e-14)


def test_every_block_starts_as_its_definition_says():
    layer = dataclasses.replace(LAYER, query=Fixed(START), key=Zero(), value=Orthogonal(2.0), output=Normal(3.0))
    model = layer.init(jnp.asarray(INPUTS[0]), key=jax.random.key(0))
    assert isinstance(model, MultiHeadAttention)
    np.testing.assert_array_equal(model.query, START.value)
    assert not np.any(model.key)
    np.testing.assert_allclose(np.linalg.svd(model.value, compute_uv=False), 2, rtol=1e-13)
    assert model.output.shape == (2, 2, 1)


def test_blocks_have_independent_draws_that_do_not_depend_on_each_other():
    model = LAYER.init(jnp.asarray(INPUTS[0]), key=jax.random.key(0))
    changed = dataclasses.replace(LAYER, key=Zero()).init(jnp.asarray(INPUTS[0]), key=jax.random.key(0))
    assert not np.array_equal(model.query, model.key)
    np.testing.assert_array_equal(model.query, changed.query)
    np.testing.assert_array_equal(model.value, changed.value)


def test_heads_divide_the_width_where_no_head_width_is_given():
    model = AttentionLayer(heads=2).init(jnp.ones((3, 6)), key=jax.random.key(0))
    assert model.query.shape == (2, 6, 3)
    with pytest.raises(ValueError, match=r"heads=4 and dim=6; choose another number of heads"):
        AttentionLayer(heads=4).init(jnp.ones((3, 6)), key=jax.random.key(0))


@pytest.mark.parametrize("field", ["heads", "head_dim", "value_dim", "output_dim"])
@pytest.mark.parametrize("size", [0, -2])
def test_sizes_are_above_zero(field, size):
    with pytest.raises(ValueError, match=f"AttentionLayer.{field} must be"):
        AttentionLayer(**{field: size})


def test_what_does_not_fit_is_said_before_anything_is_compiled():
    residual = dataclasses.replace(LAYER, residual=True)
    with pytest.raises(ValueError, match="output_dim equal to the token width 4, got 1"):
        check(dataclasses.replace(SMALL, model=residual))
    fixed = dataclasses.replace(LAYER, query=Fixed(Given("w", np.ones((2, 4, 3)))))
    with pytest.raises(ValueError, match=r"\(2, 4, 2\), got \(2, 4, 3\)"):
        check(dataclasses.replace(SMALL, model=fixed))


def test_numbers_of_the_start_are_read_off_in_tree_order():
    _, _, arrays = in_numpy(SMALL)
    assert tuple(arrays) == naive.BLOCKS

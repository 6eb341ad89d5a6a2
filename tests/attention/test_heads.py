"""Kernels with a number a head, in models of several heads."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab._tree import block_names
from descentlab.attention import ALiBi, Gaussian, HeadGaussian, in_chunks, over_heads
from descentlab.models import AttentionLayer, EachToken, NoPositions, Transformer
from descentlab.training import train
from support import naive
from support.problems import SMALL

pytestmark = pytest.mark.usefixtures("float64")
INPUTS = np.random.default_rng(5).normal(size=(6, 4))


def made(kernel, heads=2):
    return AttentionLayer(kernel, heads=heads, head_dim=3).init(jnp.asarray(INPUTS), key=jax.random.key(0))


def projected(model):
    return [np.einsum("id,hde->hie", INPUTS, getattr(model, name)) for name in ("query", "key")]


@pytest.mark.parametrize("learned", [False, True])
def test_every_head_has_its_slope(learned):
    model = made(ALiBi(learned), heads=4)
    found = model.weights(jnp.asarray(INPUTS))
    for h, (query, key) in enumerate(zip(*projected(model), strict=True)):
        np.testing.assert_allclose(found[h], naive.alibi(query, key, slope=2.0 ** (-2 * (h + 1))), rtol=1e-12)


@pytest.mark.parametrize("learned", [False, True])
def test_every_head_has_its_width(learned):
    model = made(HeadGaussian((0.5, 3.0), learned))
    found = model.weights(jnp.asarray(INPUTS))
    for h, (query, key) in enumerate(zip(*projected(model), strict=True)):
        c = (0.5, 3.0)[h] / (2 * np.sqrt(3))
        np.testing.assert_allclose(found[h], Gaussian(c).weights(jnp.asarray(query), jnp.asarray(key)), rtol=1e-12)


@pytest.mark.parametrize("kind", [ALiBi, HeadGaussian])
def test_numbers_are_a_block_where_they_are_trained(kind):
    assert "per_head" not in block_names(made(kind()))
    assert "per_head" in block_names(made(kind(learned=True)))
    layer = AttentionLayer(kind(learned=True), heads=2, head_dim=2)
    run = train(dataclasses.replace(SMALL, model=layer, trained=("per_head",)), 1)
    assert np.all(np.diff(run["loss"].values[0]) < 0)


@pytest.mark.parametrize("kernel", [ALiBi(), HeadGaussian((0.5, 3.0))], ids=str)
def test_queries_a_few_at_a_time_keep_their_places(kernel):
    model = made(kernel)
    query, key, value = (jnp.asarray(np.random.default_rng(6).normal(size=(6, 2, 3))) for _ in range(3))
    whole, parted = (
        over_heads(model.attention, lambda one, *of, c=chunk: in_chunks(one, c)(*of, None), query, key, value)
        for chunk in (None, 4)
    )
    np.testing.assert_allclose(parted, whole, rtol=1e-12)


def test_a_decoder_with_biases_by_distance_needs_no_positions():
    tokens = jnp.asarray([3, 1, 4, 1, 2])
    wide = Transformer(ALiBi(), 4, 1, 2, causal=True, positions=NoPositions(), readout=EachToken(2))
    model = wide.init(tokens, key=jax.random.key(0))
    parted = dataclasses.replace(wide, chunk=2).init(tokens, key=jax.random.key(0))
    np.testing.assert_allclose(parted(tokens), model(tokens), rtol=1e-12)
    assert model.weights(tokens).shape == (1, 2, 5, 5)


def test_a_factor_a_head_is_asked_for():
    with pytest.raises(ValueError, match="a factor a head, got 3 for 2 heads"):
        made(HeadGaussian((0.5, 1.0, 2.0)))
    with pytest.raises(ValueError, match="factors must be finite numbers above 0, got -1.0"):
        HeadGaussian((-1.0,))

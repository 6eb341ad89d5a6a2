"""The Transformer against loops in NumPy, and what padding, order and chunks must not change."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab._tree import block_names, blocks, select
from descentlab.attention import Gaussian, Softmax
from descentlab.models import (
    Classify,
    ClassToken,
    EachToken,
    Identity,
    NoNorm,
    NoPositions,
    Normal,
    PostNorm,
    PreNorm,
    Rectifier,
    RMSNorm,
    SinusoidalPositions,
    Transformer,
)
from descentlab.models.encoder import Connections
from support import naive
from support.rounding import rounding

pytestmark = pytest.mark.usefixtures("float64")

TOKENS = np.array([3, 1, 4, 1, 2, 0, 0])
SMALL = Transformer(
    Gaussian(0.3),
    width=4,
    heads=2,
    head_dim=3,
    hidden=5,
    vocabulary=6,
    activation=Rectifier(),
    embedding=Normal(1.0),
    readout=EachToken(2),
)


def made(architecture, example=TOKENS, seed=0):
    """A model whose biases, scales and shifts are not at their start, where they would test nothing."""
    model = architecture.init(jnp.asarray(example), key=jax.random.key(seed))
    random = np.random.default_rng(seed)

    def moved(leaf):
        return leaf + 0.3 * random.normal(size=leaf.shape)

    params, rest = select(model, block_names(model))
    return eqx.combine(jax.tree.map(moved, params), rest)


def normalised(tokens, norm):
    if norm is None:
        return tokens
    if not hasattr(norm, "shift"):
        return np.asarray(norm.scale) * np.array([t / np.sqrt(np.mean(t**2) + 1e-5) for t in tokens])
    rows = [(t - t.mean()) / np.sqrt(t.var() + 1e-5) for t in tokens]
    return np.asarray(norm.scale) * np.array(rows) + np.asarray(norm.shift)


def attended(layer, kernel, tokens, mask):
    weights = naive.WEIGHTS[type(kernel)](kernel)
    total = np.asarray(layer.output_bias) + np.zeros_like(tokens)
    for h in range(layer.query.shape[0]):
        q, k, v = (
            tokens @ np.asarray(getattr(layer, n))[h] + np.asarray(getattr(layer, f"{n}_bias"))[h]
            for n in ("query", "key", "value")
        )
        total = total + weights(q, k, mask) @ v @ np.asarray(layer.output)[h]
    return total


def wave(place, entry, width):
    angle = place / 10000 ** (2 * (entry // 2) / width)
    return math.cos(angle) if entry % 2 else math.sin(angle)


def by_hand(architecture, model, example):
    """Pre-norm, post-norm or none, with ReLU and a read-out for each token, or of a class token."""
    tokens = np.asarray(model.embed)[example]
    if model.class_token is not None:
        tokens, example = np.concatenate([model.class_token, tokens]), [1, *example]
    time = len(example)
    if isinstance(architecture.positions, SinusoidalPositions):
        tokens = tokens + [[wave(t, i, architecture.width) for i in range(architecture.width)] for t in range(time)]
    if model.position is not None:
        tokens = tokens + np.asarray(model.position)
    mask = np.array(
        [[example[j] > 0 and (j <= i or not architecture.causal) for j in range(time)] for i in range(time)]
    )
    pre, post = (isinstance(architecture.norm, kind) for kind in (PreNorm, PostNorm))
    for layer in model.layers:

        def fed(x, layer=layer):
            hidden = np.maximum(0, x @ np.asarray(layer.fed.up) + np.asarray(layer.fed.up_bias))
            return hidden @ np.asarray(layer.fed.down) + np.asarray(layer.fed.down_bias)

        def attend(x, layer=layer):
            return attended(layer, architecture.attention, x, mask)

        for branch, norm, skip in ((attend, layer.norm, architecture.skip), (fed, layer.fed.norm, 1.0)):
            tokens = skip * tokens + branch(normalised(tokens, norm) if pre else tokens)
            tokens = normalised(tokens, norm) if post else tokens
    tokens = normalised(tokens, model.norm)
    tokens = tokens if model.class_token is None else tokens[0]
    return tokens @ np.asarray(model.readout.unembed) + np.asarray(model.readout.unembed_bias)


@pytest.mark.parametrize("kernel", [Softmax(), Gaussian(0.3)], ids=["softmax", "gaussian"])
@pytest.mark.parametrize("norm", [NoNorm(), PreNorm(), PostNorm()], ids=["none", "pre", "post"])
@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
def test_it_is_the_loops_in_numpy(kernel, norm, causal):
    architecture = dataclasses.replace(SMALL, attention=kernel, norm=norm, causal=causal, skip=0.7)
    model = made(architecture)
    np.testing.assert_allclose(model(jnp.asarray(TOKENS)), by_hand(architecture, model, TOKENS), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"readout": ClassToken(3)},
        {"readout": ClassToken(3), "positions": NoPositions(), "chunk": 3},
        {"norm": PreNorm(RMSNorm()), "positions": SinusoidalPositions(), "causal": True},
        {"norm": PostNorm(RMSNorm()), "positions": SinusoidalPositions(), "readout": ClassToken(2)},
    ],
    ids=str,
)
def test_its_parts_go_together_as_in_numpy(changes):
    architecture = dataclasses.replace(SMALL, **changes)
    model = made(architecture)
    np.testing.assert_allclose(model(jnp.asarray(TOKENS)), by_hand(architecture, model, TOKENS), rtol=1e-11, atol=1e-12)
    time = len(TOKENS) + (model.class_token is not None)
    assert model.weights(jnp.asarray(TOKENS)).shape == (2, 2, time, time)


def test_a_class_token_is_a_block_and_no_token_of_a_decoder():
    model = SMALL.init(jnp.asarray(TOKENS), key=jax.random.key(0))
    told = dataclasses.replace(SMALL, readout=ClassToken(3)).init(jnp.asarray(TOKENS), key=jax.random.key(0))
    assert blocks(told)["class_token"][0].shape == (1, 4)
    np.testing.assert_array_equal(model.embed, told.embed)
    with pytest.raises(ValueError, match="a class token comes first and sees no other in a decoder"):
        dataclasses.replace(SMALL, causal=True, readout=ClassToken(3))


@pytest.mark.parametrize("kernel", [Softmax(), Gaussian(0.3)], ids=["softmax", "gaussian"])
def test_padding_changes_no_real_token_and_no_class(kernel):
    pooled = dataclasses.replace(SMALL, attention=kernel, readout=Classify(2, 3), positions=NoPositions())
    model = made(pooled)
    short = jnp.asarray(TOKENS[:5])
    np.testing.assert_allclose(model(jnp.asarray(TOKENS)), model(short), rtol=1e-12, atol=1e-13)
    assert np.abs(model(short) - model(short.at[0].set(5))).max() > 1e-3


def test_a_decoder_sees_no_later_token():
    model = made(dataclasses.replace(SMALL, causal=True))
    tokens = jnp.asarray(TOKENS[:5])
    one, other = model(tokens), model(tokens.at[3].set(5))
    np.testing.assert_allclose(one[:3], other[:3], rtol=1e-13)
    assert np.abs(one[3:] - other[3:]).min() > 1e-6


@pytest.mark.parametrize("kernel", [Softmax(), Gaussian(0.3)], ids=["softmax", "gaussian"])
@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("chunk", [1, 3, 16])
def test_chunks_change_neither_outputs_nor_gradients(kernel, causal, chunk):
    whole = dataclasses.replace(SMALL, attention=kernel, causal=causal)
    model = made(whole)
    parted = dataclasses.replace(model, chunk=chunk)
    leaves = jax.tree.leaves(select(model, block_names(model))[0])

    def total(leaves, model):
        params, rest = select(model, block_names(model))
        moved = eqx.combine(jax.tree.unflatten(jax.tree.structure(params), leaves), rest)
        return jnp.sum(jnp.sin(moved(jnp.asarray(TOKENS))))

    one, other = (jax.value_and_grad(total)(leaves, each) for each in (model, parted))
    np.testing.assert_allclose(one[0], other[0], rtol=1e-13)
    # Some gradients vanish, so that rounding is relative to what is summed: every token's share of the largest.
    size = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(one[1]))
    for a, b in zip(jax.tree.leaves(one[1]), jax.tree.leaves(other[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rounding(100 * TOKENS.size) * size)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(one[1])) > 1e-2


def test_attention_matrices_are_those_of_the_forward_pass():
    model = made(dataclasses.replace(SMALL, depth=1, hidden=None, norm=NoNorm(), skip=0.0, activation=Identity()))
    tokens = jnp.asarray(TOKENS)
    weights = model.weights(tokens)
    assert weights.shape == (1, 2, 7, 7)
    assert not np.any(weights[..., 5:])
    layer, seen = model.layers[0], model.embed[tokens] + model.position
    values = np.einsum("ld,hde->hle", seen, layer.value) + np.asarray(layer.value_bias)[:, None]
    mixed = np.einsum("hij,hjd,hde->ie", weights[0], values, layer.output) + np.asarray(layer.output_bias)
    expected = mixed @ np.asarray(model.readout.unembed) + np.asarray(model.readout.unembed_bias)
    np.testing.assert_allclose(model(tokens), expected, rtol=1e-12)


def test_dropout_keeps_the_mean_and_is_off_without_a_key():
    still = made(dataclasses.replace(SMALL, norm=NoNorm(), hidden=None, depth=1, attention=Gaussian(1e-9)))
    model = dataclasses.replace(still, connections=Connections(1.0, 0.25))
    tokens = jnp.asarray(TOKENS)
    np.testing.assert_array_equal(model(tokens), still(tokens))
    draws = jax.vmap(lambda key: model(tokens, key=key))(jax.random.split(jax.random.key(0), 4000))
    # With (nearly) constant attention weights the outputs are linear in what is dropped, so that means are kept.
    error = draws.std(axis=0) / np.sqrt(4000)
    assert np.all(error > 1e-3)
    assert np.abs((draws.mean(axis=0) - still(tokens)) / error).max() < 4.5


def test_blocks_are_named_and_their_sizes_are_those_of_the_reference_model():
    model = Transformer(head_dim=32, vocabulary=256).init(jnp.zeros(128, jnp.int16), key=jax.random.key(0))
    sizes = {name: sum(a.size for a in arrays) for name, arrays in blocks(model).items()}
    assert sizes["query"] == sizes["key"] == sizes["value"] == sizes["output"] == 2 * 64 * 64
    assert sizes["up"] == sizes["down"] == 2 * 64 * 128
    assert sizes["scale"] == sizes["shift"] == 5 * 64
    assert sizes["embed"] == 256 * 64
    assert sizes["position"] == 128 * 64


def test_real_tokens_are_mapped_to_the_width():
    patches = np.random.default_rng(0).normal(size=(3, 7))
    model = made(dataclasses.replace(SMALL, positions=NoPositions()), patches)
    assert model.embed.shape == (7, 4)
    assert model(jnp.asarray(patches)).shape == (3, 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 0}, "Transformer.width must be a finite number above 0, got 0"),
        ({"heads": 3, "head_dim": None}, "heads must divide the width, got heads=3 and width=4"),
        ({"dropout": 1.0}, "dropout must be below 1, got 1.0"),
        ({"chunk": -1}, "Transformer.chunk must be a finite number above 0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **fields)

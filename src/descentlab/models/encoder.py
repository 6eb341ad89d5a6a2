"""The trainable Transformer: layers of attention and feed-forward branches, and what is before and after them."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._definition import Definition
from descentlab._types import Array, Bool, Float, PRNGKeyArray
from descentlab.attention import AbstractAttention, Heads, in_chunks, over_heads
from descentlab.attention.base import product
from descentlab.models.activations import AbstractActivation
from descentlab.models.normalization import AbstractNormalization, Branch
from descentlab.models.positions import AbstractPositions

__all__ = ["Connections", "Encoder", "FeedForward", "TransformerLayer"]


def _dropped(numbers: Array, rate: Array | float | None, key: PRNGKeyArray | None) -> Array:
    """Entries set to zero with probability `rate`, the others scaled so that the mean stays."""
    if rate is None or key is None:
        return numbers
    return jnp.where(jax.random.bernoulli(key, 1 - rate, numbers.shape), numbers / (1 - rate), 0)


class TransformerLayer(eqx.Module):
    """One layer: attention, then the feed-forward branch.

    Attributes:
        query: and so on, one matrix and one bias a head.
        norm: of the attention branch.
        fed: the feed-forward branch, where there is one.
    """

    query: Float[Array, "heads width head"]
    query_bias: Float[Array, "heads head"]
    key: Float[Array, "heads width head"]
    key_bias: Float[Array, "heads head"]
    value: Float[Array, "heads width head"]
    value_bias: Float[Array, "heads head"]
    output: Float[Array, "heads head width"]
    output_bias: Float[Array, " width"]
    norm: Branch | None
    fed: "FeedForward | None"

    def projected(self, tokens: Float[Array, "time width"], name: str) -> Float[Array, "time heads head"]:
        """Queries, keys or values of every head, by the name of their block."""
        return jnp.tensordot(tokens, getattr(self, name), axes=((1,), (1,))) + getattr(self, f"{name}_bias")


class FeedForward(eqx.Module):
    """Two layers that see one token at a time.

    Attributes:
        up: the first, `down` the second.
        norm: of the branch.
    """

    up: Float[Array, "width hidden"]
    up_bias: Float[Array, " hidden"]
    down: Float[Array, "hidden width"]
    down_bias: Float[Array, " width"]
    norm: Branch | None


def _weights(allowed: Array | None, kernel: AbstractAttention | Heads, query: Array, key: Array) -> Array:
    return kernel.weights(query, key, allowed)


def _mixed(
    allowed: Array | None, chunk: int | None, kernel: AbstractAttention | Heads, query: Array, key: Array, value: Array
) -> Array:
    return in_chunks(kernel, chunk)(query, key, value, allowed)


class Connections(Definition):
    """How the branches of all layers meet the stream of tokens.

    Args:
        skip: factor of the skip connection around attention.
        dropout: share of entries set to zero in training; `None` draws nothing.
    """

    skip: Array | float
    dropout: Array | float | None


class Encoder(eqx.Module):
    """The trainable model; see `Transformer` for what its fields mean.

    Attributes:
        embed: one vector a token number, or the matrix that maps real tokens to width.
        class_token: the vector that is put before the tokens for the read-out; `None` where that asks for none.
        position: one vector a place; `None` where none are trained.
        layers: first to last.
        norm: before the read-out.
        readout: from tokens to outputs.
    """

    embed: Float[Array, "vocabulary width"]
    class_token: Float[Array, "1 width"] | None
    position: Float[Array, "time width"] | None
    layers: tuple[TransformerLayer, ...]
    norm: Branch | None
    readout: eqx.Module
    attention: AbstractAttention | Heads
    normalization: AbstractNormalization
    positions: AbstractPositions
    activation: AbstractActivation
    connections: Connections
    causal: bool = eqx.field(static=True)
    chunk: int | None = eqx.field(static=True)

    def __call__(self, example: Array, *, key: PRNGKeyArray | None = None) -> Float[Array, "..."]:
        """The outputs for one sequence of tokens.

        Args:
            example: token numbers, 0 for padding, or real tokens.
            key: of dropout; nothing is dropped without it.
        """
        mask = self._mask(example)
        keys = [None] * (len(self.layers) + 1) if key is None else jax.random.split(key, len(self.layers) + 1)
        tokens = _dropped(self._embedded(example), self.connections.dropout, keys[0])
        for layer, layer_key in zip(self.layers, keys[1:], strict=True):
            tokens = self._through(layer, tokens, mask, layer_key)
        return self.readout(tokens if self.norm is None else self.norm(tokens), mask)  # type: ignore[operator]

    def weights(self, example: Array) -> Float[Array, "layers heads time time"]:
        """The attention matrix of every layer and head; a class token is the first one."""
        mask = self._mask(example)
        tokens, found = self._embedded(example), []
        for layer in self.layers:
            seen = self.normalization.before(layer.norm, tokens)
            queries, keys = layer.projected(seen, "query"), layer.projected(seen, "key")
            allowed = self._allowed(mask, tokens.shape[0])
            seen_by = functools.partial(_weights, allowed)
            found.append(over_heads(self.attention, seen_by, queries, keys))
            tokens = self._through(layer, tokens, mask, None)
        return jnp.stack(found)

    def _embedded(self, example: Array) -> Float[Array, "time width"]:
        tokens = self.embed[example] if jnp.issubdtype(example.dtype, jnp.integer) else example @ self.embed
        if self.class_token is not None:
            tokens = jnp.concatenate([self.class_token, tokens])
        return self.positions(tokens, self.position)

    def _mask(self, example: Array) -> Bool[Array, " time"] | None:
        """Which tokens are real, that of the class too; all of them where tokens are vectors."""
        if not jnp.issubdtype(example.dtype, jnp.integer):
            return None
        return example > 0 if self.class_token is None else jnp.pad(example > 0, (1, 0), constant_values=True)

    def _allowed(self, mask: Bool[Array, " time"] | None, time: int) -> Bool[Array, "#time time"] | None:
        """Which keys a query sees: real tokens, and in a decoder none that come later."""
        seen = None if mask is None else mask[None, :]
        if not self.causal:
            return seen
        earlier = jnp.tril(jnp.ones((time, time), dtype=bool))
        return earlier if seen is None else earlier & seen

    def _through(self, layer: TransformerLayer, tokens: Array, mask: Array | None, key: PRNGKeyArray | None) -> Array:
        """The tokens after one layer."""
        keys = (None, None) if key is None else jax.random.split(key)

        def attended(tokens: Array) -> Array:
            projected = [layer.projected(tokens, name) for name in ("query", "key", "value")]
            allowed = self._allowed(mask, tokens.shape[0])
            mixed = over_heads(self.attention, functools.partial(_mixed, allowed, self.chunk), *projected, out_axes=1)
            outputs = jnp.tensordot(mixed, layer.output, axes=2) + layer.output_bias
            return _dropped(outputs, self.connections.dropout, keys[0])

        tokens = self.normalization.join(layer.norm, tokens, attended, self.connections.skip)
        fed = layer.fed
        if fed is None:
            return tokens

        def passed(tokens: Array) -> Array:
            hidden = self.activation(product(tokens, fed.up) + fed.up_bias)
            return _dropped(product(hidden, fed.down) + fed.down_bias, self.connections.dropout, keys[1])

        return self.normalization.join(fed.norm, tokens, passed, 1.0)

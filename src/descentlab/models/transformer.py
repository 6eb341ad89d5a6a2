"""The Transformer: an encoder or decoder of any depth, with any attention kernel."""

from abc import abstractmethod
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import UNROLLED, at_most, not_negative, positive, real
from descentlab._definition import Definition
from descentlab._types import Array, Bool, Float, PRNGKeyArray
from descentlab.attention import AbstractAttention, Softmax, in_chunks
from descentlab.attention.base import product
from descentlab.cost import Transformer as Sizes
from descentlab.cost.model import Model
from descentlab.models.base import AbstractArchitecture
from descentlab.models.initializers import AbstractInit, FanIn, Normal
from descentlab.models.kernel_cost import kernel_cost
from descentlab.models.normalization import AbstractNormalization, LayerNorm, NoNorm, PreNorm
from descentlab.models.output_layer import AbstractOutputLayer, Classify

__all__ = ["AbstractActivation", "Encoder", "GELU", "Identity", "Rectifier", "Transformer", "TransformerLayer"]


class AbstractActivation(Definition):
    """The function between the two layers of a feed-forward branch, entry by entry."""

    @abstractmethod
    def __call__(self, numbers: Array) -> Array:
        """Its values."""


class GELU(AbstractActivation):
    r"""$x \Phi(x)$ with the normal distribution function, in its tanh form."""

    def __call__(self, numbers: Array) -> Array:
        """Its values."""
        return jax.nn.gelu(numbers)


class Rectifier(AbstractActivation):
    r"""$\max(0, x)$."""

    def __call__(self, numbers: Array) -> Array:
        """Its values."""
        return jax.nn.relu(numbers)


class Identity(AbstractActivation):
    """No nonlinearity."""

    def __call__(self, numbers: Array) -> Array:
        """The numbers."""
        return numbers


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
    norm: LayerNorm | None
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
    norm: LayerNorm | None


class Encoder(eqx.Module):
    """The trainable model; see `Transformer` for what its fields mean.

    Attributes:
        embed: one vector a token number, or the matrix that maps real tokens to width.
        position: one vector a place; `None` where places are not told apart.
        layers: first to last.
        norm: before the read-out.
        readout: from tokens to outputs.
    """

    embed: Float[Array, "vocabulary width"]
    position: Float[Array, "time width"] | None
    layers: tuple[TransformerLayer, ...]
    norm: LayerNorm | None
    readout: eqx.Module
    attention: AbstractAttention
    normalization: AbstractNormalization
    activation: AbstractActivation
    skip: Array | float
    dropout: Array | float | None
    causal: bool = eqx.field(static=True)
    chunk: int | None = eqx.field(static=True)

    def __call__(self, example: Array, *, key: PRNGKeyArray | None = None) -> Float[Array, "..."]:
        """The outputs for one sequence of tokens.

        Args:
            example: token numbers, 0 for padding, or real tokens.
            key: of dropout; nothing is dropped without it.
        """
        mask = _mask(example)
        keys = [None] * (len(self.layers) + 1) if key is None else jax.random.split(key, len(self.layers) + 1)
        tokens = _dropped(self._embedded(example), self.dropout, keys[0])
        for layer, layer_key in zip(self.layers, keys[1:], strict=True):
            tokens = self._through(layer, tokens, mask, layer_key)
        return self.readout(tokens if self.norm is None else self.norm(tokens), mask)  # type: ignore[operator]

    def weights(self, example: Array) -> Float[Array, "layers heads time time"]:
        """The attention matrix of every layer and head."""
        mask = _mask(example)
        tokens, found = self._embedded(example), []
        for layer in self.layers:
            seen = self.normalization.before(layer.norm, tokens)
            queries, keys = layer.projected(seen, "query"), layer.projected(seen, "key")
            allowed = self._allowed(mask, tokens.shape[0])
            each = jax.vmap(lambda q, k, allowed=allowed: self.attention.weights(q, k, allowed), in_axes=1)
            found.append(each(queries, keys))
            tokens = self._through(layer, tokens, mask, None)
        return jnp.stack(found)

    def _embedded(self, example: Array) -> Float[Array, "time width"]:
        tokens = self.embed[example] if jnp.issubdtype(example.dtype, jnp.integer) else example @ self.embed
        return tokens if self.position is None else tokens + self.position[: tokens.shape[0]]

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
            attend = in_chunks(self.attention, self.chunk)
            allowed = self._allowed(mask, tokens.shape[0])
            mixed = jax.vmap(lambda q, k, v: attend(q, k, v, allowed), in_axes=1, out_axes=1)(*projected)
            return _dropped(jnp.tensordot(mixed, layer.output, axes=2) + layer.output_bias, self.dropout, keys[0])

        tokens = self.normalization.join(layer.norm, tokens, attended, self.skip)
        fed = layer.fed
        if fed is None:
            return tokens

        def passed(tokens: Array) -> Array:
            hidden = self.activation(product(tokens, fed.up) + fed.up_bias)
            return _dropped(product(hidden, fed.down) + fed.down_bias, self.dropout, keys[1])

        return self.normalization.join(fed.norm, tokens, passed, 1.0)


def _mask(example: Array) -> Bool[Array, " time"] | None:
    """Which tokens are real; all of them where tokens are vectors."""
    return example > 0 if jnp.issubdtype(example.dtype, jnp.integer) else None


class Transformer(AbstractArchitecture):
    r"""An encoder, or with `causal` a decoder.

    Tokens are embedded, get a learned vector for their place, pass through `depth` layers of attention and feed-forward
    branches with skip connections, and are read out. Token number 0 is padding: no query sees it, and a pooled
    read-out leaves it out. Blocks are `embed position query key value output up down scale shift`, the biases
    `query_bias` and so on, and those of the read-out; the same block of all layers goes by one name.

    Args:
        attention: the kernel.
        width: numbers a token.
        depth: layers.
        heads: of a layer.
        head_dim: width of a head; `None` divides `width` evenly among the heads.
        hidden: width of the feed-forward branch; `None` leaves the branch out.
        causal: whether a token sees itself and earlier ones only.
        norm: where tokens are normalised.
        activation: of the feed-forward branch.
        vocabulary: token numbers are below this; not used where tokens are vectors.
        positions: whether places have learned vectors.
        skip: factor of the skip connection around attention (that around the feed-forward branch is 1).
        dropout: share of entries set to zero in training, after the embedding and at the end of each branch; `None`
            draws nothing.
        chunk: queries whose attention is computed at once, to bound memory; `None` takes all.
        readout: what is made of the last tokens.
        embedding: start of `embed` and `position`.
        query: start of the query block; `key` and `others` (the other matrices) likewise. Biases start at zero.

    Raises:
        ValueError: if a size is not above 0, `dropout` not in [0, 1), or heads do not divide the width.

    References:
        Vaswani et al. (2017), arXiv:1706.03762; pre-norm: Xiong et al. (2020), arXiv:2002.04745.
    """

    attention: AbstractAttention = Softmax()
    width: int = 64
    depth: int = 2
    heads: int = 2
    head_dim: int | None = None
    hidden: int | None = 128
    causal: bool = False
    norm: AbstractNormalization = PreNorm()
    activation: AbstractActivation = GELU()
    vocabulary: int = 257
    positions: bool = True
    skip: float = eqx.field(default=1.0, converter=real)
    dropout: float | None = eqx.field(default=None, converter=real)
    chunk: int | None = None
    readout: AbstractOutputLayer = Classify()
    embedding: AbstractInit = Normal(0.02)
    query: AbstractInit = FanIn()
    key: AbstractInit = FanIn()
    others: AbstractInit = FanIn()

    def __check_init__(self):
        for name in ("width", "depth", "heads", "head_dim", "hidden", "vocabulary", "chunk"):
            positive(self, name)
        at_most(self, "depth", UNROLLED, "every layer is compiled on its own")
        not_negative(self, "dropout")
        if isinstance(self.dropout, float) and self.dropout >= 1:
            raise ValueError(f"Transformer.dropout must be below 1, got {self.dropout}")
        if self.head_dim is None and self.width % self.heads:
            raise ValueError(
                f"heads must divide the width, got heads={self.heads} and width={self.width}; "
                "choose another number of heads, or give head_dim"
            )

    @property
    def stochastic(self) -> bool:
        """Whether training draws random numbers at every step."""
        return self.dropout is not None

    def cost_model(self, width: int | None) -> Model:
        """Its layers, of which a feed-forward branch counts as one with GELU; see the base class."""
        del width
        sizes = Sizes(
            self.depth, self.width, self.heads, self.hidden or 0,
            head_dim=self.head_dim,
            norm="none" if isinstance(self.norm, NoNorm) else "layer",
            kernel=kernel_cost(self.attention),
            causal=self.causal,
        )  # fmt: skip
        return replace(sizes.model, uncounted=("embedding, places and read-out",))

    def init(self, example: Array, *, key: PRNGKeyArray) -> Encoder:
        """The model at its start; see the base class."""
        time = example.shape[0]
        rows = self.vocabulary if jnp.issubdtype(example.dtype, jnp.integer) else example.shape[1]
        keys = jax.random.split(key, self.depth + 3)
        return Encoder(
            embed=self.embedding((rows, self.width), key=keys[0]),
            position=self.embedding((time, self.width), key=keys[1]) if self.positions else None,
            layers=tuple(self._layer(key=one) for one in keys[3:]),
            norm=self.norm.final(self.width),
            readout=self.readout.init(self.width, key=keys[2]),
            attention=self.attention,
            normalization=self.norm,
            activation=self.activation,
            skip=self.skip,
            dropout=self.dropout,
            causal=self.causal,
            chunk=self.chunk,
        )

    def _layer(self, *, key: PRNGKeyArray) -> TransformerLayer:
        """One layer at its start."""
        keys = jax.random.split(key, 5)
        head = self.width // self.heads if self.head_dim is None else self.head_dim
        into = (self.heads, self.width, head)
        heads = jnp.zeros((self.heads, head))
        # An output matrix takes in all heads at once, so that its fan-in is heads * head_dim.
        output = self.others((self.heads * head, self.width), key=keys[3]).reshape(self.heads, head, self.width)
        return TransformerLayer(
            query=self.query(into, key=keys[0]),
            query_bias=heads,
            key=self.key(into, key=keys[1]),
            key_bias=heads,
            value=self.others(into, key=keys[2]),
            value_bias=heads,
            output=output,
            output_bias=jnp.zeros(self.width),
            norm=self.norm.norm(self.width),
            fed=None if self.hidden is None else self._feed_forward(self.hidden, key=keys[4]),
        )

    def _feed_forward(self, hidden: int, *, key: PRNGKeyArray) -> FeedForward:
        """The feed-forward branch at its start."""
        keys = jax.random.split(key)
        return FeedForward(
            up=self.others((self.width, hidden), key=keys[0]),
            up_bias=jnp.zeros(hidden),
            down=self.others((hidden, self.width), key=keys[1]),
            down_bias=jnp.zeros(self.width),
            norm=self.norm.norm(self.width),
        )

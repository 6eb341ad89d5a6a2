"""The Transformer: an encoder or decoder of any depth, with any attention kernel."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import UNROLLED, at_most, not_negative, positive, real
from descentlab._types import Array, PRNGKeyArray
from descentlab.attention import AbstractAttention, Softmax
from descentlab.cost import TransformerSizes
from descentlab.cost.model import Model
from descentlab.mistake import Mistake
from descentlab.models.activations import GELU, AbstractActivation
from descentlab.models.base import AbstractArchitecture, at_least_tokens
from descentlab.models.encoder import Connections, Encoder, FeedForward, TransformerLayer
from descentlab.models.initializers import AbstractInit, FanIn, Normal
from descentlab.models.kernel_costs import kernel_cost
from descentlab.models.normalization import AbstractNormalization, PreNorm
from descentlab.models.output_layer import AbstractOutputLayer, Classify
from descentlab.models.positions import AbstractPositions, LearnedPositions

__all__ = ["Transformer"]


class Transformer(AbstractArchitecture):
    r"""An encoder, or with `causal` a decoder.

    Tokens are embedded, get a vector for their place, pass through `depth` layers of attention and feed-forward
    branches with skip connections, and are read out. Token number 0 is padding: no query sees it, and a pooled
    read-out leaves it out. Blocks are `embed class_token position query key value output up down scale shift`, the
    biases `query_bias` and so on, and those of the read-out; the same block of all layers goes by one name.

    Args:
        attention: the kernel; one with a number a head has the same numbers in all layers.
        width: numbers a token.
        depth: layers.
        heads: of a layer.
        head_dim: width of a head; `None` divides `width` evenly among the heads.
        hidden: width of the feed-forward branch; `None` leaves the branch out.
        causal: whether a token sees itself and earlier ones only.
        norm: where tokens are normalised.
        activation: of the feed-forward branch.
        vocabulary: token numbers are below this; not used where tokens are vectors.
        positions: how tokens tell their places.
        skip: factor of the skip connection around attention (that around the feed-forward branch is 1).
        dropout: share of entries set to zero in training, after the embedding and at the end of each branch; `None`
            draws nothing.
        chunk: queries whose attention is computed at once, to bound memory; `None` takes all.
        readout: what is made of the last tokens.
        embedding: start of `embed`, `position` and `class_token`.
        query: start of the query block; `key` and `others` (the other matrices) likewise. Biases start at zero.

    Raises:
        Mistake: if a size is not above 0, `dropout` not in [0, 1), heads do not divide the width, or the
            read-out asks for a class token in a decoder, where it would see no other.

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
    positions: AbstractPositions = LearnedPositions()
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
        if self.chunk is not None and not self.attention.facts.row_by_row:
            kernel = type(self.attention).__name__
            raise Mistake(
                f"Transformer.chunk computes rows of attention apart, but {kernel} does not say that a row "
                "depends on its own query alone; leave out chunk, or state row_by_row in the facts of the kernel"
            )
        if isinstance(self.dropout, float) and self.dropout >= 1:
            raise Mistake(f"Transformer.dropout must be below 1, got {self.dropout}")
        if self.causal and self.readout.class_token:
            raise Mistake(
                "a class token comes first and sees no other in a decoder; choose causal=False or another readout"
            )
        if self.head_dim is None and self.width % self.heads:
            raise Mistake(
                f"heads must divide the width, got heads={self.heads} and width={self.width}; "
                "choose another number of heads, or give head_dim"
            )

    @property
    def stochastic(self) -> bool:
        """Whether training draws random numbers at every step."""
        return self.dropout is not None

    def check_vocabulary(self, tokens: int) -> None:
        """Raise unless `vocabulary` is at least `tokens`."""
        at_least_tokens(self, tokens)

    def cost_model(self, width: int | None) -> Model:
        """Its layers, of which a feed-forward branch counts as one with GELU; see the base class."""
        del width
        sizes = TransformerSizes(
            self.depth, self.width, self.heads, self.hidden or 0,
            head_dim=self.head_dim,
            norm=self.norm.cost,
            kernel=kernel_cost(self.attention),
            causal=self.causal,
        )  # fmt: skip
        return replace(sizes.model, uncounted=("embedding, places and read-out",))

    def init(self, example: Array, *, key: PRNGKeyArray) -> Encoder:
        """The model at its start; see the base class."""
        first = self.readout.class_token
        places = example.shape[0] + first
        rows = self.vocabulary if jnp.issubdtype(example.dtype, jnp.integer) else example.shape[1]
        keys = jax.random.split(key, self.depth + 3)
        return Encoder(
            embed=self.embedding((rows, self.width), key=keys[0]),
            class_token=self.embedding((1, self.width), key=jax.random.fold_in(keys[0], 1)) if first else None,
            position=self.positions.init((places, self.width), self.embedding, key=keys[1]),
            layers=tuple(self._layer(key=one) for one in keys[3:]),
            norm=self.norm.final(self.width),
            readout=self.readout.init(self.width, key=keys[2]),
            attention=self.attention.init(self.heads),
            normalization=self.norm,
            positions=self.positions,
            activation=self.activation,
            connections=Connections(self.skip, self.dropout),
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

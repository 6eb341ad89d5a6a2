"""A deep linear network that sees one token at a time: the contrast to attention."""

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import UNROLLED, at_most, positive
from descentlab._types import Array, Float, PRNGKeyArray
from descentlab.models.base import AbstractArchitecture, at_least_tokens
from descentlab.models.initializers import AbstractInit, FanIn, Normal
from descentlab.models.output_layer import taken

__all__ = ["LinearNetwork", "Matrices"]


class Matrices(eqx.Module):
    """The trainable network.

    Attributes:
        embed: one vector a token number, or the matrix that maps real tokens to width.
        weight: one matrix a layer, first to last.
        places: of the tokens that have outputs, as bounds of a slice.
    """

    embed: Float[Array, "vocabulary width"]
    weight: tuple[Float[Array, "_ _"], ...]
    places: tuple[int, int] | None = eqx.field(static=True)

    def __call__(self, example: Array) -> Float[Array, "places outputs"]:
        """One vector of outputs a token."""
        tokens = self.embed[example] if jnp.issubdtype(example.dtype, jnp.integer) else example @ self.embed
        tokens = taken(tokens, self.places)
        for matrix in self.weight:
            tokens = tokens @ matrix
        return tokens


class LinearNetwork(AbstractArchitecture):
    r"""Token after token $x \mapsto x W_1 \cdots W_L$, without biases and without a nonlinearity.

    Blocks are `embed` and `weight`, the matrices of all layers: `weight.0` is the first one's.

    Args:
        depth: layers L.
        width: of the embedding and of all layers but the last.
        outputs: width of the last layer.
        vocabulary: token numbers are below this; not used where tokens are vectors.
        places: of the tokens that have outputs, as bounds of a slice, such as (-7, -1); `None` takes all.
        embedding: start of `embed`.
        start: of the matrices.

    Raises:
        Mistake: if a size is not above 0.
    """

    depth: int = 2
    width: int = 64
    outputs: int = 1
    vocabulary: int = 257
    places: tuple[int, int] | None = None
    embedding: AbstractInit = Normal(1.0)
    start: AbstractInit = FanIn()

    def __check_init__(self):
        for name in ("depth", "width", "outputs", "vocabulary"):
            positive(self, name)
        at_most(self, "depth", UNROLLED, "every layer is compiled on its own")

    def check_vocabulary(self, tokens: int) -> None:
        """Raise unless `vocabulary` is at least `tokens`."""
        at_least_tokens(self, tokens)

    def init(self, example: Array, *, key: PRNGKeyArray) -> Matrices:
        """The network at its start; see the base class."""
        rows = self.vocabulary if jnp.issubdtype(example.dtype, jnp.integer) else example.shape[1]
        keys = jax.random.split(key, self.depth + 1)
        shapes = [(self.width, self.width)] * (self.depth - 1) + [(self.width, self.outputs)]
        return Matrices(
            embed=self.embedding((rows, self.width), key=keys[0]),
            weight=tuple(self.start(shape, key=one) for shape, one in zip(shapes, keys[1:], strict=True)),
            places=self.places,
        )

"""What a Transformer's last tokens are turned into."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import positive
from descentlab._definition import Definition
from descentlab._types import Array, Bool, Float, PRNGKeyArray, PyTree
from descentlab.models.initializers import AbstractInit, FanIn

__all__ = ["AbstractOutputLayer", "Classify", "EachToken"]


class AbstractOutputLayer(Definition):
    """Hyperparameters of a read-out. `init` draws it: a map from the tokens and their mask to outputs."""

    @abstractmethod
    def init(self, width: int, *, key: PRNGKeyArray) -> PyTree:
        """The read-out at its start."""


def taken(tokens: Float[Array, "time width"], places: tuple[int, int] | None) -> Float[Array, "places width"]:
    """The tokens between two places, or all."""
    return tokens if places is None else tokens[slice(*places)]


class _Classifier(eqx.Module):
    hidden: Float[Array, "width hidden"]
    hidden_bias: Float[Array, " hidden"]
    classes: Float[Array, "hidden classes"]
    classes_bias: Float[Array, " classes"]

    def __call__(
        self, tokens: Float[Array, "time width"], mask: Bool[Array, " time"] | None
    ) -> Float[Array, " classes"]:
        """One number a class."""
        share = None if mask is None else mask[:, None].astype(tokens.dtype)
        count = tokens.shape[0] if share is None else jnp.maximum(share.sum(), 1)
        pooled = jnp.sum(tokens if share is None else share * tokens, axis=0) / count
        return jax.nn.relu(pooled @ self.hidden + self.hidden_bias) @ self.classes + self.classes_bias


class Classify(AbstractOutputLayer):
    """One class a sequence: the mean over its real tokens, then two layers with a ReLU between.

    Args:
        classes: their number.
        hidden: width between the two layers.
        start: of both matrices; biases start at zero.

    Raises:
        ValueError: if a size is not above 0.
    """

    classes: int = 2
    hidden: int = 128
    start: AbstractInit = FanIn()

    def __check_init__(self):
        positive(self, "classes")
        positive(self, "hidden")

    def init(self, width: int, *, key: PRNGKeyArray) -> PyTree:
        """The read-out at its start."""
        keys = jax.random.split(key)
        return _Classifier(
            self.start((width, self.hidden), key=keys[0]),
            jnp.zeros(self.hidden),
            self.start((self.hidden, self.classes), key=keys[1]),
            jnp.zeros(self.classes),
        )


class _Unembedding(eqx.Module):
    unembed: Float[Array, "width outputs"]
    unembed_bias: Float[Array, " outputs"]
    places: tuple[int, int] | None = eqx.field(static=True)

    def __call__(
        self, tokens: Float[Array, "time width"], mask: Bool[Array, " time"] | None
    ) -> Float[Array, "places outputs"]:
        """One vector of outputs a token."""
        del mask
        return taken(tokens, self.places) @ self.unembed + self.unembed_bias


class EachToken(AbstractOutputLayer):
    """One vector a token: the numbers of a regression, or one number for each possible next token.

    Args:
        outputs: its length.
        start: of the matrix; the bias starts at zero.
        places: of the tokens that are read out, as the two bounds of a slice, such as (-7, -1); `None` takes all.

    Raises:
        ValueError: if `outputs` is not above 0.
    """

    outputs: int = 1
    start: AbstractInit = FanIn()
    places: tuple[int, int] | None = None

    def __check_init__(self):
        positive(self, "outputs")

    def init(self, width: int, *, key: PRNGKeyArray) -> PyTree:
        """The read-out at its start."""
        return _Unembedding(self.start((width, self.outputs), key=key), jnp.zeros(self.outputs), self.places)

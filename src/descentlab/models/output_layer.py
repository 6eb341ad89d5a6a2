"""What a Transformer's last tokens are turned into."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import positive
from descentlab._definition import Definition
from descentlab._types import Array, Bool, Float, PRNGKeyArray, PyTree
from descentlab.models.initializers import AbstractInit, FanIn

__all__ = ["AbstractOutputLayer", "ClassToken", "Classify", "EachToken"]


class AbstractOutputLayer(Definition):
    """Hyperparameters of a read-out. `init` draws it: a map from the tokens and their mask to outputs.

    Attributes:
        class_token: whether a trained vector is put before the tokens for it.
    """

    class_token: ClassVar[bool] = False

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
        Mistake: if a size is not above 0.
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
        Mistake: if `outputs` is not above 0.
    """

    outputs: int = 1
    start: AbstractInit = FanIn()
    places: tuple[int, int] | None = None

    def __check_init__(self):
        positive(self, "outputs")

    def init(self, width: int, *, key: PRNGKeyArray) -> PyTree:
        """The read-out at its start."""
        return _Unembedding(self.start((width, self.outputs), key=key), jnp.zeros(self.outputs), self.places)


class _FromFirst(eqx.Module):
    unembed: Float[Array, "width outputs"]
    unembed_bias: Float[Array, " outputs"]

    def __call__(
        self, tokens: Float[Array, "time width"], mask: Bool[Array, " time"] | None
    ) -> Float[Array, " outputs"]:
        """One vector of outputs."""
        del mask
        return tokens[0] @ self.unembed + self.unembed_bias


class ClassToken(AbstractOutputLayer):
    """One vector a sequence, read off a trained token that comes before the others.

    Args:
        outputs: its length, such as one number a class.
        start: of the matrix; the bias starts at zero.

    Raises:
        Mistake: if `outputs` is not above 0.

    References:
        Devlin et al. (2019), arXiv:1810.04805; for images Dosovitskiy et al. (2021), arXiv:2010.11929, equation 4.
    """

    class_token: ClassVar[bool] = True

    outputs: int = 2
    start: AbstractInit = FanIn()

    def __check_init__(self):
        positive(self, "outputs")

    def init(self, width: int, *, key: PRNGKeyArray) -> PyTree:
        """The read-out at its start."""
        return _FromFirst(self.start((width, self.outputs), key=key), jnp.zeros(self.outputs))

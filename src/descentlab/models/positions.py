"""How tokens tell their places."""

from abc import abstractmethod

import jax.numpy as jnp

from descentlab._definition import Definition
from descentlab._types import Array, Float, PRNGKeyArray
from descentlab.models.initializers import AbstractInit

__all__ = ["AbstractPositions", "LearnedPositions", "NoPositions", "SinusoidalPositions"]


class AbstractPositions(Definition):
    """What is added to a token for its place."""

    @abstractmethod
    def init(self, shape: tuple[int, int], start: AbstractInit, *, key: PRNGKeyArray) -> Array | None:
        """The trained vectors of all places, in the shape (places, width); `None` where none are trained."""

    @abstractmethod
    def __call__(
        self, tokens: Float[Array, "time width"], position: Float[Array, "places width"] | None
    ) -> Float[Array, "time width"]:
        """The tokens with their places."""


class LearnedPositions(AbstractPositions):
    """A trained vector a place, the block `position`."""

    def init(self, shape: tuple[int, int], start: AbstractInit, *, key: PRNGKeyArray) -> Array | None:
        """One draw of the start."""
        return start(shape, key=key)

    def __call__(
        self, tokens: Float[Array, "time width"], position: Float[Array, "places width"] | None
    ) -> Float[Array, "time width"]:
        """The tokens with their places."""
        assert position is not None
        return tokens + position[: tokens.shape[0]]


class SinusoidalPositions(AbstractPositions):
    r"""Sines and cosines, $\sin(t\, 10^{-8i/w})$ at $2i$ and the cosine at $2i + 1$, for place t and width w.

    References:
        Vaswani et al. (2017), arXiv:1706.03762, section 3.5.
    """

    def init(self, shape: tuple[int, int], start: AbstractInit, *, key: PRNGKeyArray) -> Array | None:
        """None."""
        del shape, start, key

    def __call__(
        self, tokens: Float[Array, "time width"], position: Float[Array, "places width"] | None
    ) -> Float[Array, "time width"]:
        """The tokens with their places."""
        del position
        time, width = tokens.shape
        entries = jnp.arange(width)
        rates = 10.0 ** (-8.0 * (entries // 2) / width)
        angles = jnp.arange(time)[:, None] * rates
        waves = jnp.where(entries % 2 == 0, jnp.sin(angles), jnp.cos(angles))
        return tokens + waves.astype(tokens.dtype)


class NoPositions(AbstractPositions):
    """Places are not told apart."""

    def init(self, shape: tuple[int, int], start: AbstractInit, *, key: PRNGKeyArray) -> Array | None:
        """None."""
        del shape, start, key

    def __call__(
        self, tokens: Float[Array, "time width"], position: Float[Array, "places width"] | None
    ) -> Float[Array, "time width"]:
        """The tokens as they are."""
        del position
        return tokens

"""Layer normalisation, and where a Transformer has it."""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._definition import Definition
from descentlab._types import Array, Float

__all__ = ["AbstractNormalization", "LayerNorm", "NoNorm", "PostNorm", "PreNorm"]

EPSILON = 1e-5
"""Added to the variance of a token, as most implementations do."""

Branch = Callable[[Array], Array]


class LayerNorm(eqx.Module):
    r"""Tokens centred and divided by their standard deviation: $\gamma (x - \bar x) / \sqrt{s^2 + 10^{-5}} + \beta$.

    Attributes:
        scale: $\gamma$.
        shift: $\beta$.
    """

    scale: Float[Array, " width"]
    shift: Float[Array, " width"]

    def __call__(self, tokens: Float[Array, "time width"]) -> Float[Array, "time width"]:
        """The normalised tokens."""
        centred = tokens - tokens.mean(axis=-1, keepdims=True)
        variance = jnp.mean(centred**2, axis=-1, keepdims=True)
        return self.scale * centred * jax.lax.rsqrt(variance + EPSILON) + self.shift


class AbstractNormalization(Definition):
    """Where the tokens are normalised."""

    @abstractmethod
    def norm(self, width: int) -> LayerNorm | None:
        """The normalisation of one branch at its start, or `None`."""

    @abstractmethod
    def final(self, width: int) -> LayerNorm | None:
        """The normalisation before the read-out at its start, or `None`."""

    @abstractmethod
    def before(self, norm: LayerNorm | None, tokens: Array) -> Array:
        """What a branch sees of the tokens."""

    @abstractmethod
    def after(self, norm: LayerNorm | None, tokens: Array) -> Array:
        """What the next branch gets of the tokens."""

    def join(self, norm: LayerNorm | None, tokens: Array, branch: Branch, skip: Array | float) -> Array:
        """The tokens after a branch: `skip` times what comes in, plus what the branch makes of it."""
        return self.after(norm, skip * tokens + branch(self.before(norm, tokens)))


def _fresh(width: int) -> LayerNorm:
    return LayerNorm(jnp.ones(width), jnp.zeros(width))


class NoNorm(AbstractNormalization):
    r"""No normalisation, $x \mapsto a x + g(x)$."""

    def norm(self, width: int) -> LayerNorm | None:
        """None."""
        del width

    def final(self, width: int) -> LayerNorm | None:
        """None."""
        del width

    def before(self, norm: LayerNorm | None, tokens: Array) -> Array:
        """What a branch sees of the tokens."""
        del norm
        return tokens

    def after(self, norm: LayerNorm | None, tokens: Array) -> Array:
        """What the next branch gets of the tokens."""
        del norm
        return tokens


class PreNorm(AbstractNormalization):
    r"""Normalised before each branch and before the read-out, $x \mapsto a x + g(\mathrm{LN}(x))$."""

    def norm(self, width: int) -> LayerNorm | None:
        """One a branch."""
        return _fresh(width)

    def final(self, width: int) -> LayerNorm | None:
        """One."""
        return _fresh(width)

    def before(self, norm: LayerNorm | None, tokens: Array) -> Array:
        """What a branch sees of the tokens."""
        assert norm is not None
        return norm(tokens)

    def after(self, norm: LayerNorm | None, tokens: Array) -> Array:
        """What the next branch gets of the tokens."""
        del norm
        return tokens


class PostNorm(AbstractNormalization):
    r"""Normalised after each branch, $x \mapsto \mathrm{LN}(a x + g(x))$."""

    def norm(self, width: int) -> LayerNorm | None:
        """One a branch."""
        return _fresh(width)

    def final(self, width: int) -> LayerNorm | None:
        """None."""
        del width

    def before(self, norm: LayerNorm | None, tokens: Array) -> Array:
        """What a branch sees of the tokens."""
        del norm
        return tokens

    def after(self, norm: LayerNorm | None, tokens: Array) -> Array:
        """What the next branch gets of the tokens."""
        assert norm is not None
        return norm(tokens)

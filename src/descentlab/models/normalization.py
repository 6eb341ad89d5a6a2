"""What tokens are normalised by, and where a Transformer does it."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._definition import LATER, Definition
from descentlab._types import Array, Float

__all__ = ["AbstractNorm", "AbstractNormalization", "LayerNorm", "NoNorm", "PostNorm", "PreNorm", "RMSNorm"]

EPSILON = 1e-5
"""Added to the variance of a token, as most implementations do."""

Branch = Callable[[Array], Array]


class Centred(eqx.Module):
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


class Scaled(eqx.Module):
    r"""Tokens divided by the root of their mean square: $\gamma x / \sqrt{\overline{x^2} + 10^{-5}}$.

    Attributes:
        scale: $\gamma$.
    """

    scale: Float[Array, " width"]

    def __call__(self, tokens: Float[Array, "time width"]) -> Float[Array, "time width"]:
        """The normalised tokens."""
        return self.scale * tokens * jax.lax.rsqrt(jnp.mean(tokens**2, axis=-1, keepdims=True) + EPSILON)


class AbstractNorm(Definition):
    """What a token is normalised by.

    Attributes:
        cost: its name in `descentlab.cost`.
    """

    cost: ClassVar[str]

    @abstractmethod
    def init(self, width: int) -> Branch:
        """The normalisation at its start, a map of tokens."""


class LayerNorm(AbstractNorm):
    r"""Mean and standard deviation: $\gamma (x - \bar x) / \sqrt{s^2 + 10^{-5}} + \beta$, blocks `scale` and `shift`.

    References:
        Ba et al. (2016), arXiv:1607.06450.
    """

    cost: ClassVar[str] = "layer"

    def init(self, width: int) -> Branch:
        """Scale 1, shift 0."""
        return Centred(jnp.ones(width), jnp.zeros(width))


class RMSNorm(AbstractNorm):
    r"""Root mean square: $\gamma x / \sqrt{\overline{x^2} + 10^{-5}}$, block `scale`.

    References:
        Zhang and Sennrich (2019), arXiv:1910.07467.
    """

    cost: ClassVar[str] = "rms"

    def init(self, width: int) -> Branch:
        """Scale 1."""
        return Scaled(jnp.ones(width))


class AbstractNormalization(Definition):
    """Where the tokens are normalised."""

    @property
    @abstractmethod
    def cost(self) -> str:
        """Its name in `descentlab.cost`."""

    @abstractmethod
    def norm(self, width: int) -> Branch | None:
        """The normalisation of one branch at its start, or `None`."""

    @abstractmethod
    def final(self, width: int) -> Branch | None:
        """The normalisation before the read-out at its start, or `None`."""

    @abstractmethod
    def before(self, norm: Branch | None, tokens: Array) -> Array:
        """What a branch sees of the tokens."""

    @abstractmethod
    def after(self, norm: Branch | None, tokens: Array) -> Array:
        """What the next branch gets of the tokens."""

    def join(self, norm: Branch | None, tokens: Array, branch: Branch, skip: Array | float) -> Array:
        """The tokens after a branch: `skip` times what comes in, plus what the branch makes of it."""
        return self.after(norm, skip * tokens + branch(self.before(norm, tokens)))


class NoNorm(AbstractNormalization):
    r"""No normalisation, $x \mapsto a x + g(x)$."""

    @property
    def cost(self) -> str:
        """None."""
        return "none"

    def norm(self, width: int) -> Branch | None:
        """None."""
        del width

    def final(self, width: int) -> Branch | None:
        """None."""
        del width

    def before(self, norm: Branch | None, tokens: Array) -> Array:
        """What a branch sees of the tokens."""
        del norm
        return tokens

    def after(self, norm: Branch | None, tokens: Array) -> Array:
        """What the next branch gets of the tokens."""
        del norm
        return tokens


class PreNorm(AbstractNormalization):
    r"""Normalised before each branch and before the read-out, $x \mapsto a x + g(N(x))$.

    Args:
        kind: what a token is normalised by.
    """

    kind: AbstractNorm = eqx.field(default=LayerNorm(), metadata=LATER)

    @property
    def cost(self) -> str:
        """That of its kind."""
        return self.kind.cost

    def norm(self, width: int) -> Branch | None:
        """One a branch."""
        return self.kind.init(width)

    def final(self, width: int) -> Branch | None:
        """One."""
        return self.kind.init(width)

    def before(self, norm: Branch | None, tokens: Array) -> Array:
        """What a branch sees of the tokens."""
        assert norm is not None
        return norm(tokens)

    def after(self, norm: Branch | None, tokens: Array) -> Array:
        """What the next branch gets of the tokens."""
        del norm
        return tokens


class PostNorm(AbstractNormalization):
    r"""Normalised after each branch, $x \mapsto N(a x + g(x))$.

    Args:
        kind: what a token is normalised by.
    """

    kind: AbstractNorm = eqx.field(default=LayerNorm(), metadata=LATER)

    @property
    def cost(self) -> str:
        """That of its kind."""
        return self.kind.cost

    def norm(self, width: int) -> Branch | None:
        """One a branch."""
        return self.kind.init(width)

    def final(self, width: int) -> Branch | None:
        """None."""
        del width

    def before(self, norm: Branch | None, tokens: Array) -> Array:
        """What a branch sees of the tokens."""
        del norm
        return tokens

    def after(self, norm: Branch | None, tokens: Array) -> Array:
        """What the next branch gets of the tokens."""
        assert norm is not None
        return norm(tokens)

"""The functions between the two layers of a feed-forward branch."""

from abc import abstractmethod

import jax

from descentlab._definition import Definition
from descentlab._types import Array

__all__ = ["GELU", "AbstractActivation", "Identity", "Rectifier"]


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

"""What products of queries and keys are divided by, as a function of the width of a head."""

from abc import abstractmethod

import equinox as eqx

from descentlab._check import finite, real
from descentlab._definition import Definition
from descentlab._types import Array

__all__ = ["AbstractScaling", "InverseSqrt", "NoScaling", "Power"]


class AbstractScaling(Definition):
    r"""The scale of the scores: $q_k^\top k_j / r(d)$ with d the width of a head."""

    @abstractmethod
    def divisor(self, head_dim: int) -> Array | float:
        """The divisor r(d)."""


class InverseSqrt(AbstractScaling):
    r"""$r(d) = \sqrt d$, which keeps the variance of a score where entries of queries and keys are independent.

    Examples:
        >>> InverseSqrt().divisor(16)
        4.0

    References:
        Vaswani et al. (2017), arXiv:1706.03762, section 3.2.1.
    """

    def divisor(self, head_dim: int) -> Array | float:
        """The root of the width."""
        return head_dim**0.5


class NoScaling(AbstractScaling):
    r"""$r(d) = 1$: a score is the product itself.

    Examples:
        >>> NoScaling().divisor(16)
        1.0
    """

    def divisor(self, head_dim: int) -> Array | float:
        """1, whatever the width."""
        del head_dim
        return 1.0


class Power(AbstractScaling):
    r"""$r(d) = d^p$.

    Args:
        exponent: p; at 1 scores of a wide head with independent entries vanish, at 1/2 their variance is kept.

    Raises:
        Mistake: if `exponent` is not finite.

    Examples:
        >>> Power(1.0).divisor(16)
        16.0

    References:
        Yang et al. (2022), arXiv:2203.03466, definition 4.1, take p = 1; Wu et al. (2023), arXiv:2311.01575, compare it
        with 1/2.
    """

    exponent: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        finite(self, "exponent")

    def divisor(self, head_dim: int) -> Array | float:
        """The power of the width."""
        return float(head_dim) ** self.exponent

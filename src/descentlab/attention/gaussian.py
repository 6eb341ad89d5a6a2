"""Gaussian attention, with and without row normalisation."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp

from descentlab._check import positive, real
from descentlab._types import Array, Bool, Float
from descentlab.attention.base import AbstractAttention, products
from descentlab.attention.facts import KernelFacts
from descentlab.attention.scaling import InverseSqrt
from descentlab.attention.softmax import masked_softmax
from descentlab.mistake import Mistake


def bandwidth(kernel: "Gaussian | NormalizedGaussian", head_dim: int) -> Array | float:
    """The factor in the exponent: `c`, or $1 / (2 r(d))$ where that is `None`."""
    return 0.5 / kernel.scaling.divisor(head_dim) if kernel.c is None else kernel.c


def _check(kernel: "Gaussian | NormalizedGaussian") -> None:
    """Raise unless one of factor and scaling says what the exponent is.

    Raises:
        Mistake: if the factor is not above 0, or both are given.
    """
    positive(kernel, "c")
    if kernel.c is not None and not isinstance(kernel.scaling, InverseSqrt):
        raise Mistake(
            f"{type(kernel).__name__}.c is the whole factor, which {type(kernel.scaling).__name__} would not change; "
            "give one of c and scaling"
        )


def exponents(
    kernel: "Gaussian | NormalizedGaussian", query: Float[Array, "time head"], key: Float[Array, "other head"]
) -> Float[Array, "time other"]:
    """-c ||q_k - k_j||^2 for every pair, through the products, so that nothing of size time x other x head is made."""
    factor = bandwidth(kernel, query.shape[-1])
    lengths = [factor * jnp.sum(vectors**2, axis=-1) for vectors in (query, key)]
    return products(2 * factor * query, key) - lengths[0][:, None] - lengths[1]


class Gaussian(AbstractAttention):
    r"""Gaussian kernel attention without row normalisation, $S_{kj} = \exp(-c \lVert q_k - k_j \rVert^2)$.

    Entries lie in (0, 1], row sums in (0, n]. The output therefore grows with the number of keys near a query.

    Args:
        c: factor in the exponent; `None` stands for $1 / (2 r(d))$, with which products of queries and keys are
            divided by $r(d)$ as in softmax attention.
        scaling: $r(d)$; $\sqrt d$ by default.

    Raises:
        Mistake: if `c` is not above 0, or a scaling is given besides.

    Examples:
        >>> import jax.numpy as jnp
        >>> Gaussian(c=0.5).weights(jnp.zeros((1, 2)), jnp.zeros((3, 2))).tolist()
        [[1.0, 1.0, 1.0]]

    References:
        Song et al. (2024), arXiv:2411.07538; the default `c` is that of Chen et al. (2021), arXiv:2111.00035.
    """

    facts: ClassVar[KernelFacts] = KernelFacts(row_by_row=True, positive=True, smooth=True, distances_only=True)

    c: float | None = eqx.field(default=None, converter=real)

    def __check_init__(self):
        _check(self)

    def weights(
        self,
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        mask: Bool[Array, "#time other"] | None = None,
    ) -> Float[Array, "time other"]:
        """The attention matrix S; masked entries (`mask` false) are exactly zero."""
        logits = exponents(self, query, key)
        return jnp.exp(logits if mask is None else jnp.where(mask, logits, -jnp.inf))


class NormalizedGaussian(AbstractAttention):
    r"""Gaussian kernel attention with rows that sum to one, $S_{kj} \propto \exp(-c \lVert q_k - k_j \rVert^2)$.

    The factor of $\lVert q_k \rVert^2$ cancels in the normalisation: this is softmax attention with a penalty on the
    length of the keys.

    Args:
        c: factor in the exponent; `None` stands for $1 / (2 r(d))$, with which products of queries and keys are
            divided by $r(d)$ as in softmax attention.
        scaling: $r(d)$; $\sqrt d$ by default.

    Raises:
        Mistake: if `c` is not above 0, or a scaling is given besides.

    Examples:
        >>> import jax.numpy as jnp
        >>> NormalizedGaussian(c=0.5).weights(jnp.ones((1, 2)), jnp.zeros((2, 2))).tolist()
        [[0.5, 0.5]]
    """

    facts: ClassVar[KernelFacts] = KernelFacts(
        row_by_row=True, rows_sum_to_one=True, positive=True, smooth=True, distances_only=True, softmax_rows=True
    )

    c: float | None = eqx.field(default=None, converter=real)

    def __check_init__(self):
        _check(self)

    def weights(
        self,
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        mask: Bool[Array, "#time other"] | None = None,
    ) -> Float[Array, "time other"]:
        """The attention matrix S; masked entries (`mask` false) are exactly zero."""
        return masked_softmax(exponents(self, query, key), mask)

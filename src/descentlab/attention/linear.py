"""Attention kernels without an exponential: linear and rectified."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from descentlab._types import Array, Bool, Float
from descentlab.attention.base import AbstractAttention
from descentlab.attention.facts import KernelFacts


class Linear(AbstractAttention):
    r"""Linear attention, $S_{kj} = q_k^\top k_j / r(d)$.

    Args:
        scaling: the divisor $r(d)$; $\sqrt d$ by default.

    Examples:
        >>> import jax.numpy as jnp
        >>> Linear().weights(jnp.ones((1, 4)), jnp.ones((2, 4))).tolist()
        [[2.0, 2.0]]
    """

    facts: ClassVar[KernelFacts] = KernelFacts(row_by_row=True, smooth=True, products_only=True)

    def weights(
        self,
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        mask: Bool[Array, "#time other"] | None = None,
    ) -> Float[Array, "time other"]:
        """The attention matrix S; masked entries (`mask` false) are exactly zero."""
        weights = self.scores(query, key)
        return weights if mask is None else jnp.where(mask, weights, 0.0)


class ReLU(AbstractAttention):
    r"""Rectified attention, $S_{kj} = \max(0, q_k^\top k_j / r(d)) / m_k$ with $m_k$ the unmasked keys of row k.

    Differentiable except where a product is zero; there the derivative is taken as zero.

    Args:
        scaling: the divisor $r(d)$; $\sqrt d$ by default.

    Examples:
        >>> import jax.numpy as jnp
        >>> ReLU().weights(jnp.ones((1, 4)), jnp.array([[1.0] * 4, [-1.0] * 4])).tolist()
        [[1.0, 0.0]]

    References:
        Wortsman et al. (2023), arXiv:2309.08586.
    """

    facts: ClassVar[KernelFacts] = KernelFacts(row_by_row=True, products_only=True)

    def weights(
        self,
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        mask: Bool[Array, "#time other"] | None = None,
    ) -> Float[Array, "time other"]:
        """The attention matrix S; masked entries (`mask` false) are exactly zero."""
        weights = jax.nn.relu(self.scores(query, key))
        if mask is None:
            return weights / key.shape[0]
        count = jnp.maximum(1, mask.sum(axis=-1, keepdims=True)).astype(weights.dtype)
        return jnp.where(mask, weights, 0.0) / count

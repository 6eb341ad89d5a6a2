"""Softmax attention."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import positive, real
from descentlab._types import Array, Bool, Float
from descentlab.attention.base import AbstractAttention, kept, product
from descentlab.attention.facts import KernelFacts


def masked_softmax(
    logits: Float[Array, "time other"], mask: Bool[Array, "#time other"] | None
) -> Float[Array, "time other"]:
    """Row softmax over the unmasked entries; a row with none is zero, and so is its derivative."""
    if mask is not None:
        logits = jnp.where(mask, logits, -jnp.inf)
        some = mask.any(axis=-1, keepdims=True)
        logits = jnp.where(some, logits, 0.0)
    weights = jax.nn.softmax(logits, axis=-1)  # its derivative does not go through the maximum
    return weights if mask is None else jnp.where(mask, weights, 0.0)


def softmax_mean(
    logits: Float[Array, "time other"], value: Float[Array, "other out"], mask: Bool[Array, "#time other"] | None
) -> Float[Array, "time out"]:
    """The values averaged with the weights of `masked_softmax`; divided last, which spares two passes over time^2."""
    if mask is not None:
        logits = jnp.where(mask, logits, -jnp.inf)
    largest = kept(jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True)))
    weights = jnp.exp(logits - jnp.where(jnp.isfinite(largest), largest, 0))
    total = kept(weights.sum(axis=-1, keepdims=True))
    return kept(product(weights, value)) / jnp.where(total > 0, total, 1)


class Softmax(AbstractAttention):
    r"""Scaled dot-product attention, $S_{kj} \propto \exp(q_k^\top k_j / (\tau\, r(d)))$ with rows that sum to one.

    Args:
        temperature: $\tau$; a low one makes attention look at few tokens, a high one at all alike.
        scaling: the divisor $r(d)$; $\sqrt d$ by default.

    Raises:
        Mistake: if `temperature` is not above 0.

    Examples:
        >>> import jax.numpy as jnp
        >>> Softmax().weights(jnp.zeros((1, 2)), jnp.ones((4, 2))).tolist()
        [[0.25, 0.25, 0.25, 0.25]]

    References:
        Vaswani et al. (2017), arXiv:1706.03762, equation 1 (with $\tau = 1$).
    """

    facts: ClassVar[KernelFacts] = KernelFacts(
        row_by_row=True, rows_sum_to_one=True, positive=True, smooth=True, products_only=True, softmax_rows=True
    )

    temperature: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        positive(self, "temperature")

    def weights(
        self,
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        mask: Bool[Array, "#time other"] | None = None,
    ) -> Float[Array, "time other"]:
        """The attention matrix S; masked entries (`mask` false) are exactly zero."""
        return masked_softmax(self.scores(query, key, self.temperature), mask)

    def __call__(
        self,
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        value: Float[Array, "other out"],
        mask: Bool[Array, "#time other"] | None = None,
    ) -> Float[Array, "time out"]:
        """S V: the weighted sums of the values."""
        return softmax_mean(self.scores(query, key, self.temperature), value, mask)

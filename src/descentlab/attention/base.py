"""The attention interface: one head, one example."""

from abc import abstractmethod

import equinox as eqx
import jax

from descentlab._types import Array, Bool, Float


def products(query: Float[Array, "time head"], key: Float[Array, "other head"]) -> Float[Array, "time other"]:
    """q_k^T k_j for every pair."""
    # The barrier fixes the order of factors in the derivative by the keys; the other order takes three times as long.
    return query @ jax.lax.optimization_barrier(key.T)


class AbstractAttention(eqx.Module):
    """An attention kernel with explicit weights.

    A new kernel is a subclass with one method, `weights`. Heads and examples are mapped over from outside.
    """

    @abstractmethod
    def weights(
        self,
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        mask: Bool[Array, "#time other"] | None = None,
    ) -> Float[Array, "time other"]:
        """The attention matrix S; masked entries (`mask` false) are exactly zero."""

    def __call__(
        self,
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        value: Float[Array, "other out"],
        mask: Bool[Array, "#time other"] | None = None,
    ) -> Float[Array, "time out"]:
        """S V: the weighted sums of the values."""
        return self.weights(query, key, mask) @ value

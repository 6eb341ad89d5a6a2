"""The attention interface: one head, one example."""

from abc import abstractmethod

import equinox as eqx

from descentlab._types import Array, Bool, Float


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

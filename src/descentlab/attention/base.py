"""The attention interface: one head, one example."""

from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax
from jax.ad_checkpoint import checkpoint_name

from descentlab._definition import LATER, Definition
from descentlab._types import Array, Bool, Float, Int
from descentlab.attention.facts import KernelFacts
from descentlab.attention.scaling import AbstractScaling, InverseSqrt

KEPT = "rows"
"""Name of what has few numbers a query."""


def products(query: Float[Array, "time head"], key: Float[Array, "other head"]) -> Float[Array, "time other"]:
    """q_k^T k_j for every pair."""
    # Barriers keep the compiler from swapping the factors of a derivative: one order takes a third of the other's time.
    return query @ jax.lax.optimization_barrier(key.T)


def product(left: Float[Array, "time other"], right: Float[Array, "other out"]) -> Float[Array, "time out"]:
    """The product of two matrices, the left one with many rows: its derivative by the right one is the costly one."""
    return left @ jax.lax.optimization_barrier(right.T).T


def kept(rows: Array) -> Array:
    """The same, marked as small enough to be kept where attention matrices are computed again."""
    return checkpoint_name(rows, KEPT)


class AbstractAttention(Definition):
    """An attention kernel with explicit weights.

    A new kernel is a subclass with one method, `weights`. Heads and examples are mapped over from outside.

    Attributes:
        facts: what is true of S whatever the numbers; theory says less of a kernel that states less.
        sees_places: whether weights depend on where tokens are, besides on what they are.

    Args:
        scaling: what products of queries and keys are divided by, $r(d)$; it follows the width d of a head.
    """

    facts: ClassVar[KernelFacts] = KernelFacts()
    sees_places: ClassVar[bool] = False

    scaling: AbstractScaling = eqx.field(default=InverseSqrt(), kw_only=True, metadata=LATER)

    @abstractmethod
    def weights(
        self,
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        mask: Bool[Array, "#time other"] | None = None,
    ) -> Float[Array, "time other"]:
        """The attention matrix S; masked entries (`mask` false) are exactly zero."""

    def init(self, heads: int) -> Any:
        """What a model with so many heads holds: the kernel itself, unless heads have numbers of their own."""
        del heads
        return self

    def at(self, first: Int[Array, ""]) -> Any:
        """The kernel for queries of which the first is at a place: itself, unless places matter."""
        del first
        return self

    def scores(
        self, query: Float[Array, "time head"], key: Float[Array, "other head"], temperature: Array | float = 1.0
    ) -> Float[Array, "time other"]:
        r"""$q_k^\top k_j / (\tau r(d))$ for every pair."""
        return products(query / (temperature * self.scaling.divisor(query.shape[-1])), key)

    def __call__(
        self,
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        value: Float[Array, "other out"],
        mask: Bool[Array, "#time other"] | None = None,
    ) -> Float[Array, "time out"]:
        """S V: the weighted sums of the values."""
        return product(self.weights(query, key, mask), value)

"""Kernels of which every head has a number of its own: a slope, a width."""

import dataclasses
import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import real
from descentlab._types import Array, Bool, Float, Int
from descentlab.attention.base import AbstractAttention, product
from descentlab.attention.facts import KernelFacts
from descentlab.attention.gaussian import Gaussian
from descentlab.attention.softmax import masked_softmax
from descentlab.mistake import Mistake

__all__ = ["ALiBi", "AbstractHeadwise", "HeadGaussian", "Heads", "over_heads"]


class AbstractHeadwise(AbstractAttention):
    """A kernel with a number a head, which is a fixed part of the model or trained.

    Attributes:
        learned: whether the numbers are trained, as the block `per_head`.
    """

    learned: eqx.AbstractVar[bool]

    @abstractmethod
    def numbers(self, heads: int) -> Float[Array, " heads"]:
        """The number of every head at the start."""

    @abstractmethod
    def of_head(
        self,
        number: Float[Array, ""],
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        mask: Bool[Array, "#time other"] | None,
        first: Array | int,
    ) -> Float[Array, "time other"]:
        """The attention matrix of the head with a number, for queries of which the first is at a place."""

    def weights(
        self,
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        mask: Bool[Array, "#time other"] | None = None,
    ) -> Float[Array, "time other"]:
        """The attention matrix of the only head of a model; masked entries (`mask` false) are exactly zero."""
        return self.of_head(self.numbers(1)[0].astype(query.dtype), query, key, mask, 0)

    def init(self, heads: int) -> "Heads":
        """The kernels of all heads at the start."""
        numbers = self.numbers(heads)
        return Heads(self, jnp.arange(heads), numbers if self.learned else None, jnp.asarray(0), heads)


class Heads(eqx.Module):
    """The kernels of all heads of a model, or of one of them where heads are mapped over.

    Attributes:
        kernel: what is common to them.
        index: of the head.
        per_head: its trained number; `None` where that is fixed.
        first: place of the first query.
        heads: of the model.
    """

    kernel: AbstractHeadwise
    index: Int[Array, "*heads"]
    per_head: Float[Array, "*heads"] | None
    first: Int[Array, ""]
    heads: int = eqx.field(static=True)

    @property
    def facts(self) -> KernelFacts:
        """Those of the kernel."""
        return self.kernel.facts

    def weights(
        self,
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        mask: Bool[Array, "#time other"] | None = None,
    ) -> Float[Array, "time other"]:
        """The attention matrix of the head."""
        number = self.kernel.numbers(self.heads)[self.index] if self.per_head is None else self.per_head
        return self.kernel.of_head(number.astype(query.dtype), query, key, mask, self.first)

    def __call__(
        self,
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        value: Float[Array, "other out"],
        mask: Bool[Array, "#time other"] | None = None,
    ) -> Float[Array, "time out"]:
        """The weighted sums of the values."""
        return product(self.weights(query, key, mask), value)

    def at(self, first: Int[Array, ""]) -> "Heads":
        """The kernels for queries of which the first is at a place."""
        return dataclasses.replace(self, first=first)


def over_heads(
    kernel: AbstractAttention | Heads, function: Callable[..., Array], *arrays: Array, out_axes: int = 0
) -> Array:
    """A function of the kernel of a head and of that head's arrays, for all heads.

    Args:
        kernel: as a model holds it.
        function: of one head.
        arrays: with heads as their second axis.
        out_axes: where the axis of heads is in what is returned.
    """
    if isinstance(kernel, AbstractAttention):
        return jax.vmap(functools.partial(function, kernel), in_axes=1, out_axes=out_axes)(*arrays)
    axes = jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, kernel)
    return jax.vmap(function, in_axes=(axes, *[1] * len(arrays)), out_axes=out_axes)(kernel, *arrays)


class ALiBi(AbstractHeadwise):
    r"""Softmax attention with a linear bias by distance, $S_{kj} \propto \exp(q_k^\top k_j / r(d) - m_h |k - j|)$.

    The slope of head h of H is $m_h = 2^{-8h/H}$ at the start, $h = 1, \dots, H$.

    Args:
        learned: whether slopes are trained, as the block `per_head`; without it they are fixed.
        scaling: the divisor $r(d)$; $\sqrt d$ by default.

    Examples:
        >>> import jax.numpy as jnp
        >>> ALiBi().numbers(8).tolist()[:3]
        [0.5, 0.25, 0.125]

    References:
        Press et al. (2022), arXiv:2108.12409, section 3 (for decoders and H a power of two).
    """

    facts: ClassVar[KernelFacts] = KernelFacts(
        row_by_row=True, rows_sum_to_one=True, positive=True, smooth=True, products_only=True, softmax_rows=True
    )
    sees_places: ClassVar[bool] = True

    learned: bool = False

    def numbers(self, heads: int) -> Float[Array, " heads"]:
        """The slopes."""
        return 2.0 ** (-8.0 * jnp.arange(1.0, heads + 1) / heads)

    def of_head(
        self,
        number: Float[Array, ""],
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        mask: Bool[Array, "#time other"] | None,
        first: Array | int,
    ) -> Float[Array, "time other"]:
        """Softmax of the scores less slope times distance."""
        places = first + jnp.arange(query.shape[0])
        distance = jnp.abs(places[:, None] - jnp.arange(key.shape[0]))
        return masked_softmax(self.scores(query, key) - number * distance.astype(query.dtype), mask)


def _reals(given: Any) -> Any:
    return given if given is None else tuple(map(real, given))


class HeadGaussian(AbstractHeadwise):
    r"""Gaussian kernel attention with a width a head, $S_{kj} = \exp(-a_h \lVert q_k - k_j \rVert^2 / (2 r(d)))$.

    Trained are logarithms of the factors $a_h$, so that they stay above 0.

    Args:
        factors: $a_h$ at the start, one a head; `None` makes all 1, as in `Gaussian()`.
        learned: whether their logarithms are trained, as the block `per_head`; without it they are fixed.
        scaling: the divisor $r(d)$; $\sqrt d$ by default.

    Raises:
        Mistake: if a factor is not above 0, or there is not one a head.
    """

    facts: ClassVar[KernelFacts] = KernelFacts(row_by_row=True, positive=True, smooth=True, distances_only=True)

    factors: tuple[float, ...] | None = eqx.field(default=None, converter=_reals)
    learned: bool = False

    def __check_init__(self):
        for factor in self.factors or ():
            if isinstance(factor, float) and not 0 < factor < float("inf"):
                raise Mistake(f"HeadGaussian.factors must be finite numbers above 0, got {factor}")

    def numbers(self, heads: int) -> Float[Array, " heads"]:
        """The logarithms of the factors.

        Raises:
            Mistake: if there is not one a head.
        """
        if self.factors is None:
            return jnp.zeros(heads)
        if len(self.factors) != heads:
            raise Mistake(f"HeadGaussian needs a factor a head, got {len(self.factors)} for {heads} heads")
        return jnp.log(jnp.stack([jnp.asarray(factor) for factor in self.factors]))

    def of_head(
        self,
        number: Float[Array, ""],
        query: Float[Array, "time head"],
        key: Float[Array, "other head"],
        mask: Bool[Array, "#time other"] | None,
        first: Array | int,
    ) -> Float[Array, "time other"]:
        """The Gaussian of queries and keys times the root of the factor."""
        del first
        root = jnp.exp(number / 2)
        return Gaussian(scaling=self.scaling).weights(root * query, root * key, mask)

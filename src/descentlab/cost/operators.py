"""Operators with their sizes: matrix products, and what is done entry by entry.

A size is a number or an array. Arrays broadcast against each other; their last axis counts what belongs to one model
(layers that differ, tokens of a generation) and is summed over in totals, the axes before it are candidates. So one
call costs a model, or a hundred thousand of them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["GROUPS", "KINDS", "Elementwise", "Matmul", "Operator", "Sizes", "convolution", "repeated", "total"]

Sizes = Any
"""A number, or an array of numbers."""

GROUPS = ("projections", "attention", "ffn", "convolution", "head", "other")
"""Classes of operators in the order in which they are shown."""

KINDS = ("weights", "experts", "plain", "activations", "cache")
"""Kinds of entries, each with a precision of its own: matrices of layers, those of experts, weights that quantisation
leaves as they are (embeddings, head, routers, norms), what is computed, and cached keys and values."""


@dataclasses.dataclass(frozen=True)
class Matmul:
    """`count` products out = a b with a of shape (rows, inner) and b of shape (inner, columns).

    The left factor is what an accelerator keeps in its array (weights, keys, values), the right one streams through.

    Attributes:
        name: what it computes.
        group: its class, one of `GROUPS`.
        rows: of the left factor and the result.
        inner: the contracted size.
        columns: of the right factor and the result.
        count: how often it is done.
        bias: whether a vector is added to the result; an entry then costs 2 inner operations, else 2 inner - 1.
        full: whether an entry without bias costs 2 inner operations too, its sum starting from zero.
        wide: whether the result leaves in the width of the accumulator, since a nonlinear operator needs it so.
        right: entries of b as they lie in memory, where those are not inner times columns.
        extra: entries computed that are moved besides; below 0 for what stays in local memory.
        left: kind of the entries of a, one of `KINDS`.
        held: how many different left factors there are, each read once; `None` for one each of `count`.
        cached: entries of the cache that are moved besides; below 0 for what another product has read already.
        kept: entries of the input, for each of `count`, that the backward pass needs and no other operator keeps.
    """

    name: str
    group: str
    rows: Sizes
    inner: Sizes
    columns: Sizes
    count: Sizes = 1
    bias: bool = False
    full: bool = False
    wide: bool = False
    right: Sizes = None
    extra: Sizes = 0
    left: str = "weights"
    held: Sizes = None
    cached: Sizes = 0
    kept: Sizes = 0

    @property
    def streamed(self) -> Sizes:
        """Entries of the right factor in memory."""
        return self.inner * self.columns if self.right is None else self.right

    @property
    def flops(self) -> Sizes:
        """Operations, multiplications and additions counted one by one."""
        less = 0 if self.bias or self.full else 1
        return self.count * self.rows * self.columns * (2 * self.inner - less)

    @property
    def entries(self) -> dict[str, Sizes]:
        """Entries read and written by kind, where every operand is read once and every result written once."""
        held = self.count if self.held is None else self.held
        found = {self.left: held * self.rows * self.inner}
        found["cache"] = found.get("cache", 0) + self.count * self.cached
        computed = self.count * (self.streamed + self.rows * self.columns + self.extra)
        return found | {"activations": found.get("activations", 0) + computed}

    @property
    def moved(self) -> Sizes:
        """Entries read and written, of all kinds."""
        return sum(self.entries.values())


@dataclasses.dataclass(frozen=True)
class Elementwise:
    """An operator that makes `count` times `elements` results, each from a fixed number of entries.

    Attributes:
        name: what it computes.
        group: its class, one of `GROUPS`.
        elements: results.
        flops_each: operations a result.
        reads: entries read for a result.
        passes: how often a unit of special functions must go over the entries.
        wide: whether its entries come in the width of the accumulator.
        parameters: entries of its own that it reads.
        count: how often it is done.
        extra: entries moved besides; below 0 for what stays in local memory.
        row: entries that belong together, such as those that softmax sums.
        kept: entries, for each of `count`, that the backward pass needs and no other operator keeps.
    """

    name: str
    group: str
    elements: Sizes
    flops_each: Sizes
    reads: int = 1
    passes: int = 1
    wide: bool = False
    parameters: Sizes = 0
    count: Sizes = 1
    extra: Sizes = 0
    row: Sizes = 1
    kept: Sizes = 0

    @property
    def flops(self) -> Sizes:
        """Operations."""
        return self.count * self.elements * self.flops_each

    @property
    def entries(self) -> dict[str, Sizes]:
        """Entries read and written by kind."""
        computed = self.count * ((self.reads + 1) * self.elements + self.extra)
        return {"plain": self.count * self.parameters, "activations": computed}

    @property
    def moved(self) -> Sizes:
        """Entries read and written, of all kinds."""
        return sum(self.entries.values())


Operator = Matmul | Elementwise


def repeated(operator: Operator, count: Sizes, held: Sizes = None) -> Operator:
    """An operator done so often.

    Args:
        operator: of one layer.
        count: how many layers do it.
        held: how many of them have weights of their own; `None` for all.
    """
    whole = dataclasses.replace(operator, count=count * operator.count)
    if isinstance(whole, Elementwise) or isinstance(operator, Elementwise):
        return whole
    shared = held is not None and operator.left not in ("activations", "cache")
    if operator.held is None and not shared:
        return whole
    own = operator.count if operator.held is None else operator.held
    return dataclasses.replace(whole, held=(held if shared else count) * own)


def convolution(
    name: str, channels: tuple[int, int], kernel: int, size: int, *, stride: int = 1, count: int = 1
) -> Matmul:
    """A convolution without bias as the product of its filters with the patches of its input.

    Args:
        name: what it computes.
        channels: of the input and of the output.
        kernel: side of a filter.
        size: side of the output.
        stride: of the filters; the input has sides stride times size.
        count: how many there are.

    Returns:
        The product; patches overlap, so its input has fewer entries than patches.
    """
    before, after = channels
    side = size * stride
    inner = before * kernel**2
    return Matmul(name, "convolution", after, inner, size**2, count=count, full=True, right=before * side**2)


def total(operators: Sequence[Operator], quantity: str, group: str | None = None) -> Any:
    """The sum of a quantity over operators and over the last axis of their sizes.

    Args:
        operators: what is summed over.
        quantity: *flops* or *moved*.
        group: only operators of this class.

    Returns:
        A number, or an array with one a candidate.

    Examples:
        >>> float(total([Matmul("x", "ffn", 2, 3, 5, bias=True)], "flops"))
        60.0
    """
    chosen = [one for one in operators if group in (None, one.group)]
    return sum((np.sum(np.atleast_1d(getattr(one, quantity)), axis=-1, dtype=float) for one in chosen), np.float64(0))

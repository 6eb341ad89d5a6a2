"""Named axes of what a probe records."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from descentlab._check import nearest
from descentlab.mistake import Mistake

__all__ = ["TAKEN", "Axis", "axes_data", "axes_of", "check_axes"]

TAKEN = ("digest", "seed", "step", "probe", "index", "value")
"""Columns of tables of records, now or before axes had names, so that no axis is called so."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """An axis of a recorded array: what its entries are.

    Args:
        name: what is listed along it, such as `layer` or `quantity`; a Python identifier.
        labels: the names of its entries in order; empty where they are numbered from 0.

    Raises:
        Mistake: if the name is no identifier or that of a column, or labels repeat.

    Examples:
        >>> Axis("quantity", ("entropy", "row_sum")).place("row_sum", 2), Axis("layer").place(3, 4)
        (1, 3)
    """

    name: str
    labels: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "labels", tuple(self.labels))
        if not self.name.isidentifier() or self.name in TAKEN:
            raise Mistake(f"an axis needs an identifier other than {', '.join(TAKEN)}, got {self.name!r}; rename it")
        if len(set(self.labels)) < len(self.labels):
            raise Mistake(f"labels of the axis {self.name!r} must differ, got {', '.join(self.labels)}")

    def place(self, entry: str | int, size: int) -> int:
        """The position of an entry.

        Args:
            entry: its label, or its number where entries are numbered.
            size: the length of the axis.

        Raises:
            KeyError: if there is none; names the nearest labels, or the numbers that there are.
        """
        if entry in (self.labels or range(size)):
            return self.labels.index(str(entry)) if self.labels else int(entry)
        known = nearest(str(entry), self.labels) if self.labels else f"known are: 0 to {size - 1}"
        raise KeyError(f"the axis {self.name!r} has no entry {entry!r}; {known}")


def check_axes(owner: str, axes: Sequence[Axis], shape: tuple[int, ...]) -> None:
    """Raise unless axes name every axis of an array.

    Args:
        owner: what the array belongs to, for the message.
        axes: its axes.
        shape: that of the array.

    Raises:
        Mistake: if their number, or that of their labels, is another, or two have one name.
    """
    said = ", ".join(f"{axis.name} ({len(axis.labels) or 'numbered'})" for axis in axes) or "none"
    fits = len(axes) == len(shape) and all(
        len(axis.labels) in (0, size) for axis, size in zip(axes, shape, strict=True)
    )
    if not fits or len({axis.name for axis in axes}) < len(axes):
        raise Mistake(f"the axes of {owner} must name every axis of the shape {shape} once, got {said}; mend `axes`")


def axes_data(axes: Sequence[Axis], shape: tuple[int, ...]) -> list[Any]:
    """The axes of an array of some shape as JSON: of each its name, and its labels or how many entries it has."""
    return [[axis.name, list(axis.labels) or size] for axis, size in zip(axes, shape, strict=True)]


def axes_of(data: Sequence[Any]) -> tuple[tuple[Axis, ...], tuple[int, ...]]:
    """The axes and the shape that `axes_data` wrote down."""
    axes = tuple(Axis(name, tuple(of) if isinstance(of, list) else ()) for name, of in data)
    return axes, tuple(len(of) if isinstance(of, list) else int(of) for _, of in data)

"""Bytes of an entry, for weights, computed entries and the cache apart, and the precisions that a file asks for."""

import dataclasses
from collections.abc import Mapping

from descentlab._check import nearest
from descentlab.cost.operators import KINDS, Operator, Sizes
from descentlab.mistake import Mistake

__all__ = ["BYTES", "Format", "Precision", "format_of", "moved_bytes", "precision"]

BYTES = {
    "int4": 0.5 + 2.5 / 128,
    "nf4": 0.5 + 4 / 64,
    "mxfp4": 0.5 + 1 / 32,
    "nvfp4": 0.5 + 1 / 16,
    "int8": 1.0,
    "fp8": 1.0,
    "bfloat16": 2.0,
    "float16": 2.0,
    "float32": 4.0,
}
"""Bytes of an entry by precision, with the scales beside it: int4 in groups of 128 with a scale of 16 and a zero of 4
bits, nf4 in blocks of 64 with one of 32 bits, mxfp4 and nvfp4 in blocks of 32 and 16 with one of 8 bits."""


@dataclasses.dataclass(frozen=True)
class Format:
    """How an entry lies in memory.

    Attributes:
        name: in words, such as *int4* or *int4 in groups of 64*.
        bytes: of an entry, its share of the scales included.
    """

    name: str
    bytes: float


def format_of(name: str) -> Format:
    """The format of a precision's name.

    Raises:
        Mistake: if there is none.
    """
    if name not in BYTES:
        raise Mistake(f"there is no precision {name!r}; {nearest(name, BYTES)}")
    return Format(name, BYTES[name])


@dataclasses.dataclass(frozen=True)
class Precision:
    """Formats by kind of entry, see `descentlab.cost.operators.KINDS`.

    Attributes:
        weights: of the matrices of layers.
        experts: of the matrices of experts.
        plain: of weights that quantisation leaves out: embeddings, head, routers, norms.
        activations: of what is computed; products are done at the machine's rate for it.
        cache: of cached keys and values.
    """

    weights: Format
    experts: Format
    plain: Format
    activations: Format
    cache: Format

    def bytes(self, kind: str) -> float:
        """Of an entry of a kind."""
        return getattr(self, kind).bytes

    @property
    def computing(self) -> str:
        """The precision whose rate bounds products."""
        return self.activations.name

    @property
    def uniform(self) -> bool:
        """Whether all kinds have one format."""
        return len({getattr(self, kind) for kind in KINDS}) == 1

    @property
    def words(self) -> str:
        """In words, such as *int8*, or *weights int4, activations float16, ...*."""
        if self.uniform:
            return self.activations.name
        kinds = {kind: getattr(self, kind).name for kind in KINDS}
        if kinds["experts"] == kinds["weights"]:
            del kinds["experts"]
        renamed = {"plain": "other weights"}
        return ", ".join(f"{renamed.get(kind, kind)} {name}" for kind, name in kinds.items())


def precision(name: "str | Precision") -> Precision:
    """All entries in one precision, by its name; a `Precision` passes unchanged.

    Raises:
        Mistake: if there is no such precision.
    """
    if isinstance(name, Precision):
        return name
    return Precision(**dict.fromkeys(KINDS, format_of(name)))


def moved_bytes(operator: Operator, of: Precision) -> Sizes:
    """Bytes read and written by an operator, entry by entry of its sizes."""
    return sum(entries * of.bytes(kind) for kind, entries in operator.entries.items())


def weight_bytes(parameters: Mapping[str, Sizes], of: Precision) -> float:
    """Bytes of weights, from their numbers by kind."""
    return float(sum(count * of.bytes(kind) for kind, count in parameters.items()))

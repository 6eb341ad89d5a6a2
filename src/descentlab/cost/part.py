"""What a layer is made of, and what goes through it.

A part knows the operators of a pass and of the steps of a generation, its parameters and what it caches. Sizes may be
arrays, see `descentlab.cost.operators`.
"""

import dataclasses
from abc import ABC, abstractmethod

import numpy as np

from descentlab.cost.operators import Elementwise, Matmul, Operator, Sizes

__all__ = ["NORMS", "AbstractPart", "Embedding", "LinearPart", "Norm", "Residual", "Work"]

NORMS = {"layer": (8, 3), "rms": (4, 2), "affine": (2, 1)}
"""Operations an entry and passes of a normalisation by kind. Those of LayerNorm are fitted to the survey's tables;
without mean and shift it is half of them."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What goes through a part: whole sequences at once, or tokens one by one.

    Attributes:
        batch: sequences at once.
        queries: tokens of a sequence at once.
        context: keys that a query may see; one entry a step where tokens are generated.
        source: tokens of the encoder that cross attention sees.
    """

    batch: int
    queries: int
    context: Sizes
    source: int = 0

    @property
    def generates(self) -> bool:
        """Whether tokens go through one by one, their predecessors cached."""
        return np.ndim(self.context) > 0

    @property
    def ones(self) -> np.ndarray:
        """One a step."""
        return np.ones(np.shape(self.context) or 1)

    @property
    def columns(self) -> int:
        """Tokens at once, of all sequences."""
        return self.batch * self.queries


class AbstractPart(ABC):
    """An immutable piece of a layer."""

    @abstractmethod
    def operators(self, work: Work) -> list[Operator]:
        """What it computes."""

    @property
    def parameters(self) -> dict[str, Sizes]:
        """Its trainable entries by kind, see `descentlab.cost.operators.KINDS`."""
        return {}

    @property
    def active(self) -> Sizes:
        """Those of its parameters that one token meets."""
        return sum(self.parameters.values())

    def cache(self, context: Sizes) -> Sizes:
        """Entries that it caches for one sequence of so many tokens."""
        del context
        return 0

    def crossed(self, source: Sizes) -> Sizes:
        """Entries that it caches for so many tokens of an encoder."""
        del source
        return 0


@dataclasses.dataclass(frozen=True)
class Norm(AbstractPart):
    """A normalisation of every token.

    Attributes:
        part: what it normalises, in its name.
        width: of a token.
        kind: *layer*, *rms*, *affine* (factors and shifts alone) or *none*.
        scale: whether entries have factors.
        shift: whether they have shifts; `None` for what is usual for the kind.
        each: normalisations a token, as of heads that share their factors.
        times: how often it is done in a layer, each with factors of its own.
    """

    part: str
    width: Sizes
    kind: str = "layer"
    scale: bool = True
    shift: bool | None = None
    each: Sizes = 1
    times: int = 1

    @property
    def vectors(self) -> int:
        """Vectors of parameters."""
        shift = self.kind in ("layer", "affine") if self.shift is None else self.shift
        return self.scale + shift

    @property
    def parameters(self) -> dict[str, Sizes]:
        """Factors and shifts."""
        return {} if self.kind == "none" else {"plain": self.times * self.vectors * self.width}

    def operators(self, work: Work) -> list[Operator]:
        """One operator in so many passes as its kind needs."""
        if self.kind == "none":
            return []
        flops, passes = NORMS[self.kind]
        entries = self.each * self.width * work.columns
        return [
            Elementwise(
                f"norm {self.part}", "other", entries, flops, 1, passes, True, parameters=self.vectors * self.width,
                count=self.times * work.ones, row=self.width, kept=entries,
            )
        ]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Residual(AbstractPart):
    """The input of a branch added to its result."""

    part: str
    width: Sizes

    def operators(self, work: Work) -> list[Operator]:
        """One addition an entry."""
        return [Elementwise(f"residual {self.part}", "other", self.width * work.columns, 1, 2, count=work.ones)]


@dataclasses.dataclass(frozen=True)
class Embedding(AbstractPart):
    """Vectors that are looked up; a look-up is not counted.

    Attributes:
        rows: how many there are.
        width: of each.
    """

    rows: int
    width: int

    @property
    def parameters(self) -> dict[str, Sizes]:
        """All vectors."""
        return {"plain": self.rows * self.width}

    def operators(self, work: Work) -> list[Operator]:
        """Nothing."""
        del work
        return []


@dataclasses.dataclass(frozen=True)
class LinearPart(AbstractPart):
    """A product with a matrix outside of attention and feed-forward parts.

    Attributes:
        name: what it computes.
        group: its class of operators.
        width: of its input.
        out: of its result.
        bias: whether a vector is added.
        kind: of its entries, see `descentlab.cost.operators.KINDS`.
        tied: whether the matrix is that of the embedding, so that only its bias is a parameter of its own.
        places: tokens of a sequence that go through; `None` for all.
    """

    name: str
    group: str
    width: Sizes
    out: Sizes
    bias: bool = False
    kind: str = "weights"
    tied: bool = False
    places: int | None = None

    @property
    def parameters(self) -> dict[str, Sizes]:
        """The matrix, unless it is another's, and the bias."""
        matrix = 0 if self.tied else self.width * self.out
        return {self.kind: matrix} | {"plain": (matrix if self.kind == "plain" else 0) + self.bias * self.out}

    def operators(self, work: Work) -> list[Operator]:
        """One product."""
        columns = work.columns if self.places is None else work.batch * self.places
        return [
            Matmul(
                self.name, self.group, self.out, self.width, columns, count=work.ones, bias=self.bias,
                full=True, left=self.kind, kept=self.width * columns,
            )
        ]  # fmt: skip

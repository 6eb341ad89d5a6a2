"""Relative positions of DeBERTa: places are projected to keys and queries, and meet queries and keys."""

import dataclasses

from descentlab.cost.operators import Matmul, Operator, Sizes
from descentlab.cost.part import AbstractPart, Work

__all__ = ["RelativePositions"]


@dataclasses.dataclass(frozen=True)
class RelativePositions(AbstractPart):
    """What disentangled attention adds: He et al. (2021), arXiv:2006.03654, section 3.1.

    Attributes:
        width: of a place's vector.
        heads: of queries.
        head: width of a head.
        span: distances in either direction.
        clipped: whether distances beyond the sequence are left out.
        terms: how many of content to position and position to content there are.
        own: matrices of their own for places; without them those of attention serve.
        own_bias: biases of those.
    """

    width: int
    heads: int
    head: int
    span: int
    clipped: bool = False
    terms: int = 2
    own: bool = False
    own_bias: int = 0

    @property
    def parameters(self) -> dict[str, Sizes]:
        """Matrices of places, where they have their own."""
        inner = self.heads * self.head
        return {"weights": self.own * self.terms * self.width * inner, "plain": self.own_bias * inner}

    def operators(self, work: Work) -> list[Operator]:
        """A projection of places and a product with them for each term; places are the same for all sequences."""
        rows = 2 * (min(self.span, work.queries) if self.clipped else self.span)
        inner, terms = self.heads * self.head, self.terms * work.ones
        projected = Matmul(
            "places", "projections", inner, self.width, rows, count=terms, held=None if self.own else 0 * terms,
            kept=self.width * rows,
        )  # fmt: skip
        scores = Matmul(
            "scores of places", "attention", rows, self.head, work.queries, count=terms * work.batch * self.heads,
            left="activations", wide=True, kept=self.head * rows,
        )  # fmt: skip
        return [projected, scores]

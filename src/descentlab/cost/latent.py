"""Multi-head latent attention: keys and values made from one short vector a token, which alone is cached."""

import dataclasses

from descentlab.cost.attention import KERNELS, AttentionProducts, Kernel, products
from descentlab.cost.operators import Matmul, Operator, Sizes
from descentlab.cost.part import AbstractPart, Norm, Work

__all__ = ["LatentAttention"]


@dataclasses.dataclass(frozen=True)
class LatentAttention(AbstractPart):
    """Attention of DeepSeek-V2: DeepSeek-AI (2024), arXiv:2405.04434, section 2.1.

    A pass makes keys and values of every token. A generation takes them from the cache unmade: queries are brought into
    the space of the latent vectors instead, and sums of those are brought back, as the paper's section 2.1.2 has it.

    Attributes:
        width: of a token.
        heads: of queries.
        query_rank: of the queries' latent vector; `None` where queries are projected at once.
        rank: of the latent vector of keys and values.
        plain: entries of a key that depend on the token alone.
        rotary: entries of a key that depend on its place too; all heads share them.
        value: width of a value.
        bias: whether the first projections add a bias.
        kernel: what makes weights of scores.
    """

    width: int
    heads: int
    query_rank: int | None
    rank: int
    plain: int
    rotary: int
    value: int
    bias: bool = False
    kernel: Kernel = KERNELS["softmax"]

    @property
    def key(self) -> int:
        """Width of a key."""
        return self.plain + self.rotary

    @property
    def parameters(self) -> dict[str, Sizes]:
        """Matrices, biases of the first projections, and the normalisations of latent vectors."""
        inner, short = self.heads * self.key, self.query_rank
        queries = self.width * inner if short is None else short * (self.width + inner)
        pairs = self.width * (self.rank + self.rotary) + self.rank * self.heads * (self.plain + self.value)
        biases = (self.rank + self.rotary + (short or 0)) * self.bias
        vectors = self.rank + (short or 0)
        return {"weights": queries + pairs + self.heads * self.value * self.width, "plain": biases + vectors}

    def cache(self, context: Sizes) -> Sizes:
        """One latent vector and one rotary key a token."""
        return (self.rank + self.rotary) * context

    def operators(self, work: Work) -> list[Operator]:
        """Projections, normalisations, scores, the kernel, and the weighted sums."""
        first = {"key and value latent": (self.rank + self.rotary, self.width)}
        if self.query_rank is None:
            first["query"] = (self.heads * self.key, self.width)
        else:
            first["query latent"] = (self.query_rank, self.width)
        found = [self._projection(name, *sizes, work, bias=self.bias) for name, sizes in first.items()]
        found += Norm("latent", self.rank + (self.query_rank or 0), "rms").operators(work)
        if self.query_rank is not None:
            found.append(self._projection("query", self.heads * self.key, self.query_rank, work))
        found += self._absorbed(work) if work.generates else self._made(work)
        return [*found, self._projection("output", self.width, self.heads * self.value, work)]

    def _made(self, work: Work) -> list[Operator]:
        """Keys and values of every token."""
        pairs = self._projection("keys and values", self.heads * (self.plain + self.value), self.rank, work)
        shape = AttentionProducts(self.heads, 1, self.key, self.value)
        return [pairs, *products(shape, self.kernel, work.context, work)]

    def _absorbed(self, work: Work) -> list[Operator]:
        """Scores against latent vectors, and sums of them, both once for all heads."""
        into, back = (
            Matmul(name, "projections", rows, inner, work.columns, count=work.ones * self.heads)
            for name, rows, inner in (
                ("query to latent", self.rank, self.plain), ("value from latent", self.value, self.rank),
            )
        )  # fmt: skip
        entries = self.rank + self.rotary
        shape = AttentionProducts(1, self.heads, entries, self.rank, appended=entries, common=self.rank)
        return [into, *products(shape, self.kernel, work.context, work), back]

    def _projection(self, name: str, rows: int, inner: int, work: Work, *, bias: bool = False) -> Matmul:
        """One product; the input of the first ones is one and the same."""
        kept = 0 if name == "key and value latent" else inner * work.columns
        return Matmul(name, "projections", rows, inner, work.columns, count=work.ones, bias=bias, kept=kept)

"""Feed-forward parts as operators: plain or gated, one for all tokens or experts of which a router chooses."""

import dataclasses

from descentlab.cost.operators import Elementwise, Matmul, Operator, Sizes
from descentlab.cost.part import AbstractPart, Work

__all__ = ["GELU", "Experts", "FeedForwardPart"]

GELU = 10
"""Operations an entry of GELU, fitted to the survey's tables; SiLU is counted alike."""


@dataclasses.dataclass(frozen=True)
class FeedForwardPart(AbstractPart):
    """Two products with a function between them; gated, a third one whose result multiplies the function's.

    Attributes:
        width: of a token.
        hidden: entries between the products.
        gated: whether there is a gate.
        bias: whether products add a bias.
        out: width of the result; `None` for that of a token.
        name: of its operators.
    """

    width: Sizes
    hidden: Sizes
    gated: bool = False
    bias: bool = True
    out: Sizes = None
    name: str = "ffn"

    @property
    def result(self) -> Sizes:
        """Width of the result."""
        return self.width if self.out is None else self.out

    @property
    def parameters(self) -> dict[str, Sizes]:
        """Two or three matrices, and as many biases."""
        into = 1 + self.gated
        biases = self.bias * (into * self.hidden + self.result)
        return {"weights": self.hidden * (into * self.width + self.result), "plain": biases}

    def operators(self, work: Work) -> list[Operator]:
        """Products into the hidden entries, the function, the product out of them."""
        return _operators(self, work.columns, work.ones)


def _operators(part: FeedForwardPart, columns: Sizes, count: Sizes) -> list[Operator]:
    into = Matmul(
        f"{part.name} in", "ffn", part.hidden, part.width, columns, count=count, bias=part.bias, wide=True,
        kept=part.width * columns,
    )  # fmt: skip
    found: list[Operator] = [into]
    if part.gated:
        found.append(dataclasses.replace(into, name=f"{part.name} gate", kept=0))
    reads = 1 + part.gated
    entries = part.hidden * columns
    activation = "activation" if part.name == "ffn" else f"{part.name} activation"
    found.append(
        Elementwise(
            activation, "other", entries, GELU + part.gated, reads, wide=True, count=count, kept=reads * entries
        )
    )
    out = dataclasses.replace(into, name=f"{part.name} out", rows=part.result, inner=part.hidden, kept=entries)
    return [*found, out]


@dataclasses.dataclass(frozen=True)
class Experts(AbstractPart):
    """Feed-forward parts of which a router chooses some for every token.

    A pass over n tokens reads the weights of the experts that are chosen at least once. Where the choice is uniform
    and independent these are E (1 - (1 - k / E)^n) of E experts on average, k of them for a token.

    Attributes:
        each: one expert.
        count: how many there are.
        chosen: for every token.
        router_bias: whether the router adds a bias.
        extra: parameters besides, such as the factor of shared experts.
    """

    each: FeedForwardPart
    count: int
    chosen: int
    router_bias: bool = False
    extra: int = 0

    @property
    def router(self) -> int:
        """Parameters of the router."""
        return self.count * (self.each.width + self.router_bias)

    @property
    def parameters(self) -> dict[str, Sizes]:
        """Those of all experts and the router."""
        one = self.each.parameters
        return {"experts": self.count * one["weights"], "plain": self.count * one["plain"] + self.router + self.extra}

    @property
    def active(self) -> Sizes:
        """Those of the chosen experts and the router."""
        return self.chosen * self.each.active + self.router + self.extra

    def distinct(self, tokens: Sizes) -> Sizes:
        """Experts that are chosen by at least one of so many tokens, on average."""
        return self.count * (1 - (1 - self.chosen / self.count) ** tokens)

    def operators(self, work: Work) -> list[Operator]:
        """The router, and the products of chosen experts."""
        tokens = work.columns
        read = self.distinct(tokens)
        found: list[Operator] = [
            Matmul("router", "ffn", self.count, self.each.width, tokens, count=work.ones, full=True, left="plain"),
            Elementwise("routing", "other", self.count * tokens, 4, passes=3, count=work.ones, row=self.count),
        ]
        for one in _operators(self.each, tokens * self.chosen / read, work.ones * read):
            expert = f"expert {one.name.removeprefix('ffn ')}"
            changed = {"left": "experts"} if isinstance(one, Matmul) else {}
            found.append(dataclasses.replace(one, name=expert, **changed))
        mixed = Elementwise(
            "mixture", "other", self.each.result * tokens, 2 * self.chosen, self.chosen, count=work.ones
        )
        return [*found, mixed]

"""What readers of encoder-decoders share."""

import dataclasses
from collections.abc import Sequence

from descentlab.cost.attention import Attention
from descentlab.cost.feed_forward import FeedForwardPart
from descentlab.cost.model import Layer, Model, Repeated, Stack
from descentlab.cost.part import AbstractPart, Norm, Residual

__all__ = ["Side", "pair"]


@dataclasses.dataclass(frozen=True)
class Side:
    """An encoder or a decoder without what stands in its layers.

    Attributes:
        name: *encoder* or *decoder*.
        layers: how many.
        before: parts ahead of the layers.
        after: parts behind them.
        length: tokens where those are fixed.
    """

    name: str
    layers: int
    before: tuple[AbstractPart, ...]
    after: tuple[AbstractPart, ...]
    length: int | None = None


def pair(
    family: str,
    sides: Sequence[Side],
    attention: tuple[Attention, Attention, Attention],
    fed: tuple[FeedForwardPart, FeedForwardPart],
    norm: str,
) -> Model:
    """An encoder and a decoder.

    Args:
        family: its name.
        sides: encoder, then decoder.
        attention: of the encoder, of the decoder, and from the decoder to the encoder.
        fed: the feed-forward part of the encoder and of the decoder.
        norm: kind of the normalisations.
    """
    branches: list[list[tuple[str, AbstractPart]]] = [
        [("attention", attention[0]), ("ffn", fed[0])],
        [("attention", attention[1]), ("cross attention", attention[2]), ("ffn", fed[1])],
    ]
    stacks = []
    for side, parts in zip(sides, branches, strict=True):
        found: list[AbstractPart] = []
        for name, part in parts:
            found += [part, Norm(name, attention[0].out, norm), Residual(name, attention[0].out)]
        kind = "full attention" if side.name == "encoder" else "full and cross attention"
        runs = (Repeated(Layer(kind, tuple(found)), side.layers),)
        stacks.append(Stack(side.name, runs, side.before, side.after, side.length))
    return Model(family, tuple(stacks), causal=True)

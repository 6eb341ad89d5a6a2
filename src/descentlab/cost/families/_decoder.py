"""What readers of decoders share: how a block is put together, which layers see a window, embeddings and head."""

import dataclasses
from collections.abc import Sequence

from descentlab.cost.attention import Attention
from descentlab.cost.fields import Fields, Refused
from descentlab.cost.model import Layer, Model, Stack, stacked
from descentlab.cost.part import AbstractPart, Embedding, LinearPart, Norm, Residual

__all__ = ["DecoderTraits", "Windows", "attention", "decoder", "groups", "head_width", "seen", "windows"]


@dataclasses.dataclass(frozen=True)
class DecoderTraits:
    """What tells the blocks of one architecture from those of another.

    Attributes:
        gated: whether the feed-forward part is gated.
        norm: *layer* or *rms*.
        scale: whether normalisations have factors.
        shift: whether they have shifts; `None` for what is usual for the kind.
        norms: normalisations a layer.
        final: normalisations behind the last layer.
    """

    gated: bool = True
    norm: str = "rms"
    scale: bool = True
    shift: bool | None = None
    norms: int = 2
    final: int = 1

    def layer(self, kind: str, attention: AbstractPart, fed: Sequence[AbstractPart], width: int) -> Layer:
        """Attention and a feed-forward part, each with its normalisations and its residual addition."""
        first = (self.norms + 1) // 2
        return Layer(
            kind,
            (
                attention, *self.normalized("attention", width, first), Residual("attention", width),
                *fed, *self.normalized("ffn", width, self.norms - first), Residual("ffn", width),
            ),
        )  # fmt: skip

    def normalized(self, part: str, width: int, times: int) -> list[AbstractPart]:
        """So many normalisations of tokens."""
        return [Norm(part, width, self.norm, self.scale, self.shift, times=times)] if times else []


@dataclasses.dataclass(frozen=True)
class Windows:
    """Which layers of an architecture see a window where the file has no `layer_types`.

    Attributes:
        rule: *none*; *all*; *period*, all but every so manyth; *flag*, those from `max_window_layers` on where
            `use_sliding_window` says so.
        period: of the rule of that name.
        default: the window where the file gives none.
    """

    rule: str = "none"
    period: int = 1
    default: int | None = None


def windows(fields: Fields, layers: int, usual: Windows) -> list[int | None]:
    """The window of every layer, `None` where it sees all keys.

    Raises:
        Refused: if a layer is of an unknown type, or there are not as many types as layers.
    """
    types = fields.items("layer_types", str)
    fields.passed("sliding_window_pattern", "_sliding_window_pattern")
    if types is not None:
        return _of_types(fields, types, layers, usual.default)
    if usual.rule == "none":
        fields.read.discard("sliding_window")
        return [None] * layers
    if usual.rule == "flag":
        asked, first = fields.flag("use_sliding_window", False), fields.whole("max_window_layers", default=0, least=0)
        window = fields.whole("sliding_window", default=usual.default)
        return [window if asked and at >= first else None for at in range(layers)]
    window = fields.whole("sliding_window", default=usual.default if "sliding_window" not in fields.data else None)
    period = fields.whole("sliding_window_pattern", "_sliding_window_pattern", default=usual.period)
    if usual.rule == "all" or window is None:
        return [window] * layers
    return [None if (at + 1) % period == 0 else window for at in range(layers)]


def _of_types(fields: Fields, types: list[str], layers: int, default: int | None) -> list[int | None]:
    if len(types) != layers:
        raise Refused(f"{fields.where}: layer_types must name {layers} layers, got {len(types)}")
    other = next((one for one in types if one not in _TYPES), None)
    if other is not None:
        raise Refused(
            f"{fields.where}: layer_types has {other!r}, a layer whose cost is not known; known are {', '.join(_TYPES)}"
        )
    fields.passed("max_window_layers", "use_sliding_window")
    found = {"full_attention": None}
    for kind, name in _TYPES.items():
        if name is not None:
            fields.passed(name)
            if kind in types:
                found[kind] = fields.whole(name, default=default) if default else fields.whole(name)
    return [found[one] for one in types]


_TYPES = {
    "full_attention": None,
    "sliding_attention": "sliding_window",
    "chunked_attention": "attention_chunk_size",
}
"""Types of layers and the field that has their window."""


def head_width(fields: Fields, width: int, heads: int, *names: str, default: int | None = None) -> int:
    """The width of a head: a field's, or the token width's share.

    Raises:
        Refused: if heads do not divide the token width and no field says.
    """
    found = fields.whole(*(names or ("head_dim",)), default=default)
    if found is None and width % heads:
        raise Refused(f"{fields.where}: heads must divide the width, got {heads} heads and a width of {width}")
    return width // heads if found is None else found


def groups(fields: Fields, heads: int, *names: str, default: int | None = None) -> int:
    """Key and value heads.

    Raises:
        Refused: if they do not divide the heads.
    """
    found = fields.whole(*(names or ("num_key_value_heads",)), default=default or heads)
    if heads % found:
        raise Refused(f"{fields.where}: heads of keys and values must divide those of queries, got {found} and {heads}")
    return found


def attention(width: int, heads: int, head: int, keys: int, **others) -> Attention:
    """Attention of tokens to tokens of the same width."""
    return Attention(width, heads, head, keys, width, width, **others)


def decoder(
    fields: Fields,
    family: str,
    layers: Sequence[Layer],
    block: DecoderTraits,
    width: int,
    **ends: bool | int | None,
) -> Model:
    """A decoder with its embedding, its last normalisation and its head.

    Args:
        fields: of the configuration.
        family: its name.
        layers: first to last.
        block: for the last normalisation.
        width: of a token.
        ends: *tied*, whether the head is the embedding where the file does not say; *positions*, rows of learned
            places; *head_bias*; *embedded*, the width of the embedding; *embedding_norm*.
    """
    rows, tied = fields.whole("vocab_size"), fields.flag("tie_word_embeddings", bool(ends.get("tied", False)))
    short = int(ends.get("embedded") or width)
    before: list[AbstractPart] = [Embedding(rows, short)]
    if ends.get("positions"):
        before.append(Embedding(int(ends["positions"] or 0), width))
    if short != width:
        before.append(LinearPart("embedding in", "projections", short, width))
    if ends.get("embedding_norm"):
        before += block.normalized("embedding", width, 1)
    after = block.normalized("last", width, block.final)
    if short != width:
        after.append(LinearPart("embedding out", "projections", width, short))
    after.append(LinearPart("head", "head", short, rows, bool(ends.get("head_bias")), "plain", tied))
    stack = Stack("decoder", stacked(layers), tuple(before), tuple(after))
    return Model(family, (stack,), causal=True)


def seen(window: int | None) -> str:
    """A layer's attention in words."""
    return "full attention" if window is None else f"window of {window}"

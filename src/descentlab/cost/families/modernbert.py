"""ModernBERT: an encoder with gates, most of whose layers see a window around a token."""

from descentlab.cost.families import ArchitectureFamily
from descentlab.cost.families._decoder import DecoderTraits, attention, head_width, seen
from descentlab.cost.families.bert import _head
from descentlab.cost.feed_forward import FeedForwardPart
from descentlab.cost.fields import Fields, Refused
from descentlab.cost.model import Layer, Model, Stack, stacked
from descentlab.cost.part import Embedding

__all__ = ["FAMILY"]


def read(fields: Fields) -> Model:
    """The encoder of a configuration; a token sees half of `local_attention` on either side, and itself."""
    width, heads = fields.whole("hidden_size"), fields.whole("num_attention_heads")
    layers, hidden = fields.layers("num_hidden_layers"), fields.whole("intermediate_size")
    bias, mlp_bias, shift = (fields.flag(name, False) for name in ("attention_bias", "mlp_bias", "norm_bias"))
    head = head_width(fields, width, heads)
    window = 2 * (fields.whole("local_attention", default=128) // 2) + 1

    def layer(at: int, local: bool) -> Layer:
        # The first layer has no normalisation before attention, since embeddings are normalised.
        block = DecoderTraits(norm="layer", shift=shift, norms=2 if at else 1)
        seeing = window if local else None
        part = attention(width, heads, head, heads, bias=bias, out_bias=bias, window=seeing)
        return block.layer(seen(seeing), part, [FeedForwardPart(width, hidden, gated=True, bias=mlp_bias)], width)

    block = DecoderTraits(norm="layer", shift=shift)
    each = [layer(at, local) for at, local in enumerate(_local(fields, layers))]
    before = (Embedding(fields.whole("vocab_size"), width), *block.normalized("embedding", width, 1))
    stack = Stack("encoder", stacked(each), before, tuple(block.normalized("last", width, 1)))
    return Model(FAMILY.name, (stack,), uncounted=_head(fields))


def _local(fields: Fields, layers: int) -> list[bool]:
    """Which layers see a window."""
    types = fields.items("layer_types", str)
    every = fields.whole("global_attn_every_n_layers", default=3)
    if types is None:
        return [at % every != 0 for at in range(layers)]
    if len(types) != layers or set(types) - {"full_attention", "sliding_attention"}:
        raise Refused(f"{fields.where}: layer_types must name {layers} layers, full_attention or sliding_attention")
    return [one == "sliding_attention" for one in types]


FAMILY = ArchitectureFamily(
    "ModernBERT",
    ("modernbert",),
    read,
    "hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, vocab_size, local_attention, layer_types, "
    "global_attn_every_n_layers, attention_bias, mlp_bias, norm_bias",
)

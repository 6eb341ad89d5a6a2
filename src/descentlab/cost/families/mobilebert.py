"""MobileBERT: narrow layers between bottlenecks, several feed-forward parts in each."""

from descentlab.cost.attention import Attention
from descentlab.cost.families import ArchitectureFamily
from descentlab.cost.families.bert import _head
from descentlab.cost.feed_forward import FeedForwardPart
from descentlab.cost.fields import Fields, Refused
from descentlab.cost.model import Layer, Model, Repeated, Stack
from descentlab.cost.part import AbstractPart, Embedding, LinearPart, Norm, Residual

__all__ = ["FAMILY"]


def read(fields: Fields) -> Model:
    """The encoder of a configuration."""
    width, short = fields.whole("hidden_size"), fields.whole("embedding_size", default=128)
    kind = {"no_norm": "affine", "layer_norm": "layer"}.get(fields.text("normalization_type", "no_norm"))
    if kind is None:
        raise Refused(f"{fields.where}: normalization_type must be no_norm or layer_norm")
    inputs = (3 if fields.flag("trigram_input", True) else 1) * short
    before: list[AbstractPart] = [
        Embedding(fields.whole("vocab_size"), short),
        Embedding(fields.whole("max_position_embeddings", default=512), width),
        Embedding(fields.whole("type_vocab_size", default=2), width),
        Norm("embedding", width, kind),
    ]
    if inputs != short or short != width:
        before.append(LinearPart("embedding in", "projections", inputs, width, True))
    layer = Layer("full attention", _parts(fields, width, kind))
    pooler = fields.flag("classifier_activation", True)
    after = (LinearPart("pooler", "projections", width, width, True, "plain", places=1),) * pooler
    stack = Stack("encoder", (Repeated(layer, fields.layers("num_hidden_layers")),), tuple(before), after)
    return Model(FAMILY.name, (stack,), uncounted=_head(fields))


def _parts(fields: Fields, width: int, kind: str) -> tuple[AbstractPart, ...]:
    """One layer; without bottlenecks everything has the token width."""
    narrow = fields.flag("use_bottleneck", True)
    inner = fields.whole("intra_bottleneck_size", default=128) if narrow else width
    fields.passed("true_hidden_size")
    heads, hidden = fields.whole("num_attention_heads"), fields.whole("intermediate_size")
    if inner % heads:
        raise Refused(f"{fields.where}: num_attention_heads must divide the width {inner}, got {heads}")
    whole, shared = fields.flag("use_bottleneck_attention", False), fields.flag("key_query_shared_bottleneck", True)
    shared_in = narrow and (whole or shared)
    queries, values = (inner if shared_in else width), (inner if narrow and whole else width)
    bottlenecks = 0 if not narrow else 2 if shared and not whole else 1
    found: list[AbstractPart] = [LinearPart("bottleneck in", "projections", width, inner, True)] * bottlenecks
    found += [Norm("bottleneck", inner, kind)] * bottlenecks
    found += [
        Attention(queries, heads, inner // heads, heads, inner, queries, value_width=values),
        Norm("attention", inner, kind),
        Residual("attention", inner),
    ]
    for _ in range(fields.layers("num_feedforward_networks", default=4)):
        found += [FeedForwardPart(inner, hidden), Norm("ffn", inner, kind), Residual("ffn", inner)]
    if narrow:
        found += [LinearPart("bottleneck out", "projections", inner, width, True), Norm("bottleneck out", width, kind)]
    return tuple(found)


FAMILY = ArchitectureFamily(
    "MobileBERT",
    ("mobilebert",),
    read,
    "hidden_size, embedding_size, trigram_input, use_bottleneck, intra_bottleneck_size, use_bottleneck_attention, "
    "key_query_shared_bottleneck, num_feedforward_networks, num_attention_heads, num_hidden_layers, intermediate_size, "
    "vocab_size, max_position_embeddings, type_vocab_size, normalization_type",
)

"""Encoders: BERT, RoBERTa, ELECTRA, DistilBERT, MPNet, ALBERT with shared layers, DeBERTa with relative positions."""

import dataclasses

from descentlab.cost.families import ArchitectureFamily
from descentlab.cost.families._decoder import DecoderTraits, attention, head_width
from descentlab.cost.feed_forward import FeedForwardPart
from descentlab.cost.fields import Fields, Refused
from descentlab.cost.model import Layer, Model, Repeated, Stack
from descentlab.cost.part import AbstractPart, Embedding, LinearPart, Norm
from descentlab.cost.relative import RelativePositions

__all__ = ["FAMILY", "BertType"]


@dataclasses.dataclass(frozen=True)
class BertType:
    """Field names of a model type, and what it means where its file does not say.

    Attributes:
        width: names of the token width, and so on.
        layers: of the number of layers.
        heads: of the number of heads.
        hidden: of the width of the feed-forward part.
        pooler: whether the first token goes through a layer of its own.
        segments: sentences that are told apart where the file does not say.
        relative: *none*; *buckets*, a number a head for 32 distances; *deberta*.
        before: whether normalisations stand before their branches, so that there is one more behind the last layer.
        embedding_norm: whether embeddings are normalised.
    """

    width: str = "hidden_size"
    layers: str = "num_hidden_layers"
    heads: str = "num_attention_heads"
    hidden: str = "intermediate_size"
    pooler: bool = True
    segments: int = 2
    relative: str = "none"
    before: bool = False
    embedding_norm: bool = True


TYPES = {
    "bert": BertType(),
    "roberta": BertType(),
    "xlm-roberta": BertType(),
    "camembert": BertType(),
    "ernie": BertType(),
    "megatron-bert": BertType(before=True, embedding_norm=False),
    "roberta-prelayernorm": BertType(before=True),
    "electra": BertType(pooler=False),
    "distilbert": BertType("dim", "n_layers", "n_heads", "hidden_dim", pooler=False, segments=0),
    "mpnet": BertType(segments=0, relative="buckets"),
    "albert": BertType(),
    "deberta": BertType(pooler=False, segments=0, relative="deberta"),
    "deberta-v2": BertType(pooler=False, segments=0, relative="deberta"),
}
"""Model types and their names."""


def read(fields: Fields) -> Model:
    """The encoder of a configuration, or the decoder that `is_decoder` makes of it."""
    kind = TYPES[fields.model_type]
    width, heads = fields.whole(kind.width), fields.whole(kind.heads)
    head, layers = head_width(fields, width, heads, "head_dim"), fields.layers(kind.layers)
    causal = fields.flag("is_decoder", False)
    if fields.flag("add_cross_attention", False):
        raise Refused(f"{fields.where}: cross attention of a {fields.model_type} (add_cross_attention) is not counted")
    places = _places(fields, width, heads, head) if kind.relative == "deberta" else []
    own_bias = fields.model_type != "deberta"
    part = attention(width, heads, head, heads, key_bias=own_bias, bias=True, extra=0 if own_bias else -width)
    block = DecoderTraits(gated=False, norm="layer", final=int(kind.before))
    fed = FeedForwardPart(width, fields.whole(kind.hidden))
    layer = block.layer("full attention", part, [fed], width)
    layer = dataclasses.replace(layer, parts=(layer.parts[0], *places, *layer.parts[1:]))
    before, after = _embedded(fields, kind, width), block.normalized("last", width, block.final)
    if kind.relative == "buckets":
        before.append(Embedding(fields.whole("relative_attention_num_buckets", default=32), heads))
    for part in places:
        before.append(Embedding(2 * part.span, width))
        if fields.text("norm_rel_ebd", "none") == "layer_norm":
            before.append(Embedding(2, width))
    uncounted = () if causal else _head(fields)
    if causal:
        after.append(LinearPart("head transform", "head", width, width, True, "plain"))
        after.append(LinearPart("head", "head", width, fields.whole("vocab_size"), True, "plain", tied=True))
    elif kind.pooler:
        after.append(LinearPart("pooler", "projections", width, width, True, "plain", places=1))
    stack = Stack("encoder", (_repeated(fields, layer, layers),), tuple(before), tuple(after))
    return Model(FAMILY.name, (stack,), causal=causal, uncounted=uncounted)


def _repeated(fields: Fields, layer: Layer, layers: int) -> Repeated:
    """Layers, of which those of ALBERT are the same few again and again."""
    if fields.model_type != "albert":
        return Repeated(layer, layers)
    groups, inner = fields.layers("num_hidden_groups", default=1), fields.layers("inner_group_num", default=1)
    if groups > layers:
        raise Refused(f"{fields.where}: num_hidden_groups must be at most num_hidden_layers, got {groups} and {layers}")
    words = f"full attention, {groups * inner} with weights of their own"
    return Repeated(dataclasses.replace(layer, kind=words), layers * inner, groups * inner)


def _embedded(fields: Fields, kind: BertType, width: int) -> list[AbstractPart]:
    """Words, places and sentences, brought to the token width."""
    known = fields.model_type in ("albert", "electra", "deberta", "deberta-v2")
    short = fields.whole("embedding_size", default=128 if fields.model_type == "albert" else width) if known else width
    found: list[AbstractPart] = [Embedding(fields.whole("vocab_size"), short)]
    if kind.relative != "deberta" or fields.flag("position_biased_input", True):
        found.append(Embedding(fields.whole("max_position_embeddings", default=512), short))
    segments = fields.whole("type_vocab_size", default=kind.segments, least=0) if kind.segments or known else 0
    if segments:
        found.append(Embedding(segments, short))
    bias = not fields.model_type.startswith("deberta")
    linear = [LinearPart("embedding in", "projections", short, width, bias)] if _mapped(fields, short, width) else []
    # The normalisation of DeBERTa's embeddings stands behind the product, that of the others before it.
    norm = [Norm("embedding", short if bias else width)] if kind.embedding_norm else []
    return [*found, *norm, *linear] if bias else [*found, *linear, *norm]


def _mapped(fields: Fields, short: int, width: int) -> bool:
    """Whether embeddings go through a product: always in ALBERT, elsewhere where they are of another width."""
    return fields.model_type == "albert" or short != width


def _places(fields: Fields, width: int, heads: int, head: int) -> list[RelativePositions]:
    """Relative positions of DeBERTa, the vectors of which all layers share.

    Raises:
        Refused: if there is a convolution beside the first layer.
    """
    if not fields.flag("relative_attention", False):
        fields.passed("pos_att_type", "position_buckets")
        return []
    if fields.whole("conv_kernel_size", default=0, least=0):
        raise Refused(f"{fields.where}: the convolution of a DeBERTa (conv_kernel_size) is not counted")
    given = fields.data.get("pos_att_type")
    terms = given.split("|") if isinstance(given, str) else fields.items("pos_att_type", str) or []
    fields.passed("pos_att_type")
    if not set(terms) <= {"c2p", "p2c"}:
        raise Refused(f"{fields.where}: pos_att_type must name c2p and p2c only, got {terms}")
    longest = fields.whole("max_relative_positions", default=-1, least=-1)
    span = fields.whole("max_position_embeddings", default=512) if longest < 1 else longest
    second = fields.model_type == "deberta-v2"
    buckets = fields.whole("position_buckets", default=-1, least=-1) if second else -1
    span = buckets if buckets > 0 else span
    own = not (second and fields.flag("share_att_key", False))
    biases = own * (len(terms) if second else "p2c" in terms)
    return [RelativePositions(width, heads, head, span, not second, len(terms), own, biases)]


def _head(fields: Fields) -> tuple[str, ...]:
    """The head of an encoder that its file names, which is not counted."""
    names = fields.items("architectures", str) or []
    headed = [name for name in names if "For" in name]
    return tuple(f"the head of {name}" for name in headed)


FAMILY = ArchitectureFamily(
    "encoders (BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA, DistilBERT, MPNet, ALBERT, DeBERTa)",
    tuple(TYPES),
    read,
    "hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, or dim, n_layers, n_heads, hidden_dim; "
    "embedding_size, num_hidden_groups, inner_group_num, max_position_embeddings, type_vocab_size, vocab_size, "
    "relative_attention, pos_att_type, position_buckets, max_relative_positions, share_att_key, is_decoder",
)

"""Dense decoders of the time before Llama, each with field names of its own: GPT-2, OPT, BLOOM, MPT, CTRL, ..."""

import dataclasses

from descentlab.cost.families import ArchitectureFamily
from descentlab.cost.families._decoder import DecoderTraits, attention, decoder, groups, head_width, seen
from descentlab.cost.feed_forward import FeedForwardPart
from descentlab.cost.fields import Fields, Refused
from descentlab.cost.model import Model

__all__ = ["FAMILY", "TYPES", "Names"]


@dataclasses.dataclass(frozen=True)
class Names:
    """Field names of a model type, and what it means where its file does not say.

    Attributes:
        width: names of the token width, and so on.
        layers: of the number of layers.
        heads: of the number of heads.
        hidden: of the width of the feed-forward part, which is four token widths where the file does not say.
        places: of the number of learned places; empty where there are none.
        offset: places more than the file says.
        bias: whether queries, keys and values have biases.
        out_bias: whether the output projection has one.
        norms: normalisations a layer.
        final: normalisations behind the last layer.
        tied: whether the head is the embedding.
        head_bias: whether the head has a bias.
        embedding_norm: whether embeddings are normalised.
        shift: whether normalisations have shifts.
    """

    width: tuple[str, ...] = ("n_embd",)
    layers: tuple[str, ...] = ("n_layer",)
    heads: tuple[str, ...] = ("n_head",)
    hidden: tuple[str, ...] = ("n_inner",)
    places: tuple[str, ...] = ()
    offset: int = 0
    bias: bool = True
    out_bias: bool = True
    norms: int = 2
    final: int = 1
    tied: bool = True
    head_bias: bool = False
    embedding_norm: bool = False
    shift: bool = True


_PLACES = ("n_positions",)
_HIDDEN = ("hidden_size",)

TYPES = {
    "gpt2": Names(places=_PLACES),
    "openai-gpt": Names(places=_PLACES, final=0, hidden=()),
    "gpt_bigcode": Names(places=_PLACES),
    "gptj": Names(bias=False, out_bias=False, norms=1, tied=False, head_bias=True),
    "codegen": Names(bias=False, out_bias=False, norms=1, tied=False, head_bias=True),
    "ctrl": Names(hidden=("dff",), head_bias=True),
    "gpt_neo": Names(
        width=_HIDDEN, layers=("num_layers",), heads=("num_heads",), hidden=("intermediate_size",), bias=False,
        places=("max_position_embeddings",),
    ),
    "opt": Names(
        width=_HIDDEN, layers=("num_hidden_layers",), heads=("num_attention_heads",), hidden=("ffn_dim",), offset=2,
        places=("max_position_embeddings",),
    ),
    "xglm": Names(
        width=("d_model",), layers=("num_layers",), heads=("attention_heads",), hidden=("ffn_dim",),
    ),
    "biogpt": Names(
        width=_HIDDEN, layers=("num_hidden_layers",), heads=("num_attention_heads",), hidden=("intermediate_size",),
        offset=2, places=("max_position_embeddings",),
    ),
    "bloom": Names(
        width=("hidden_size", "n_embed"), heads=("n_head", "num_attention_heads"), hidden=(), embedding_norm=True,
        layers=("n_layer", "num_hidden_layers"),
    ),
    "mpt": Names(
        width=("d_model",), layers=("n_layers",), heads=("n_heads",), hidden=(), bias=False, out_bias=False, shift=False
    ),
}  # fmt: skip
"""Model types and their names."""


def read(fields: Fields) -> Model:
    """The decoder of a configuration."""
    names, kind = TYPES[fields.model_type], fields.model_type
    width, heads, layers = fields.whole(*names.width), fields.whole(*names.heads), fields.layers(*names.layers)
    hidden = _hidden(fields, names, width)
    places = fields.whole(*names.places, default=1024) + names.offset if names.places else 0
    keys = 1 if kind == "gpt_bigcode" and fields.flag("multi_query", True) else heads
    norms, final, embedded = names.norms, names.final, width
    if kind == "opt":
        embedded = fields.whole("word_embed_proj_dim", default=width)
        final = int(fields.flag("do_layer_norm_before", True) and not fields.flag("_remove_final_layer_norm", False))
    if kind == "gpt_bigcode":
        fields.passed("attention_softmax_in_fp32", "num_key_value_heads")
    if kind == "mpt":
        keys = _mpt(fields, heads)
    if kind in ("gpt2", "openai-gpt") and fields.flag("add_cross_attention", False):
        raise Refused(f"{fields.where}: cross attention of a {kind} (add_cross_attention) is not counted")
    block = DecoderTraits(gated=False, norm="layer", shift=names.shift, norms=norms, final=final)
    bias = names.bias and (kind != "opt" or fields.flag("enable_bias", True))
    out_bias = names.out_bias and (kind != "opt" or bias)
    mlp_bias = kind != "mpt" and (kind != "opt" or bias)
    fed = FeedForwardPart(width, hidden, bias=mlp_bias)
    head = head_width(fields, width, heads, "head_dim")
    each = [
        block.layer(
            seen(window),
            attention(width, heads, head, keys, bias=bias, out_bias=out_bias, window=window),
            [fed],
            width,
        )
        for window in _windows(fields, layers)
    ]
    return decoder(
        fields, FAMILY.name, each, block, width, tied=names.tied, positions=places,
        head_bias=names.head_bias, embedded=embedded, embedding_norm=names.embedding_norm,
    )  # fmt: skip


def _hidden(fields: Fields, names: Names, width: int) -> int:
    """The width of the feed-forward part."""
    if fields.model_type == "mpt":
        return int(fields.number("expansion_ratio", 4.0) * width)
    if fields.model_type == "ctrl":
        return fields.whole("dff")
    return fields.whole(*names.hidden, default=4 * width) if names.hidden else 4 * width


def _mpt(fields: Fields, heads: int) -> int:
    """Key and value heads of MPT, whose attention has a configuration of its own."""
    inner = fields.inner("attn_config")
    return heads if inner is None else groups(inner, heads, "kv_n_heads")


def _windows(fields: Fields, layers: int) -> list[int | None]:
    """The window of every layer; GPT-Neo writes the pattern as [[["global", "local"], 12]]."""
    if fields.model_type != "gpt_neo":
        return [None] * layers
    fields.passed("attention_types")
    given = fields.items("attention_layers", str)
    kinds = (["global", "local"] * layers)[:layers] if given is None else given
    if len(kinds) != layers or set(kinds) - {"global", "local"}:
        raise Refused(f"{fields.where}: attention_layers must name {layers} layers, each global or local")
    window = fields.whole("window_size", default=256)
    return [window if kind == "local" else None for kind in kinds]


FAMILY = ArchitectureFamily(
    "dense decoders before Llama (GPT-2, GPT-J, GPT-Neo, CTRL, OPT, XGLM, BLOOM, MPT, StarCoder, ...)",
    tuple(TYPES),
    read,
    "n_embd, hidden_size or d_model; n_layer, num_hidden_layers, num_layers or n_layers; n_head and its relatives; "
    "n_inner, ffn_dim, dff, intermediate_size or expansion_ratio; n_positions, max_position_embeddings; multi_query, "
    "kv_n_heads, word_embed_proj_dim, do_layer_norm_before, attention_layers, window_size, vocab_size, "
    "tie_word_embeddings",
)

"""Dense decoders with the common field names: Llama and its relatives, with and without gates."""

import dataclasses

from descentlab.cost.families import ArchitectureFamily
from descentlab.cost.families._decoder import (
    DecoderTraits,
    Windows,
    attention,
    decoder,
    groups,
    head_width,
    seen,
    windows,
)
from descentlab.cost.feed_forward import FeedForwardPart
from descentlab.cost.fields import Fields
from descentlab.cost.model import Model

__all__ = ["FAMILY", "TYPES", "DenseType"]


@dataclasses.dataclass(frozen=True)
class DenseType:
    """What a model type means where its file does not say.

    Attributes:
        block: how layers are put together.
        bias: whether queries, keys and values have biases.
        bias_field: the field that says so.
        out_bias: whether the output projection has one; `None` for as the others.
        mlp_bias: whether the feed-forward part has biases.
        mlp_field: the field that says so; empty where none does.
        norm: parameters of the normalisations of queries and keys: *none*, *head* or *all*.
        norm_field: the flag that asks for them; empty where none does.
        tied: whether the head is the embedding.
        head: the width of a head; `None` for the token width's share.
        windows: which layers see a window.
        parallel: the flag for branches side by side, which have one normalisation less; empty where none does.
        head_bias: whether the head has a bias.
    """

    block: DecoderTraits = DecoderTraits()
    bias: bool = False
    bias_field: str = "attention_bias"
    out_bias: bool | None = None
    mlp_bias: bool = False
    mlp_field: str = "mlp_bias"
    norm: str = "none"
    norm_field: str = ""
    tied: bool = False
    head: int | None = None
    windows: Windows = Windows()
    parallel: str = ""
    head_bias: bool = False


_LLAMA = DenseType(mlp_field="")
_LAYER = DecoderTraits(norm="layer")
_OUTER = DenseType(norm="all", mlp_field="")
_GEMMA = DenseType(tied=True, head=256, mlp_field="")
_PLAIN = DecoderTraits(gated=False, norm="layer")

TYPES = {
    "llama": DenseType(),
    "mistral": dataclasses.replace(_LLAMA, windows=Windows("all", default=4096)),
    "ministral": dataclasses.replace(_LLAMA, windows=Windows("all", default=4096)),
    "granite": DenseType(),
    "internlm2": dataclasses.replace(_LLAMA, bias_field="bias"),
    "baichuan": _LLAMA,
    "smollm3": dataclasses.replace(DenseType(), tied=True, windows=Windows("flag")),
    "qwen2": dataclasses.replace(
        _LLAMA, bias=True, bias_field="", out_bias=False, windows=Windows("flag", default=4096)
    ),
    "qwen3": dataclasses.replace(_LLAMA, norm="head", head=128, windows=Windows("flag", default=4096)),
    "seed_oss": dataclasses.replace(DenseType(), bias=True, out_bias=False, head=128),
    "phi3": dataclasses.replace(_LLAMA, bias_field="", windows=Windows("all")),
    "glm": dataclasses.replace(_LLAMA, out_bias=False, head=128),
    "glm4": dataclasses.replace(_LLAMA, out_bias=False, head=128, block=DecoderTraits(norms=4)),
    "gemma": _GEMMA,
    "gemma2": dataclasses.replace(_GEMMA, block=DecoderTraits(norms=4), windows=Windows("period", 2, 4096)),
    "gemma3_text": dataclasses.replace(
        _GEMMA, block=DecoderTraits(norms=4), norm="head", windows=Windows("period", 6, 4096)
    ),
    "olmo": dataclasses.replace(_LLAMA, block=DecoderTraits(norm="layer", scale=False, shift=False)),
    "olmo2": _OUTER,
    "olmo3": dataclasses.replace(_OUTER, windows=Windows("period", 4, 4096)),
    "stablelm": DenseType(
        block=_LAYER, bias_field="use_qkv_bias", out_bias=False, mlp_field="", norm="each", norm_field="qk_layernorm",
        parallel="use_parallel_residual",
    ),
    "cohere": DenseType(
        block=DecoderTraits(norm="layer", shift=False, norms=1), mlp_field="", tied=True, norm="each",
        norm_field="use_qk_norm",
    ),
    "cohere2": DenseType(
        block=DecoderTraits(norm="layer", shift=False, norms=1), mlp_field="", tied=True,
        windows=Windows("period", 4, 4096),
    ),
    "starcoder2": DenseType(
        block=_PLAIN, bias=True, bias_field="use_bias", mlp_bias=True, mlp_field="use_bias", tied=True,
        windows=Windows("all"),
    ),
    "nemotron": DenseType(block=_PLAIN),
    "arcee": DenseType(block=DecoderTraits(gated=False)),
    "phi": DenseType(
        block=dataclasses.replace(_PLAIN, norms=1), bias=True, bias_field="", mlp_bias=True, mlp_field="",
        norm="shared", norm_field="qk_layernorm", head_bias=True,
    ),
    "gpt_neox": DenseType(block=_PLAIN, bias=True, mlp_bias=True, mlp_field=""),
    "gpt_neox_japanese": DenseType(block=_PLAIN, bias=False, bias_field="", out_bias=False, mlp_field="", tied=True),
}  # fmt: skip
"""Model types and what they mean."""


def read(fields: Fields) -> Model:
    """The decoder of a configuration."""
    kind = TYPES[fields.model_type]
    width, heads = fields.whole("hidden_size"), fields.whole("num_attention_heads")
    hidden, layers = fields.whole("intermediate_size"), fields.layers("num_hidden_layers")
    bias = fields.flag(kind.bias_field, kind.bias) if kind.bias_field else kind.bias
    mlp_bias = fields.flag(kind.mlp_field, kind.mlp_bias) if kind.mlp_field else kind.mlp_bias
    head = head_width(fields, width, heads, default=kind.head)
    keys = groups(fields, heads)
    block = kind.block
    if kind.parallel and fields.flag(kind.parallel, False):
        block = dataclasses.replace(block, norms=1)
    normed = fields.flag(kind.norm_field, False) if kind.norm_field else kind.norm != "none"
    norm, extra = "none", 0
    if normed:
        # One normalisation a head, each with factors of its own, has as many parameters as one of all heads.
        norm = {"each": "all", "shared": "head"}.get(kind.norm, kind.norm)
        extra = 2 * head if kind.norm == "shared" else 0
    fed = FeedForwardPart(width, hidden, block.gated, mlp_bias)
    each = [
        block.layer(
            seen(window),
            attention(
                width, heads, head, keys, bias=bias, out_bias=bias if kind.out_bias is None else kind.out_bias,
                window=window, norm=norm, norm_kind=block.norm, extra=extra,
            ),
            [fed],
            width,
        )
        for window in windows(fields, layers, kind.windows)
    ]  # fmt: skip
    return decoder(fields, FAMILY.name, each, block, width, tied=kind.tied, head_bias=kind.head_bias)


FAMILY = ArchitectureFamily(
    "dense decoders (Llama, Mistral, Qwen, Gemma, Phi, OLMo, Command, StarCoder 2, GPT-NeoX, ...)",
    tuple(TYPES),
    read,
    "hidden_size, num_attention_heads, num_key_value_heads, head_dim, num_hidden_layers, intermediate_size, "
    "vocab_size, tie_word_embeddings, attention_bias and its relatives, mlp_bias, sliding_window, layer_types, "
    "use_sliding_window, max_window_layers, sliding_window_pattern, use_qk_norm, qk_layernorm, use_parallel_residual",
)

"""Decoders with experts: Mixtral, Qwen, OLMoE, gpt-oss, Granite, GLM, Llama 4, Phi, the first DeepSeek."""

import dataclasses
from collections.abc import Sequence

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
from descentlab.cost.feed_forward import Experts, FeedForwardPart
from descentlab.cost.fields import Fields, Refused
from descentlab.cost.model import Model
from descentlab.cost.part import AbstractPart, LinearPart

__all__ = ["FAMILY", "ExpertsType", "chosen_experts"]


@dataclasses.dataclass(frozen=True)
class ExpertsType:
    """What a model type means where its file does not say.

    Attributes:
        block: how layers are put together.
        count: names of the number of experts.
        hidden: names of the width of an expert.
        bias: whether queries, keys and values have biases.
        bias_field: the field that says so; empty where none does.
        out_bias: whether the output projection has one; `None` for as the others.
        expert_bias: whether experts and router have biases.
        norm: parameters of the normalisations of queries and keys.
        norm_field: the flag that asks for them; empty where none does.
        sinks: whether every head has a number of its own beside its scores.
        tied: whether the head is the embedding.
        head: the width of a head; `None` for the token width's share.
        windows: which layers see a window.
        head_bias: whether the head has a bias.
    """

    block: DecoderTraits = DecoderTraits()
    count: tuple[str, ...] = ("num_local_experts", "num_experts")
    hidden: tuple[str, ...] = ("moe_intermediate_size",)
    bias: bool = False
    bias_field: str = "attention_bias"
    out_bias: bool | None = None
    expert_bias: bool = False
    norm: str = "none"
    norm_field: str = ""
    sinks: bool = False
    tied: bool = False
    head: int | None = None
    windows: Windows = Windows()
    head_bias: bool = False


_WIDE = ("intermediate_size",)
_ROUTED = ("n_routed_experts",)

TYPES = {
    "mixtral": ExpertsType(hidden=_WIDE, bias_field="", windows=Windows("all")),
    "phimoe": ExpertsType(block=DecoderTraits(norm="layer"), hidden=_WIDE, windows=Windows("all"), head_bias=True),
    "qwen2_moe": ExpertsType(bias=True, bias_field="qkv_bias", out_bias=False, windows=Windows("flag", default=4096)),
    "qwen3_moe": ExpertsType(norm="head", windows=Windows("flag", default=4096)),
    "olmoe": ExpertsType(hidden=_WIDE, norm="all"),
    "gpt_oss": ExpertsType(
        hidden=_WIDE, bias=True, expert_bias=True, sinks=True, head=64, windows=Windows("alternate", 2, 128)
    ),
    "granitemoe": ExpertsType(hidden=_WIDE),
    "deepseek": ExpertsType(count=_ROUTED),
    "glm4_moe": ExpertsType(count=_ROUTED, out_bias=False, norm="head", norm_field="use_qk_norm", head=128),
    "llama4_text": ExpertsType(hidden=_WIDE, head=128),
}  # fmt: skip
"""Model types and what they mean."""


def read(fields: Fields) -> Model:
    """The decoder of a configuration."""
    kind = TYPES[fields.model_type]
    width, heads, layers = (
        fields.whole("hidden_size"),
        fields.whole("num_attention_heads"),
        fields.layers("num_hidden_layers"),
    )
    bias = fields.flag(kind.bias_field, kind.bias) if kind.bias_field else kind.bias
    head, keys = head_width(fields, width, heads, default=kind.head), groups(fields, heads)
    normed = fields.flag(kind.norm_field, False) if kind.norm_field else True
    settings = {
        "bias": bias,
        "out_bias": bias if kind.out_bias is None else kind.out_bias,
        "norm": kind.norm if normed else "none",
        "extra": heads if kind.sinks else 0,
    }
    fed = _fed(fields, kind, width, layers)
    found = _windows(fields, layers, kind)
    each = [
        kind.block.layer(
            f"{seen(window)}, {words}", attention(width, heads, head, keys, window=window, **settings), parts, width
        )
        for window, (words, parts) in zip(found, fed, strict=True)
    ]
    return decoder(fields, FAMILY.name, each, kind.block, width, tied=kind.tied, head_bias=kind.head_bias)


def _windows(fields: Fields, layers: int, kind: ExpertsType) -> list[int | None]:
    """The window of every layer; gpt-oss alternates from the first, Llama 4 cuts chunks in three of four layers."""
    if fields.model_type == "llama4_text":
        types = fields.items("layer_types", str)
        fields.passed("attention_chunk_size", "no_rope_layers")
        if types is None:
            window = fields.whole("attention_chunk_size", default=8192)
            period = fields.whole("no_rope_layer_interval", default=4)
            return [None if (at + 1) % period == 0 else window for at in range(layers)]
    if kind.windows.rule == "alternate" and not fields.has("layer_types"):
        window = fields.whole("sliding_window", default=kind.windows.default)
        return [None if at % 2 else window for at in range(layers)]
    return windows(fields, layers, kind.windows)


def _fed(fields: Fields, kind: ExpertsType, width: int, layers: int) -> list[tuple[str, Sequence[AbstractPart]]]:
    """The feed-forward parts of every layer, in words and as parts."""
    hidden = fields.whole(*kind.hidden)
    experts = chosen_experts(fields, width, hidden, kind.count, bias=kind.expert_bias)
    shared = _shared(fields, width, hidden)
    sparse: tuple[str, Sequence[AbstractPart]] = (f"{experts.chosen} of {experts.count} experts", [experts, *shared])
    dense_layers = _dense(fields, layers)
    if not dense_layers:
        return [sparse] * layers
    wide = fields.whole("intermediate_size_mlp" if fields.model_type == "llama4_text" else "intermediate_size")
    dense: tuple[str, Sequence[AbstractPart]] = ("dense", [FeedForwardPart(width, wide, gated=True, bias=False)])
    return [dense if at in dense_layers else sparse for at in range(layers)]


def chosen_experts(
    fields: Fields, width: int, hidden: int, count: tuple[str, ...] = _ROUTED, *, bias: bool = False
) -> Experts:
    """Routed experts.

    Raises:
        Refused: if a token goes through more of them than there are.
    """
    experts = fields.whole(*count)
    usual = {"default": 1} if fields.model_type == "llama4_text" else {}
    chosen = fields.whole("num_experts_per_tok", "experts_per_token", **usual)
    if chosen > experts:
        raise Refused(
            f"{fields.where}: num_experts_per_tok must be at most the number of experts, got {chosen} of {experts}"
        )
    return Experts(FeedForwardPart(width, hidden, gated=True, bias=bias), experts, chosen, router_bias=bias)


def _shared(fields: Fields, width: int, hidden: int) -> list[AbstractPart]:
    """What every token goes through beside its experts; that of Qwen has a gate of one entry a token."""
    if fields.model_type == "qwen2_moe":
        wide = fields.whole("shared_expert_intermediate_size")
        return [
            FeedForwardPart(width, wide, gated=True, bias=False, name="shared"),
            LinearPart("shared gate", "ffn", width, 1, kind="plain"),
        ]
    if fields.model_type == "llama4_text":
        return [FeedForwardPart(width, hidden, gated=True, bias=False, name="shared")]
    if fields.model_type in ("deepseek", "glm4_moe"):
        count = fields.whole("n_shared_experts", default=0, least=0)
        return [FeedForwardPart(width, count * hidden, gated=True, bias=False, name="shared")] if count else []
    return []


def _dense(fields: Fields, layers: int) -> set[int]:
    """Layers without experts."""
    if fields.model_type in ("qwen2_moe", "qwen3_moe"):
        step = fields.whole("decoder_sparse_step", default=1)
        named = set(fields.items("mlp_only_layers", int) or [])
        fields.passed("intermediate_size")
        return named & set(range(layers)) | {at for at in range(layers) if (at + 1) % step}
    if fields.model_type == "llama4_text":
        step = fields.whole("interleave_moe_layer_step", default=1)
        sparse = fields.items("moe_layers", int)
        fields.passed("intermediate_size_mlp")
        return set(range(layers)) - set(range(step - 1, layers, step) if sparse is None else sparse)
    if fields.model_type in ("deepseek", "glm4_moe"):
        fields.passed("intermediate_size")
        step = fields.whole("moe_layer_freq", default=1)
        first = fields.whole("first_k_dense_replace", default=0, least=0)
        return {at for at in range(layers) if at < first or at % step}
    return set()


FAMILY = ArchitectureFamily(
    "decoders with experts (Mixtral, Qwen MoE, OLMoE, gpt-oss, Granite MoE, GLM 4.5, Llama 4, DeepSeek 1, Phi 3.5 MoE)",
    tuple(TYPES),
    read,
    "the fields of dense decoders; num_local_experts, num_experts or n_routed_experts; num_experts_per_tok; "
    "intermediate_size or moe_intermediate_size; shared_expert_intermediate_size, n_shared_experts, "
    "first_k_dense_replace, moe_layer_freq, decoder_sparse_step, mlp_only_layers, interleave_moe_layer_step, "
    "attention_chunk_size",
)

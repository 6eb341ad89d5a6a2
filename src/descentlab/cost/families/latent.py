"""Decoders with latent attention: DeepSeek-V2, V3, R1, Kimi K2."""

import dataclasses

from descentlab.cost.families import ArchitectureFamily
from descentlab.cost.families._decoder import DecoderTraits, decoder
from descentlab.cost.families.experts import chosen_experts
from descentlab.cost.feed_forward import FeedForwardPart
from descentlab.cost.fields import Fields
from descentlab.cost.latent import LatentAttention
from descentlab.cost.model import Model
from descentlab.cost.part import AbstractPart

__all__ = ["FAMILY"]


def read(fields: Fields) -> Model:
    """The decoder of a configuration; layers that predict further tokens are named as not counted."""
    width, layers = fields.whole("hidden_size"), fields.layers("num_hidden_layers")
    attention = LatentAttention(
        width,
        fields.whole("num_attention_heads"),
        fields.whole("q_lora_rank", default=None),
        fields.whole("kv_lora_rank"),
        fields.whole("qk_nope_head_dim"),
        fields.whole("qk_rope_head_dim"),
        fields.whole("v_head_dim"),
        bias=fields.flag("attention_bias", False),
    )
    fields.passed("num_key_value_heads", "head_dim", "qk_head_dim")
    experts = fields.has("n_routed_experts")
    first = fields.whole("first_k_dense_replace", default=0, least=0) if experts else layers
    step = fields.whole("moe_layer_freq", default=1)
    dense: list[AbstractPart] = [FeedForwardPart(width, fields.whole("intermediate_size"), gated=True, bias=False)]
    sparse, words = _sparse(fields, width) if experts else (dense, "dense")
    block = DecoderTraits()
    each = [
        block.layer("latent attention, dense", attention, dense, width)
        if at < first or at % step
        else block.layer(f"latent attention, {words}", attention, sparse, width)
        for at in range(layers)
    ]
    model = decoder(fields, FAMILY.name, each, block, width)
    further = fields.whole("num_nextn_predict_layers", default=0, least=0)
    left = (f"the {further} layers that predict further tokens (num_nextn_predict_layers)",) if further else ()
    return dataclasses.replace(model, uncounted=left)


def _sparse(fields: Fields, width: int) -> tuple[list[AbstractPart], str]:
    """Routed and shared experts; the router of DeepSeek-V3 has a correction, one number an expert."""
    hidden = fields.whole("moe_intermediate_size")
    experts = chosen_experts(fields, width, hidden)
    if fields.model_type != "deepseek_v2":
        experts = dataclasses.replace(experts, extra=experts.count)
    shared = fields.whole("n_shared_experts", default=0, least=0)
    more: list[AbstractPart] = (
        [FeedForwardPart(width, shared * hidden, gated=True, bias=False, name="shared")] if shared else []
    )
    return [experts, *more], f"{experts.chosen} of {experts.count} experts"


FAMILY = ArchitectureFamily(
    "decoders with latent attention (DeepSeek-V2, V3, R1, Kimi K2)",
    ("deepseek_v2", "deepseek_v3", "kimi_k2"),
    read,
    "q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim, attention_bias, first_k_dense_replace, "
    "moe_layer_freq, n_routed_experts, n_shared_experts, num_experts_per_tok, moe_intermediate_size, "
    "intermediate_size, hidden_size, num_attention_heads, num_hidden_layers, vocab_size, tie_word_embeddings, "
    "num_nextn_predict_layers",
)

"""Fields of a model's configuration, each taken by its name, checked, and remembered as read."""

from collections.abc import Mapping
from typing import Any

from descentlab.mistake import Mistake

__all__ = ["COUNTING", "MOST", "Fields", "Refused"]

MOST = 2**24
"""The largest size that is believed; products of two, in so many layers, are still exact in 64 bits."""

LAYERS = 2**12
"""The largest number of layers that is believed."""

LETTERS = 200
"""The longest text that is believed."""

COUNTING = {
    "experts": "num_local_experts num_experts n_routed_experts num_routed_experts moe_num_experts n_shared_experts "
    "num_shared_experts moe_intermediate_size shared_expert_intermediate_size first_k_dense_replace "
    "decoder_sparse_step mlp_only_layers expert_layer_period moe_layers interleave_moe_layer_step moe_layer_freq "
    "ffn_config num_experts_per_tok moe_topk enable_moe_block moe_num_shared_experts",
    "latent attention": "kv_lora_rank q_lora_rank qk_nope_head_dim qk_rope_head_dim v_head_dim",
    "windows of attention": "sliding_window sliding_window_pattern _sliding_window_pattern local_attention window_size "
    "global_attn_every_n_layers attention_types layer_types attention_chunk_size attention_window block_size_sparse "
    "max_window_layers attn_config sliding_window_attn_pattern index_topk index_n_heads attention_type",
    "a state-space, convolutional or recurrent part": "attn_layer_period mamba_d_state mamba_expand ssm_cfg state_size "
    "layers_block_type hybrid_override_pattern linear_num_value_heads linear_conv_kernel_dim conv_L_cache lru_width "
    "block_types attn_type_list",
    "heads of keys and values": "num_key_value_heads num_kv_heads multi_query multi_query_attention "
    "multi_query_group_num n_head_kv kv_n_heads num_attention_groups",
    "the width of a head": "head_dim kv_channels d_kv attention_head_size qk_head_dim head_size",
    "the width of the feed-forward part": "ffn_dim n_inner d_ff dff d_inner ffn_hidden_size ffn_hidden "
    "intermediate_size encoder_ffn_dim decoder_ffn_dim hidden_dim mlp_ratio expansion_ratio ffn_intermediate_size "
    "mlp_hidden_size intermediate_size_mlp use_double_wide_mlp",
    "another model inside": "text_config vision_config audio_config encoder decoder thinker_config llm_config "
    "language_config qformer_config",
    "cross attention": "add_cross_attention cross_attention_hidden_size cross_attention_layers encoder_layers "
    "decoder_layers num_decoder_layers is_encoder_decoder",
    "bottlenecks": "use_bottleneck intra_bottleneck_size num_feedforward_networks embedding_size embedding_projection "
    "word_embed_proj_dim trigram_input",
    "shared layers": "num_hidden_groups inner_group_num num_kv_shared_layers num_shared_layers share_layers "
    "cla_share_factor",
    "relative positions": "relative_attention position_buckets pos_att_type",
    "several predicted tokens or other heads": "num_nextn_predict_layers num_codebooks hidden_size_per_layer_input "
    "laurel_rank altup_num_inputs",
}
"""Known fields that change what a model computes, by what they mean, names separated by blanks."""

_MEANING = {name: meaning for meaning, names in COUNTING.items() for name in names.split()}


class Refused(Mistake):
    """A configuration that cannot be counted; the message says why and what to do."""


class _Missing:
    pass


_MISSING = _Missing()


class Fields:
    """The fields of one configuration.

    Attributes:
        data: as the file has them.
        where: the file's name, and the path of a nested configuration in it.
        read: names that have been asked for.
    """

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        self.data = data
        self.where = where
        self.read: set[str] = set()
        self._nested: list[Fields] = []

    @property
    def model_type(self) -> str:
        """The model type, or an empty text."""
        return self.text("model_type", "")

    def has(self, name: str) -> bool:
        """Whether the file gives a value other than `null`."""
        return self.data.get(name) is not None

    def whole(self, *names: str, default: Any = _MISSING, least: int = 1, most: int = MOST) -> Any:
        """A whole number, by the first of its names that the file gives.

        Args:
            names: of the field.
            default: where there is none; without it the field is needed.
            least: the smallest value allowed.
            most: the largest.

        Raises:
            Refused: if it is missing, of another type or out of range.
        """
        name, value = self._first(names, default)
        if name is None:
            return value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            above = "above 0" if least == 1 else f"of at least {least}"
            raise Refused(f"{self.where}: {name} must be a whole number {above}, got {_shown(value)}")
        if value > most:
            raise Refused(f"{self.where}: {name} must be at most {most}, got {_shown(value)}")
        return value

    def layers(self, *names: str, default: Any = _MISSING) -> Any:
        """A number of layers."""
        return self.whole(*names, default=default, most=LAYERS)

    def number(self, name: str, default: float) -> float:
        """A finite number above 0.

        Raises:
            Refused: if it is of another type or out of range.
        """
        found, value = self._first((name,), default)
        if found is None:
            return value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST:
            raise Refused(f"{self.where}: {name} must be a number above 0 and at most {MOST}, got {_shown(value)}")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """True or false.

        Raises:
            Refused: if it is of another type, such as a text.
        """
        found, value = self._first((name,), default)
        if found is not None and not isinstance(value, bool):
            raise Refused(f"{self.where}: {name} must be true or false, without quotes, got {_shown(value)}")
        return value

    def text(self, name: str, default: str) -> str:
        """A text.

        Raises:
            Refused: if it is of another type, or long.
        """
        found, value = self._first((name,), default)
        if found is not None and (not isinstance(value, str) or len(value) > LETTERS):
            raise Refused(f"{self.where}: {name} must be a text of at most {LETTERS} letters, got {_shown(value)}")
        return value

    def items(self, name: str, kind: type) -> list[Any] | None:
        """A list of entries of one type, or `None` where the file has none.

        Raises:
            Refused: if it is no list, too long, or an entry is of another type.
        """
        found, value = self._first((name,), None)
        if found is None:
            return None
        if not isinstance(value, list) or not all(isinstance(one, kind) and not isinstance(one, bool) for one in value):
            words = {str: "texts", int: "whole numbers"}[kind]
            raise Refused(f"{self.where}: {name} must be a list of {words}, got {_shown(value)}")
        if len(value) > LAYERS:
            raise Refused(f"{self.where}: {name} must have at most {LAYERS} entries, got {len(value)}")
        return value

    def inner(self, name: str) -> "Fields | None":
        """The configuration nested in a field, or `None` where there is none.

        Raises:
            Refused: if the field holds something else.
        """
        found, value = self._first((name,), None)
        if found is None:
            return None
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise Refused(f"{self.where}: {name} must hold named fields, got {_shown(value)}")
        nested = Fields(value, f"{self.where}, {name}")
        self._nested.append(nested)
        return nested

    def passed(self, *names: str) -> None:
        """Note fields whose meaning a reader knows and that change nothing."""
        self.read.update(names)

    def unread(self) -> list[str]:
        """What the file asks for by known fields that change the count and were not read, in words."""
        found = [
            f"{_MEANING[name]} ({name} = {_shown(value)} in {self.where})"
            for name, value in self.data.items()
            if name in _MEANING and name not in self.read and not _neutral(value)
        ]
        return found + [words for nested in self._nested for words in nested.unread()]

    def names(self) -> tuple[str, ...]:
        """Names of the fields that were read and that the file has, nested ones with their path."""
        own = sorted(name for name in self.read if name in self.data)
        inner = [f"{one.where.rpartition(', ')[2]}.{name}" for one in self._nested for name in one.names()]
        return (*own, *inner)

    def _first(self, names: tuple[str, ...], default: Any) -> tuple[str | None, Any]:
        self.read.update(names)
        for name in names:
            if self.data.get(name) is not None:
                return name, self.data[name]
        if isinstance(default, _Missing):
            kind = self.data.get("model_type")
            of = f", which a model of type {kind} needs" if isinstance(kind, str) else ""
            raise Refused(f"{self.where} lacks {' or '.join(names)}{of}; is this the config.json of the model itself?")
        return None, default


def _neutral(value: Any) -> bool:
    """Whether a field's value stands for its absence."""
    return value is None or value is False or value in ({}, [], 0, "")


def _shown(value: Any) -> str:
    """A value in a message, cut short."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a number of more than 20 digits"
    return text if len(text) <= 60 else f"{text[:57]}..."

"""State-space, recurrent and hybrid models: refused with their reason, since their scans are not counted."""

from descentlab.cost.families import ArchitectureFamily, listed
from descentlab.cost.fields import Fields, Refused
from descentlab.cost.model import Model

__all__ = ["FAMILY"]

TYPES = {
    "attention in some layers, state-space layers elsewhere": (
        "jamba", "zamba", "zamba2", "bamba", "nemotron_h", "falcon_h1", "granitemoehybrid", "hymba", "plamo2",
    ),
    "state-space layers alone": ("mamba", "mamba2", "falcon_mamba", "codestral_mamba"),
    "recurrent layers": ("rwkv", "rwkv5", "rwkv6", "rwkv7", "xlstm", "recurrent_gemma", "retnet"),
    "linear attention with a gated state in most layers": (
        "qwen3_next", "minimax", "kimi_linear", "qwen3_5", "qwen3_5_text", "olmo_hybrid",
    ),
    "convolutions in most layers": ("lfm2", "lfm2_moe", "hyena", "evo", "stripedhyena"),
}  # fmt: skip
"""What keeps model types from being counted."""

_REASONS = {kind: reason for reason, kinds in TYPES.items() for kind in kinds}


def read(fields: Fields) -> Model:
    """Nothing.

    Raises:
        Refused: always, with what the model has.
    """
    kind = fields.model_type
    where = ""
    period = fields.whole("attn_layer_period", default=None)
    if period is not None:
        layers = fields.layers("num_hidden_layers")
        offset = fields.whole("attn_layer_offset", default=0, least=0)
        count = sum(at % period == offset % period for at in range(layers))
        where = f" (attention in {count} of {layers} layers)"
    raise Refused(
        f"{fields.where} is a {kind} model: {_REASONS[kind]}{where}. Their scan is not counted here, and counting the "
        f"model as a Transformer would be wrong. {listed()}"
    )


FAMILY = ArchitectureFamily(
    "state-space and hybrid models (refused, with the reason)",
    tuple(_REASONS),
    read,
    "attn_layer_period, attn_layer_offset, num_hidden_layers",
)

"""Models that keep the sizes of a text model, and those of a vision tower, in nested configurations."""

import dataclasses

from descentlab.cost.families import ArchitectureFamily, families
from descentlab.cost.families import read as read_by_type
from descentlab.cost.fields import Fields, Refused
from descentlab.cost.model import Model, Stack
from descentlab.cost.part import AbstractPart, LinearPart, Norm

__all__ = ["FAMILY"]

TYPES = {
    "gemma3": ("gemma3_text", "siglip_vision_model"),
    "paligemma": ("gemma", "siglip_vision_model"),
    "llava": ("llama", "clip_vision_model"),
    "llava_next": ("llama", "clip_vision_model"),
    "mistral3": ("mistral", ""),
    "aya_vision": ("cohere2", "siglip_vision_model"),
    "idefics3": ("llama", ""),
    "smolvlm": ("llama", ""),
    "internvl": ("qwen2", ""),
    "llama4": ("llama4_text", ""),
    "qwen2_vl": ("qwen2", ""),
    "qwen2_5_vl": ("qwen2", ""),
    "clip": ("clip_text_model", "clip_vision_model"),
    "mllama": ("mllama_text_model", ""),
}
"""Model types, and the types of the text model and of the tower inside where they do not say."""

USUAL = {
    "llama": {
        "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
        "vocab_size": 32000,
    },
    "mistral": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 32000,
    },
    "gemma3_text": {
        "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208,
    },
    "clip_vision_model": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "image_size": 224, "patch_size": 32,
    },
    "siglip_vision_model": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "image_size": 224, "patch_size": 16,
    },
}  # fmt: skip
"""Sizes that nested configurations leave out, with the values that the Transformers library takes then."""


def read(fields: Fields) -> Model:
    """The text model, with the tower where its type is known; a tower of another type is named as not counted."""
    text, vision = TYPES[fields.model_type]
    inner = _inside(fields, "text_config", text)
    if inner is None:
        # Files of the first Qwen-VL models have the sizes of the text model outside.
        inner = Fields({**fields.data, "model_type": text}, fields.where) if fields.has("hidden_size") else None
    if inner is None:
        raise Refused(f"{fields.where} lacks text_config, where a model of type {fields.model_type} has its sizes")
    if inner.model_type not in families():
        raise Refused(
            f"{fields.where}: the text model inside is of type {inner.model_type!r}, whose layers are not known; "
            "counting them as another type's would be wrong"
        )
    model = read_by_type(inner)
    fields.passed("vision_config", "audio_config")
    tower, left = _tower(fields, vision, _width(model))
    stacks = (*tower, *model.stacks)
    return dataclasses.replace(model, family=FAMILY.name, stacks=stacks, uncounted=(*model.uncounted, *left))


def _inside(fields: Fields, name: str, usual: str) -> Fields | None:
    """A nested configuration, with what it leaves out."""
    inner = fields.inner(name)
    if inner is None:
        return None
    kind = inner.model_type or usual
    inner.data = USUAL.get(kind, {}) | dict(inner.data) | {"model_type": kind}
    return inner


def _width(model: Model) -> int:
    """Width of the text model's tokens."""
    return model.stacks[-1].layers[0].layer.parts[0].width  # type: ignore[attr-defined]


def _tower(fields: Fields, usual: str, width: int) -> tuple[tuple[Stack, ...], tuple[str, ...]]:
    """The vision tower with its projector, and what is not counted of it."""
    inner = _inside(fields, "vision_config", usual)
    if inner is None:
        return (), ()
    if fields.model_type == "gemma3":
        inner.data = {"vision_use_head": False} | dict(inner.data)
    known = families().get(inner.model_type)
    if known is None or inner.model_type not in USUAL:
        inner.passed(*inner.data)
        kind = inner.model_type or "unknown"
        return (), (f"the vision tower, of type {kind}, and its projector",)
    (stack,) = known.read(inner).stacks
    own = inner.whole("hidden_size")
    projector = _projector(fields, own, width, stack)
    left = () if projector else ("the projector behind the vision tower",)
    return (dataclasses.replace(stack, after=(*stack.after, *projector)),), left


def _projector(fields: Fields, own: int, width: int, stack: Stack) -> list[AbstractPart]:
    """What makes tokens of the text model from those of the tower."""
    if fields.model_type == "gemma3":
        places = fields.whole("mm_tokens_per_image", default=256)
        return [Norm("projector", own, "rms"), LinearPart("projector", "projections", own, width, places=places)]
    if fields.model_type == "llava":
        places = (stack.length or 2) - 1
        return [
            LinearPart("projector in", "projections", own, width, True, places=places),
            LinearPart("projector out", "projections", width, width, True, places=places),
        ]
    if fields.model_type == "paligemma":
        return [LinearPart("projector", "projections", own, width, True)]
    return []


FAMILY = ArchitectureFamily(
    "text models with a vision tower in nested configurations (Gemma 3, LLaVA, PaliGemma, Llama 4, ...)",
    tuple(TYPES),
    read,
    "text_config and vision_config with the fields of their families, mm_tokens_per_image",
)

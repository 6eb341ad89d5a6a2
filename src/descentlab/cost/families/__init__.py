"""Readers of configurations, one file a family of architectures; a new family is a new file here.

A file has a constant `FAMILY`, which says which model types it reads and how. Files whose names begin with an
underscore hold what families share.
"""

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping

from descentlab._check import nearest
from descentlab.cost.fields import Fields, Refused
from descentlab.cost.model import Model

__all__ = ["ArchitectureFamily", "families", "listed", "read"]


@dataclasses.dataclass(frozen=True)
class ArchitectureFamily:
    """Architectures that one reader reads.

    Attributes:
        name: in words.
        types: model types, as `model_type` has them.
        read: from the fields to the model; it asks for every field by name, and refuses by raising `Refused`.
        fields: which fields it reads.
    """

    name: str
    types: tuple[str, ...]
    read: Callable[[Fields], Model]
    fields: str


@functools.cache
def families() -> Mapping[str, ArchitectureFamily]:
    """Every family, by the model types that it reads."""
    found: dict[str, ArchitectureFamily] = {}
    for module in sorted(one.name for one in pkgutil.iter_modules(__path__)):
        if not module.startswith("_"):
            family = importlib.import_module(f"{__name__}.{module}").FAMILY
            found |= dict.fromkeys(family.types, family)
    return found


def read(fields: Fields, *, read_as: str | None = None) -> Model:
    """The model of a configuration, by its model type.

    Args:
        fields: of the configuration.
        read_as: a known model type in the place of the file's own.

    Raises:
        Refused: if the type is not known, or the reader refuses.
    """
    kind = fields.model_type or _named(fields)
    known = families()
    if read_as is not None and read_as not in known:
        raise Refused(f"there is no known model type {read_as!r}; {nearest(read_as, known)}")
    chosen = read_as or kind
    if chosen not in known:
        raise Refused(_unknown(fields, kind))
    family = known[chosen]
    fields.data = {**fields.data, "model_type": chosen}
    model = family.read(fields)
    if read_as is None or read_as == kind:
        return model
    left = f"whatever tells {kind or 'a model without a model_type'} from {read_as}, as which it is read"
    return dataclasses.replace(model, uncounted=(left, *model.uncounted))


def _named(fields: Fields) -> str:
    """The model type that the names of architectures imply, where the file gives none: Bert of BertForMaskedLM."""
    for name in fields.items("architectures", str) or []:
        plain = name.partition("For")[0].removesuffix("Model").removesuffix("LMHead").lower()
        for kind in families():
            if kind.replace("_", "").replace("-", "") == plain:
                return kind
    return ""


def _unknown(fields: Fields, kind: str) -> str:
    """Why a model type is refused: what the file is, as far as can be seen, and which families are read."""
    what = f"is of model type {kind!r}, which is not known" if kind else "gives no model_type"
    seen = [words for words, at in _SIGNS.items() if any(fields.has(name) for name in at)]
    looks = f" It has {' and '.join(seen)}." if seen else ""
    return (
        f"{fields.where} {what}.{looks} {listed()}. If it computes what a model of a known type "
        "does, give --read-as with that type"
    )


def listed() -> str:
    """The families that are read, in a sentence."""
    return f"Families that are read: {', '.join(dict.fromkeys(family.name for family in families().values()))}"


_SIGNS = {
    "an encoder and a decoder": ("encoder_layers", "num_decoder_layers", "decoder_layers", "encoder"),
    "its sizes in a nested text_config": ("text_config", "llm_config", "thinker_config"),
    "a vision tower": ("vision_config", "patch_size"),
    "state-space or recurrent layers": (
        "mamba_d_state", "ssm_cfg", "state_size", "layers_block_type", "hybrid_override_pattern", "lru_width",
        "linear_num_value_heads",
    ),
    "experts": ("num_local_experts", "num_experts", "n_routed_experts"),
}  # fmt: skip

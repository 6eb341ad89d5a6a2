"""Models from files: a Hugging Face `config.json`, or an experiment that descentlab has kept."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from descentlab._check import nearest, short
from descentlab.cost.presets import TRANSFORMERS, transformer
from descentlab.cost.transformer import KERNELS, Transformer
from descentlab.formats import decoding, read_json

__all__ = ["from_config", "from_definition", "kernel", "read"]

_GPT2 = {"layers": "n_layer", "width": "n_embd", "heads": "n_head"}
_OTHERS = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "ffn": "intermediate_size",
}

_MOST = 2**24
"""The largest size that is believed; products of two in so many layers stay exact in 64 bits."""


def kernel(name: str) -> Any:
    """What the attention kernel of a name costs; case, hyphens and underscores do not count.

    Raises:
        ValueError: if there is none.
    """
    plain = {known.replace("-", ""): one for known, one in KERNELS.items()}
    found = plain.get(name.lower().replace("-", "").replace("_", ""))
    if found is None:
        raise ValueError(f"there is no kernel {name!r} whose cost is known; {nearest(name.lower(), KERNELS)}")
    return found


def read(name: str) -> Transformer:
    """The Transformer of a preset, or of a file that describes one.

    Args:
        name: a preset; or the path of a `config.json`, of a folder with one, or of a store's `experiment.json`.

    Raises:
        ValueError: if there is no such preset and no such file, or the file lacks what is needed.
    """
    path = Path(name)
    if name in TRANSFORMERS or not (os.path.exists(path) or path.suffix == ".json" or len(path.parts) > 1):
        return transformer(name)
    file = path / "config.json" if os.path.isdir(path) else path
    data = read_json(file, "a config.json")
    if isinstance(data.get("definition"), dict):
        with decoding(str(file), "an experiment that this version can read", "name its config.json"):
            return from_definition(data["definition"])
    return from_config(data, str(file))


def from_config(data: Mapping[str, Any], where: str = "config.json") -> Transformer:
    """The Transformer of a Hugging Face configuration, with the names of BERT, of GPT-2 or of the Llama family.

    Fields of normalisation by the root mean square (`rms_norm_eps`) mean a decoder of the Llama family: gated, without
    biases but where they are asked for. Other models generate if their architecture is a causal one.

    Args:
        data: the fields.
        where: their file, for messages.

    Raises:
        ValueError: if a needed field is missing or not a whole number above 0.
    """
    if "n_embd" in data or data.get("model_type") == "gpt2":
        sizes = _sizes(data, _GPT2, where)
        inner = data.get("n_inner")
        ffn = 4 * sizes["width"] if inner is None else _whole(data, "n_inner", where)
        return Transformer(**sizes, ffn=ffn, causal=True, vocabulary=_optional(data, "vocab_size", where) or 0)
    sizes = _sizes(data, _OTHERS, where)
    if "rms_norm_eps" not in data:
        named = data.get("architectures") or []
        if not isinstance(named, list):
            raise ValueError(f"{where}: architectures must be a list, got {short(repr(named))}")
        causal = bool(data.get("is_decoder")) or any("CausalLM" in str(one) for one in named)
        words = (_optional(data, "vocab_size", where) or 0) if causal else 0
        return Transformer(**sizes, causal=causal, vocabulary=words)
    return Transformer(
        **sizes,
        kv_heads=_optional(data, "num_key_value_heads", where),
        head_dim=_optional(data, "head_dim", where),
        gated=True,
        bias=bool(data.get("attention_bias", False)),
        norm="rms",
        causal=True,
        vocabulary=_optional(data, "vocab_size", where) or 0,
    )


def from_definition(data: Mapping[str, Any]) -> Transformer:
    """The Transformer of an experiment's plain data, as `experiment.json` of a store has it.

    Args:
        data: what `describe(experiment)` gives. A single attention layer has the token width of its task; read-outs and
            embeddings are not counted.

    Raises:
        ValueError: if the cost of the architecture or of its kernel is not known, or a task does not say its width.
    """
    model, task = data.get("model", {}), data.get("task", {})
    name = _class(model)
    if name == "Transformer":
        return Transformer(
            layers=_whole(model, "depth", "its model"),
            width=_whole(model, "width", "its model"),
            heads=_whole(model, "heads", "its model"),
            ffn=_optional(model, "hidden", "its model") or 0,
            head_dim=_optional(model, "head_dim", "its model"),
            norm="none" if _class(model["norm"]) == "NoNorm" else "layer",
            kernel=kernel(_class(model["attention"])),
            causal=model["causal"] is True,
        )
    if name != "AttentionLayer":
        known = "AttentionLayer, Transformer"
        raise ValueError(f"the cost of the architecture {name or 'nothing'} is not known; known are: {known}")
    width = task.get("dim") or (task.get("inputs") or {}).get("shape", [None])[-1]
    if width is None:
        raise ValueError("the task does not say the width of a token; give a model whose task has `dim` or `inputs`")
    return Transformer(
        layers=1,
        width=_whole({"dim": width}, "dim", "its task"),
        heads=_whole(model, "heads", "its model"),
        ffn=0,
        head_dim=_optional(model, "head_dim", "its model"),
        out=_whole(model, "output_dim", "its model"),
        bias=False,
        norm="none",
        residual=model["residual"] is True,
        kernel=kernel(_class(model["attention"])),
    )


def _class(data: Mapping[str, Any]) -> str:
    """The name of the class that plain data describes."""
    return str(data.get("class", "")).rpartition(":")[2]


def _sizes(data: Mapping[str, Any], names: Mapping[str, str], where: str) -> dict[str, Any]:
    missing = [name for name in names.values() if name not in data]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}; a model of this kind needs {', '.join(names.values())}")
    return {field: _whole(data, name, where) for field, name in names.items()}


def _whole(data: Mapping[str, Any], name: str, where: str) -> int:
    value = data[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{where}: {name} must be a whole number above 0, got {short(repr(value))}")
    if value > _MOST:
        raise ValueError(f"{where}: {name} must be at most {_MOST}, got {short(repr(value))}")
    return value


def _optional(data: Mapping[str, Any], name: str, where: str) -> int | None:
    return None if data.get(name) is None else _whole(data, name, where)

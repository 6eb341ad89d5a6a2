"""Models by name: a preset, a `config.json` of the Hugging Face kind, or an experiment that descentlab has kept."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from descentlab._check import nearest
from descentlab.cost import families
from descentlab.cost.attention import KERNELS, Kernel
from descentlab.cost.fields import Fields, Refused
from descentlab.cost.model import Model
from descentlab.cost.presets import PUBLISHED, TRANSFORMERS, transformer

__all__ = ["from_config", "kernel", "read"]


def kernel(name: str) -> Kernel:
    """What the attention kernel of a name costs; case, hyphens and underscores do not count.

    Raises:
        ValueError: if there is none.
    """
    plain = {known.replace("-", ""): one for known, one in KERNELS.items()}
    found = plain.get(name.lower().replace("-", "").replace("_", ""))
    if found is None:
        raise ValueError(f"there is no kernel {name!r} whose cost is known; {nearest(name.lower(), KERNELS)}")
    return found


def read(name: str, *, read_as: str | None = None, uncounted: bool = False) -> Model:
    """The model of a preset, or of a file that describes one.

    Args:
        name: a preset; or the path of a `config.json`, of a folder with one, or of a store's `experiment.json`.
        read_as: see `from_config`.
        uncounted: see `from_config`.

    Raises:
        ValueError: if there is no such preset and no such file, or the file cannot be counted.
    """
    path = Path(name)
    if name in PUBLISHED:
        return from_config(PUBLISHED[name].config, f"preset {name}")
    if name in TRANSFORMERS or not (path.exists() or path.suffix == ".json" or len(path.parts) > 1):
        return transformer(name).model
    file = path / "config.json" if path.is_dir() else path
    data = _decoded(file)
    if isinstance(data.get("definition"), dict):
        return _kept(data["definition"], str(file))
    return from_config(data, str(file), read_as=read_as, uncounted=uncounted)


def _decoded(file: Path) -> dict[str, Any]:
    """The named fields of a JSON file.

    Raises:
        ValueError: if it cannot be read, or is something else.
    """
    try:
        data = json.loads(file.read_bytes())
    except OSError as error:
        raise ValueError(f"wanted a config.json, but {file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"wanted a config.json, but {file} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"wanted a config.json with named fields, but {file} holds a {type(data).__name__}")
    return data


def from_config(
    data: Mapping[str, Any], where: str = "config.json", *, read_as: str | None = None, uncounted: bool = False
) -> Model:
    """The model of a configuration of the Hugging Face kind, read by its `model_type`.

    Args:
        data: the fields.
        where: their file, for messages.
        read_as: a known model type in the place of the file's own; what that leaves out is named as not counted.
        uncounted: whether known fields that change the count, but that the reader does not read, are named as not
            counted; without it they are refused.

    Raises:
        Refused: if the model type is not known, a field is missing, of another type or out of range, or a known field
            changes the count and is not read.
    """
    fields = Fields(data, where)
    model = families.read(fields, read_as=read_as)
    left = fields.unread()
    if left and not uncounted:
        kind = read_as or fields.model_type
        raise Refused(
            f"{where} asks for what a model of type {kind} is not known to have: {'; '.join(left)}. "
            "Give --uncounted to count the rest"
        )
    quantization = data.get("quantization_config")
    return dataclasses.replace(
        model,
        uncounted=(*left, *model.uncounted),
        read=fields.names(),
        quantization=quantization if isinstance(quantization, Mapping) else None,
        dtype=fields.text("torch_dtype", fields.text("dtype", "")) or None,
    )


def _kept(definition: Any, where: str) -> Model:
    """The model of an experiment's plain data, from its architecture's own method."""
    from descentlab._describe import restore

    try:
        experiment = restore(definition, _shapes(definition))
    except (TypeError, KeyError, AttributeError, ImportError) as error:
        raise Refused(f"{where} is no experiment that this version can restore: {error}") from error
    if not hasattr(experiment, "cost_model"):
        raise Refused(f"{where} describes a {type(experiment).__name__}, not an experiment")
    return experiment.cost_model()


def _shapes(definition: Any) -> dict[str, np.ndarray]:
    """Stand-ins without memory of the arrays that an experiment refers to, by their hash."""
    if isinstance(definition, dict) and "given" in definition:
        zero = np.zeros((), definition["dtype"])
        return {definition["sha256"]: np.broadcast_to(zero, definition["shape"])}
    inside = definition.values() if isinstance(definition, dict) else definition if isinstance(definition, list) else ()
    return {name: array for one in inside for name, array in _shapes(one).items()}

"""Models by name: a preset, a `config.json` of the Hugging Face kind, or an experiment that descentlab has kept."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from descentlab.cost import families
from descentlab.cost.fields import Fields, Refused
from descentlab.cost.model import Model
from descentlab.cost.presets import PUBLISHED, TRANSFORMERS, transformer
from descentlab.formats import decoding, read_json

__all__ = ["from_config", "read"]

_LONGEST = 2**26
"""The longest last axis of a given array, such as the bytes of a text, for which an experiment is restored."""


def read(name: str, *, read_as: str | None = None, uncounted: bool = False) -> Model:
    """The model of a preset, or of a file that describes one.

    Args:
        name: a preset; or the path of a `config.json`, of a folder with one, or of a store's `experiment.json`.
        read_as: see `from_config`.
        uncounted: see `from_config`.

    Raises:
        Mistake: if there is no such preset and no such file, or the file cannot be counted.
    """
    path = Path(name)
    if name in PUBLISHED:
        return from_config(PUBLISHED[name].config, f"preset {name}")
    if name in TRANSFORMERS or not (os.path.exists(path) or path.suffix == ".json" or len(path.parts) > 1):
        return transformer(name).model
    file = path / "config.json" if os.path.isdir(path) else path
    data = read_json(file, "a config.json")
    if isinstance(data.get("definition"), dict):
        return _kept(data["definition"], str(file))
    return from_config(data, str(file), read_as=read_as, uncounted=uncounted)


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
    from descentlab._describe import restore  # needs JAX, as nothing else here does

    with decoding(where, "an experiment that this version can read", "name its config.json"):
        experiment = restore(definition, _shapes(definition))
        if not hasattr(experiment, "cost_model"):
            raise TypeError(f"it describes a {type(experiment).__name__}")
    return experiment.cost_model()


def _shapes(definition: Any) -> dict[str, np.ndarray]:
    """Stand-ins of the arrays that an experiment refers to, by their hash: only their last axis has its length."""
    if isinstance(definition, dict) and "given" in definition:
        *before, last = definition["shape"] or [1]
        if not 0 < last <= _LONGEST:
            raise ValueError(f"an array of shape {definition['shape']}")
        return {definition["sha256"]: np.zeros([1] * len(before) + [last], definition["dtype"])}
    inside = definition.values() if isinstance(definition, dict) else definition if isinstance(definition, list) else ()
    return {name: array for one in inside for name, array in _shapes(one).items()}

"""An experiment on somebody's own arrays: the task that they are, and the model that fits their shapes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from descentlab._check import nearest
from descentlab.data import FullBatch
from descentlab.experiment import Experiment
from descentlab.formats import DataError, finite, read_bytes, read_npz
from descentlab.given import Given
from descentlab.mistake import Mistake
from descentlab.models import AttentionLayer, Fixed, MeanPool
from descentlab.tasks import Arrays

__all__ = ["BLOCKS", "experiment_on", "read_arrays"]

_WIDTHS = {"query": "head_dim", "key": "head_dim", "value": "value_dim", "output": "value_dim"}
"""The blocks, each with the field that is the width of a head in it."""

BLOCKS = tuple(_WIDTHS)
"""Names of arrays that are the weights of the start."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file that has at least `inputs` and `targets`.

    Args:
        path: of the file.

    Raises:
        DataError: if it cannot be read, lacks an array, has an unknown one, or one that is not finite.
    """
    wanted = "an .npz file with arrays `inputs` and `targets`"
    content = read_bytes(path, wanted)
    if content.startswith(b"\x93NUMPY"):
        raise DataError(f"wanted {wanted}, but {path} holds a single array; write it with numpy.savez")
    arrays = read_npz(content, str(path))
    if missing := [name for name in ("inputs", "targets") if name not in arrays]:
        held = f"holds {', '.join(arrays)}" if arrays else "is empty"
        raise DataError(f"wanted {wanted}, but {path} {held}; {' and '.join(missing)} missing")
    for name in arrays:
        if name not in (known := ("inputs", "targets", *BLOCKS)):
            raise DataError(f"{path} holds an unknown array {name!r}; {nearest(name, known)}")
    return {name: finite(name, array) for name, array in arrays.items()}


def experiment_on(arrays: Mapping[str, np.ndarray]) -> Experiment:
    """All samples of the arrays and one layer of attention, whose four blocks are trained.

    Args:
        arrays: `inputs` (samples, tokens, width) and `targets` (samples, tokens), (samples, outputs) for one target a
            sample or (samples, tokens, outputs); where wanted `query`, `key`, `value` (heads, width, head width) and
            `output` (heads, head width, outputs), at which the training starts.

    Raises:
        Mistake: if a shape does not fit.
    """
    given = {name: Given(name, array) for name, array in arrays.items()}
    task = Arrays(given["inputs"], given["targets"])
    inputs, targets = arrays["inputs"], arrays["targets"]
    pooled = targets.ndim == 2 and targets.shape[1] != inputs.shape[1]
    sizes: dict[str, Any] = {"output_dim": targets.shape[-1] if pooled or targets.ndim == 3 else 1}
    if pooled:
        sizes["readout"] = MeanPool()
    blocks: dict[str, Any] = {name: Fixed(given[name]) for name in BLOCKS if name in given}
    for name in blocks:
        shape = arrays[name].shape
        if len(shape) != 3:
            sides = f"{_WIDTHS[name]}, outputs" if name == "output" else f"dim, {_WIDTHS[name]}"
            raise Mistake(f"the block {name} must have shape (heads, {sides}), got {shape}")
        sizes |= {"heads": shape[0], _WIDTHS[name]: shape[1] if name == "output" else shape[2]}
    if "value_dim" in sizes:
        sizes = {"head_dim": sizes["value_dim"]} | sizes
    if not blocks and inputs.shape[2] % AttentionLayer().heads:
        sizes["heads"] = 1
    model = AttentionLayer(**sizes, **blocks)
    return Experiment(task=task, model=model, trained=BLOCKS, data=FullBatch(inputs.shape[0]))

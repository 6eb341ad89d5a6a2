"""descentlab: a laboratory for the training dynamics of Transformers.

Public names load on first use, so that `import descentlab` and `descentlab --help` import no JAX.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Experiment": "descentlab.experiment",
    "FullBatch": "descentlab.data",
    "Given": "descentlab.given",
    "Trajectory": "descentlab.trajectory",
    "Status": "descentlab.status",
    "train": "descentlab.train",
}

__all__ = [*_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        # Kept, because importing the submodule `train` puts the module under the name of the function.
        globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return globals()[name]
    raise AttributeError(f"module 'descentlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]

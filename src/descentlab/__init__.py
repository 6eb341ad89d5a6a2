"""descentlab: a laboratory for the training dynamics of Transformers.

Public names load on first use, so that `import descentlab` and `descentlab --help` import no JAX.
"""

import importlib
import sys
import types
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Experiment": "descentlab.experiment",
    "FullBatch": "descentlab.data",
    "Given": "descentlab.given",
    "Mistake": "descentlab.mistake",
    "Trajectory": "descentlab.trajectory",
    "Status": "descentlab.status",
    "train": "descentlab.train",
    "use_compilation_cache": "descentlab.caching",
}

# Type checkers want literal names here; the names would then stand twice.
__all__ = [*_HOMES]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'descentlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]


class _Package(types.ModuleType):
    """This module; importing the submodule `train` does not put it in the place of the function of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

"""descentlab: a laboratory for the training dynamics of Transformers.

What a study or a notebook needs is found here; parts to build experiments of are in `attention`, `models`, `optim`,
`probes`, `tasks`, `datasets` and `losses`, charts in `plots`. Names load on first use, so that `import descentlab` and
`descentlab --help` import no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from descentlab.caching import use_compilation_cache as use_compilation_cache
    from descentlab.claims import About as About
    from descentlab.claims import Claim as Claim
    from descentlab.claims import Verdict as Verdict
    from descentlab.claims import above as above
    from descentlab.claims import at_least as at_least
    from descentlab.claims import at_most as at_most
    from descentlab.claims import below as below
    from descentlab.claims import claim as claim
    from descentlab.claims import close as close
    from descentlab.data import FullBatch as FullBatch
    from descentlab.data import Minibatch as Minibatch
    from descentlab.data import Online as Online
    from descentlab.experiment import Experiment as Experiment
    from descentlab.given import Given as Given
    from descentlab.measures.certification import certify as certify
    from descentlab.measures.curvature import curvature_of as curvature_of
    from descentlab.measures.landscape import landscapes as landscapes
    from descentlab.mistake import Mistake as Mistake
    from descentlab.objective import Examples as Examples
    from descentlab.runs import Run as Run
    from descentlab.runs import Runs as Runs
    from descentlab.schedule import At as At
    from descentlab.schedule import AtEnd as AtEnd
    from descentlab.schedule import Every as Every
    from descentlab.schedule import LogSpaced as LogSpaced
    from descentlab.status import Status as Status
    from descentlab.store import Store as Store
    from descentlab.study import Section as Section
    from descentlab.study import Size as Size
    from descentlab.study import Study as Study
    from descentlab.study import run_study as run_study
    from descentlab.sweep import Request as Request
    from descentlab.sweep import grid as grid
    from descentlab.sweep import run as run
    from descentlab.training import train as train
    from descentlab.trajectory import Trajectory as Trajectory

__version__ = "0.1.0"

_PUBLIC = {
    "caching": ("use_compilation_cache",),
    "claims": ("About", "Claim", "Verdict", "above", "at_least", "at_most", "below", "claim", "close"),
    "data": ("FullBatch", "Minibatch", "Online"),
    "experiment": ("Experiment",),
    "given": ("Given",),
    "measures.certification": ("certify",),
    "measures.curvature": ("curvature_of",),
    "measures.landscape": ("landscapes",),
    "mistake": ("Mistake",),
    "objective": ("Examples",),
    "runs": ("Run", "Runs"),
    "schedule": ("At", "AtEnd", "Every", "LogSpaced"),
    "status": ("Status",),
    "store": ("Store",),
    "study": ("Section", "Size", "Study", "run_study"),
    "sweep": ("Request", "grid", "run"),
    "training": ("train",),
    "trajectory": ("Trajectory",),
}
"""The names above by module; what type checkers read is not read when the package is imported."""

_HOMES = {name: f"{__name__}.{module}" for module, names in _PUBLIC.items() for name in names}

# Type checkers want literal names here; the names would then stand three times.
__all__ = [*_HOMES]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'descentlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]

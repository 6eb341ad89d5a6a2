"""What was once called otherwise in definitions, so that what was stored then is read.

The name of a class is public or that of a file. One that has only gone from a file of its package into another needs
no line: it is looked for in the package too. Lines stay for good.
"""

from typing import Any

__all__ = ["MOVED", "VALUES"]

MOVED = {
    "descentlab.objective:CrossEntropy": "descentlab.losses:CrossEntropy",
    "descentlab.objective:SquaredError": "descentlab.losses:SquaredError",
    "descentlab.studies.kim2023_inference.marked:Marked": "descentlab.datasets:Marked",
    "descentlab.studies.kim2023_inference:Marked": "descentlab.datasets:Marked",
    "descentlab.studies.ormaniec2024_hessian.norms:Growth": "descentlab.probes:Growth",
    "descentlab.studies.ormaniec2024_hessian:Growth": "descentlab.probes:Growth",
}
"""The name of today by the name of then."""

VALUES: dict[tuple[str, str], dict[Any, Any]] = {
    ("descentlab.probes:HeldOut", "part"): {"development": "held_out"},
    ("descentlab.models:Transformer", "positions"): {
        True: {"class": "descentlab.models:LearnedPositions"},
        False: {"class": "descentlab.models:NoPositions"},
    },
}
"""The data of today by the plain data of then, for fields by class and name."""

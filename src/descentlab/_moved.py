"""Classes of definitions that were once called otherwise, so that what was stored under the old name is read.

A name is public or that of a file. A class that has only gone from a file of its package into another one needs no
line: it is looked for in the package too. Lines stay for good.
"""

__all__ = ["MOVED"]

MOVED = {
    "descentlab.objective:CrossEntropy": "descentlab.losses:CrossEntropy",
    "descentlab.objective:SquaredError": "descentlab.losses:SquaredError",
}
"""The name of today by the name of then."""

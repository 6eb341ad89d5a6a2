"""Rooflines: the least time of an operator on a machine that is known by two numbers.

time >= max(FLOPs / peak rate, bytes / bandwidth)
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from descentlab._check import nearest, positive
from descentlab.cost.operators import Operator, Sizes
from descentlab.cost.precision import Precision, moved_bytes, precision
from descentlab.mistake import Mistake

__all__ = ["MACHINES", "Machine", "bound", "least_seconds", "machine", "seconds"]


@dataclasses.dataclass(frozen=True)
class Machine:
    """A machine as a roofline sees it.

    Attributes:
        name: of the machine.
        peaks: operations a second by precision, dense.
        bandwidth: bytes a second between its memory and its cores.
        source: where the numbers are from.

    Raises:
        Mistake: if a rate is not above 0.
    """

    name: str
    peaks: Mapping[str, float]
    bandwidth: float
    source: str

    def __post_init__(self):
        positive(self, "bandwidth")
        for name, peak in self.peaks.items():
            if not peak > 0:
                raise Mistake(f"Machine.peaks must be above 0, got {peak} for {name}")

    def peak(self, precision: str) -> float:
        """Operations a second in a precision.

        Raises:
            Mistake: if it is not known.
        """
        if precision not in self.peaks:
            raise Mistake(f"the peak of {self.name} in {precision} is not known; {nearest(precision, self.peaks)}")
        return self.peaks[precision]

    def ridge(self, precision: str) -> float:
        """Operations a byte from which on the machine is bound by its rate and not by its memory."""
        return self.peak(precision) / self.bandwidth


_SHEET = "the vendor's data sheet, without sparsity"
_AMPERE = {"int8": 624e12, "bfloat16": 312e12, "float16": 312e12, "float32": 19.5e12}
_HOPPER = {"int8": 1979e12, "fp8": 1979e12, "bfloat16": 989e12, "float16": 989e12, "float32": 67e12}

MACHINES = {
    "v100": Machine("NVIDIA V100 SXM2", {"float16": 125e12, "float32": 15.7e12}, 900e9, _SHEET),
    "a100": Machine("NVIDIA A100 SXM 80 GB", _AMPERE, 2039e9, _SHEET),
    "h100": Machine("NVIDIA H100 SXM", _HOPPER, 3.35e12, _SHEET),
    "h200": Machine("NVIDIA H200 SXM", _HOPPER, 4.8e12, _SHEET),
    "gemmini": Machine("Gemmini, 16 x 16 at 1 GHz", {"int8": 512e9}, 64e9, "the analytic model of Kim et al. 2023"),
}
"""Machines by name."""


def machine(name: str) -> Machine:
    """The machine of a name.

    Raises:
        Mistake: if there is none.
    """
    if name not in MACHINES:
        raise Mistake(f"there is no machine {name!r}; {nearest(name, [*MACHINES, 'here'])}")
    return MACHINES[name]


def seconds(on: Machine, operator: Operator, of: str | Precision) -> Sizes:
    """The least time of one operator, entry by entry of its sizes.

    Args:
        on: the machine.
        operator: what is done.
        of: the precision of all entries, or of their kinds.

    Raises:
        Mistake: if the machine's peak in this precision is not known.
    """
    of = precision(of)
    return np.maximum(operator.flops / on.peak(of.computing), moved_bytes(operator, of) / on.bandwidth)


def least_seconds(on: Machine, operators: Sequence[Operator], of: str | Precision) -> np.float64 | np.ndarray:
    """The least time of operators one after another, summed over the last axis of their sizes."""
    times = (np.sum(np.atleast_1d(seconds(on, one, of)), axis=-1, dtype=float) for one in operators)
    return sum(times, np.float64(0))


def bound(on: Machine, operator: Operator, of: str | Precision) -> str:
    """On what an operator is bound: *compute* or *memory*."""
    of = precision(of)
    intensity = np.sum(operator.flops) / np.sum(moved_bytes(operator, of))
    return "compute" if intensity >= on.ridge(of.computing) else "memory"

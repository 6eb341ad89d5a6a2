"""Counts, bounds and modelled times of a list of operators by class: the table that a user reads."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from descentlab.cost.accelerator import Accelerator, energy, latency
from descentlab.cost.operators import GROUPS, Operator, total
from descentlab.cost.precision import Precision, moved_bytes, precision
from descentlab.cost.roofline import Machine, least_seconds

__all__ = ["CostRow", "breakdown"]


@dataclasses.dataclass(frozen=True)
class CostRow:
    """One class of operators, or all of them.

    Attributes:
        group: the class, or *total*.
        flops: operations.
        bytes: read and written where every operand is read once.
        least_seconds: by the roofline, operators one after another.
        bound: on what the class as a whole is bound, *compute* or *memory*.
        model_seconds: on the modelled accelerator, if there is one.
        joule: on it.
    """

    group: str
    flops: float
    bytes: float
    least_seconds: float
    bound: str
    model_seconds: float | None = None
    joule: float | None = None

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.flops / self.bytes

    def as_data(self) -> dict[str, Any]:
        """The row as JSON-compatible data."""
        return dataclasses.asdict(self) | {"intensity": self.intensity}


def breakdown(
    operators: Sequence[Operator] | Mapping[str, Sequence[Operator]],
    machine: Machine,
    of: str | Precision,
    accelerator: Accelerator | None = None,
) -> list[CostRow]:
    """One row a class of operators, in the order of `GROUPS`, then their total.

    Args:
        operators: of one model; sizes have no axis of candidates. Given by names, these are the rows.
        machine: the roofline.
        of: precision of all entries, a key of `BYTES`, or of their kinds.
        accelerator: the modelled one, where wanted.

    Raises:
        Mistake: if the machine's peak in this precision is not known.
    """
    if isinstance(operators, Mapping):
        parts = dict(operators)
    else:
        parts = {group: [one for one in operators if one.group == group] for group in GROUPS}
        parts = {group: found for group, found in parts.items() if found}
    parts["total"] = [one for found in parts.values() for one in found]
    return [_row(group, part, machine, precision(of), accelerator) for group, part in parts.items()]


def _row(
    group: str, operators: Sequence[Operator], machine: Machine, of: Precision, accelerator: Accelerator | None
) -> CostRow:
    flops = float(total(operators, "flops"))
    moved = sum(float(np.sum(moved_bytes(one, of), dtype=float)) for one in operators)
    return CostRow(
        group,
        flops,
        moved,
        float(least_seconds(machine, operators, of)),
        "compute" if flops / moved >= machine.ridge(of.computing) else "memory",
        None if accelerator is None else float(latency(accelerator, operators) / accelerator.clock),
        None if accelerator is None else float(energy(accelerator, operators)),
    )

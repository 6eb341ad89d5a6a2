"""Counts, bounds and modelled times of a list of operators by class: the table that a user reads."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from descentlab.cost.accelerator import Accelerator, energy, latency
from descentlab.cost.operators import GROUPS, Operator, total
from descentlab.cost.roofline import BYTES, Machine, least_seconds

__all__ = ["Row", "breakdown"]


@dataclasses.dataclass(frozen=True)
class Row:
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
    operators: Sequence[Operator], machine: Machine, precision: str, accelerator: Accelerator | None = None
) -> list[Row]:
    """One row a class of operators, in the order of `GROUPS`, then their total.

    Args:
        operators: of one model; sizes have no axis of candidates.
        machine: the roofline.
        precision: of the entries, a key of `BYTES`.
        accelerator: the modelled one, where wanted.

    Raises:
        ValueError: if the machine's peak in this precision is not known.
    """
    groups = [group for group in GROUPS if any(one.group == group for one in operators)]
    parts = {group: [one for one in operators if one.group == group] for group in groups} | {"total": operators}
    return [_row(group, part, machine, precision, accelerator) for group, part in parts.items()]


def _row(
    group: str, operators: Sequence[Operator], machine: Machine, precision: str, accelerator: Accelerator | None
) -> Row:
    flops, moved = float(total(operators, "flops")), float(total(operators, "moved")) * BYTES[precision]
    return Row(
        group,
        flops,
        moved,
        float(least_seconds(machine, operators, precision)),
        "compute" if flops / moved >= machine.ridge(precision) else "memory",
        None if accelerator is None else float(latency(accelerator, operators) / accelerator.clock),
        None if accelerator is None else float(energy(accelerator, operators)),
    )

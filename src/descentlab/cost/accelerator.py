"""An analytic model of an accelerator like Gemmini: cycles, bytes and energy of operators.

A square array of processing elements keeps tiles of the left factor and streams the right one; a vector unit does
what is nonlinear. Data goes from DRAM to a second-level memory, from there to scratchpad and accumulator. Tiles are
squares as large as memories allow, computing and moving overlap perfectly, and operators are not fused.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from descentlab._check import not_negative, positive
from descentlab.cost.operators import Elementwise, Operator, Sizes
from descentlab.mistake import Mistake

__all__ = ["Accelerator", "Energy", "cycles", "energy", "latency", "local_bytes", "main_bytes"]


@dataclasses.dataclass(frozen=True)
class Energy:
    """Energy of single operations in picojoule, at 45 nm; the defaults are those of the survey's section on precision.

    Attributes:
        multiply_add: an 8-bit product (0.2) added to a 32-bit sum (0.1).
        vector: an operation of the vector unit: the mean of a 32-bit addition (0.1) and a 32-bit product (3.1).
        sram: a byte of an 8 kB memory, of which 4 cost 5. A larger one is taken to cost more by the root of its size.
        dram: a byte of DRAM, of which 4 cost 640.
    """

    multiply_add: float = 0.3
    vector: float = 1.6
    sram: float = 1.25
    dram: float = 160.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            not_negative(self, field.name)


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """Sizes of the machine; the defaults are those of the survey's analytic model.

    Attributes:
        array: rows and columns of processing elements.
        lanes: width of the vector unit.
        dram_rate: bytes a cycle between DRAM and the second-level memory.
        local_rate: bytes a cycle between that and scratchpad or accumulator.
        second_level: bytes of the second-level memory; half of it holds two operand tiles.
        scratchpad: bytes for operands.
        accumulator: bytes for results before they are narrowed.
        input_bytes: of an operand's entry.
        output_bytes: of an entry of the accumulator.
        preload: cycles to put a tile of the left factor into the array; 0 if that overlaps with computing.
        clock: cycles a second.
        energy: of single operations.

    Raises:
        Mistake: if a size is not above 0, or a memory does not hold one tile of the array.
    """

    array: int = 16
    lanes: int = 16
    dram_rate: float = 64.0
    local_rate: float = 16.0
    second_level: int = 2 * 2**20
    scratchpad: int = 256 * 2**10
    accumulator: int = 128 * 2**10
    input_bytes: int = 1
    output_bytes: int = 4
    preload: int = 0
    clock: float = 1e9
    energy: Energy = Energy()

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.name not in ("preload", "energy"):
                positive(self, field.name)
        not_negative(self, "preload")
        tile = self.array**2
        needed = {
            "scratchpad": 4 * tile * self.input_bytes,
            "accumulator": tile * self.output_bytes,
            "second_level": 2 * tile * self.input_bytes,
        }
        for name, least in needed.items():
            if getattr(self, name) < least:
                raise Mistake(
                    f"Accelerator.{name} must hold one tile of the {self.array} x {self.array} array, {least} bytes, "
                    f"got {getattr(self, name)}; enlarge it or choose a smaller array"
                )

    @property
    def main_tile(self) -> int:
        """Side of the tiles that go from DRAM to the second-level memory."""
        return int((self.second_level / 2 / self.input_bytes) ** 0.5)

    @property
    def local_tile(self) -> int:
        """Side of the result's tiles in the accumulator, fed from strips in the double-buffered scratchpad."""
        return min(int((self.accumulator / self.output_bytes) ** 0.5), self.strip)

    @property
    def strip(self) -> int:
        """Longest side whose two strips, one array wide, the scratchpad holds twice."""
        return self.scratchpad // (4 * self.array * self.input_bytes)


def _bytes(machine: Accelerator, operator: Operator, tile: int) -> Sizes:
    """Bytes of one instance of an operator between two memories of which the nearer one holds tiles of this side."""
    narrow, wide = machine.input_bytes, machine.output_bytes
    if isinstance(operator, Elementwise):
        first = wide if operator.wide else narrow
        each = first + (operator.reads - 1) * narrow + narrow
        return operator.elements * each + operator.parameters * wide
    m, n = operator.rows, operator.columns
    operands = m * operator.inner * np.ceil(n / tile) + operator.streamed * np.ceil(m / tile)
    result = m * n * (wide if operator.wide else narrow)
    return narrow * (operands + m * n * operator.bias) + result


def main_bytes(machine: Accelerator, operator: Operator) -> Sizes:
    """Bytes to and from DRAM: an operand is read again for every tile of the other one that does not fit.

    A product of m x k and k x n entries with tiles of side T moves m k ceil(n / T) + k n ceil(m / T) operands, m n
    results and, with a bias, m n entries of it.
    """
    return operator.count * _bytes(machine, operator, machine.main_tile)


def local_bytes(machine: Accelerator, operator: Operator) -> Sizes:
    """Bytes to and from scratchpad and accumulator, by the formula of `main_bytes` with their smaller tile."""
    return operator.count * _bytes(machine, operator, machine.local_tile)


def compute_cycles(machine: Accelerator, operator: Operator, columns: Sizes = None) -> Sizes:
    """Cycles of array or vector unit: ceil(m/W) ceil(k/W) n for a product, passes times entries over lanes else.

    Args:
        machine: the accelerator.
        operator: what is computed.
        columns: results that a tile of the left factor serves before it is loaded again; the local tile if `None`.
    """
    if isinstance(operator, Elementwise):
        return operator.count * operator.passes * operator.elements / machine.lanes
    served = machine.local_tile if columns is None else columns
    tiles = np.ceil(operator.rows / machine.array) * np.ceil(operator.inner / machine.array)
    loads = machine.preload * np.ceil(operator.columns / served)
    return operator.count * tiles * (operator.columns + loads)


def memory_cycles(machine: Accelerator, operator: Operator) -> Sizes:
    """Cycles of moving data, one memory after the other."""
    return main_bytes(machine, operator) / machine.dram_rate + local_bytes(machine, operator) / machine.local_rate


def cycles(machine: Accelerator, operator: Operator) -> Sizes:
    """Cycles of an operator: the larger of computing and moving."""
    return np.maximum(compute_cycles(machine, operator), memory_cycles(machine, operator))


def latency(machine: Accelerator, operators: Sequence[Operator], group: str | None = None) -> np.float64 | np.ndarray:
    """Cycles of operators one after another, summed over the last axis of their sizes.

    Args:
        machine: the accelerator.
        operators: what is done.
        group: only operators of this class.
    """
    return _sum(cycles(machine, one) for one in operators if group in (None, one.group))


def energy(machine: Accelerator, operators: Sequence[Operator]) -> np.float64 | np.ndarray:
    """Energy of operators in joule.

    Operations of the array and the vector unit, bytes of DRAM, of the second-level memory and of the local ones. A
    byte of the right factor is read once a row of the array, a partial sum read and written once a tile. Leakage is
    left out.
    """
    return _sum(picojoule(machine, one) for one in operators) * 1e-12


def picojoule(machine: Accelerator, operator: Operator) -> Sizes:
    """Energy of one operator."""
    cost = machine.energy
    level = cost.sram * (machine.second_level / 8192) ** 0.5
    pad, sums = (cost.sram * (size / 8192) ** 0.5 for size in (machine.scratchpad, machine.accumulator))
    moved = main_bytes(machine, operator) * (cost.dram + level) + local_bytes(machine, operator) * (level + pad)
    if isinstance(operator, Elementwise):
        return moved + operator.flops * cost.vector
    products = operator.count * operator.rows * operator.inner * operator.columns
    near = products / machine.array * (machine.input_bytes * pad + 2 * machine.output_bytes * sums)
    return moved + near + products * cost.multiply_add


def _sum(parts) -> np.float64 | np.ndarray:
    return sum((np.sum(np.atleast_1d(part), axis=-1, dtype=float) for part in parts), np.float64(0))

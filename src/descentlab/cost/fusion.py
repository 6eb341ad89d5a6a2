"""A product and the nonlinear operator that follows it, one after the other or fused.

Fused, the result stays in the accumulator and nothing of it is moved in between. But softmax and LayerNorm need all
entries of a column of the result at once, so the accumulator holds whole columns and thus fewer of them, and every tile
of the left factor is loaded into the array for each group of columns. What is done in one pass, such as the Gaussian
kernel, takes any tile.
"""

import dataclasses

import numpy as np

from descentlab.cost.accelerator import Accelerator, compute_cycles, cycles
from descentlab.cost.operators import Elementwise, Matmul, Sizes
from descentlab.mistake import Mistake

__all__ = ["Pair", "pair"]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Cycles of a product with the operator after it.

    Attributes:
        apart: cycles of one after the other.
        fused: cycles of both together.
        columns: columns of the result that are in the accumulator at once.
    """

    apart: float
    fused: float
    columns: int

    @property
    def saved(self) -> float:
        """The part of the cycles that fusing saves; below 0 it costs."""
        return 1 - self.fused / self.apart


def pair(machine: Accelerator, product: Matmul, after: Elementwise) -> Pair:
    """Cycles of a product and of the operator on its result, apart and fused.

    Args:
        machine: the accelerator; without `preload` fused products cost nothing more, so it should have one.
        product: the product, one size each.
        after: what is done with its result; in more than one pass it needs whole columns.

    Returns:
        The cycles. Array and vector unit overlap when fused: while one group of columns is normalised, the next is
        computed.

    Raises:
        Mistake: if the accumulator does not hold one column.
    """
    whole = after.passes > 1
    held = machine.accumulator // (machine.output_bytes * int(np.max(product.rows))) if whole else machine.local_tile
    if held < 1:
        raise Mistake(
            f"fusing {product.name} with {after.name} needs an accumulator of at least "
            f"{machine.output_bytes * int(np.max(product.rows))} bytes for one column, got {machine.accumulator}"
        )
    apart = np.sum(cycles(machine, product)) + np.sum(cycles(machine, after))
    computing = compute_cycles(machine, product, columns=min(held, machine.strip))
    fused = np.maximum(np.maximum(computing, compute_cycles(machine, after)), _moving(machine, product, after, held))
    return Pair(float(apart), float(np.sum(fused)), held)


def _moving(machine: Accelerator, product: Matmul, after: Elementwise, held: int) -> Sizes:
    """Cycles of moving both factors, the narrow result and what the operator reads besides the product."""
    own = after.parameters * machine.output_bytes + (after.reads - 1) * machine.input_bytes * after.elements
    shared = product.count * machine.input_bytes * product.rows * product.columns * (1 + product.bias)
    left, right = product.rows * product.inner, product.streamed
    bands = 1 if after.passes > 1 else np.ceil(product.rows / held)
    groups, tiles = np.ceil(product.columns / held), np.ceil(product.columns / machine.main_tile)
    again = np.ceil(product.rows / machine.main_tile)
    main = product.count * machine.input_bytes * (left * tiles + right * again) + shared + after.count * own
    local = product.count * machine.input_bytes * (left * groups + right * bands) + shared + after.count * own
    return main / machine.dram_rate + local / machine.local_rate

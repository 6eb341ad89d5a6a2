"""Mappings: how the loops of a product or a convolution are cut and ordered on the accelerator.

A problem is a nest of loops over `DIMENSIONS`. A mapping splits each loop into a part that runs in the array, one in
scratchpad and accumulator, one in the second-level memory and one outside, and orders the loops of the outer two.
Latency, energy and their product follow from how often tiles are loaded. All functions take many mappings at once.
"""

import dataclasses
import math

import numpy as np

from descentlab.cost.accelerator import Accelerator
from descentlab.cost.operators import Matmul
from descentlab.mistake import Mistake

__all__ = ["DIMENSIONS", "Mappings", "MappingCost", "Problem", "best", "evaluate", "problem", "sample"]

DIMENSIONS = ("out", "in", "high", "wide", "filter high", "filter wide")
"""Loops: output channels, input channels, sides of the output, sides of a filter. A product uses out, in and high."""

TRIES = 1000
"""So many times the wanted number of mappings are drawn before sampling is given up."""

LEVELS = 4
"""Parts of a loop: outside, second-level memory, local memories, array."""

_SPATIAL = np.array([True, True, False, False, False, False])
_RELEVANT = np.array([[1, 1, 0, 0, 1, 1], [0, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0]], dtype=bool)
"""Which loops change the entry of filters, input and output."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """Lengths of the loops of one operator, with the stride of a convolution."""

    name: str
    lengths: tuple[int, int, int, int, int, int]
    stride: int = 1

    def __post_init__(self):
        if len(self.lengths) != len(DIMENSIONS) or min(self.lengths) < 1 or self.stride < 1:
            raise Mistake(
                f"{self.name} needs {len(DIMENSIONS)} lengths of at least 1, for {', '.join(DIMENSIONS)}, "
                f"got {self.lengths} with stride {self.stride}"
            )

    @property
    def multiply_adds(self) -> int:
        """Products of one input entry with one of the filters."""
        return math.prod(self.lengths)


def problem(operator: Matmul) -> Problem:
    """The loops of a matrix product: rows as output channels, the contracted size as input channels.

    Raises:
        Mistake: if its sizes are not single whole numbers.
    """
    sizes = [np.asarray(size) for size in (operator.rows, operator.inner, operator.columns)]
    if any(size.size != 1 or size.item() != int(size.item()) for size in sizes):
        raise Mistake(f"a mapping is of one product, but {operator.name} has sizes {sizes}")
    rows, inner, columns = (int(size.item()) for size in sizes)
    return Problem(operator.name, (rows, inner, columns, 1, 1, 1))


@dataclasses.dataclass(frozen=True)
class Mappings:
    """Many mappings of one problem.

    Attributes:
        factors: of shape (mappings, dimensions, levels), their product over levels is the length of the loop.
        order: of shape (mappings, 2, dimensions): the rank of a loop outside and in the second-level memory, the
            largest innermost.
    """

    factors: np.ndarray
    order: np.ndarray

    def __len__(self) -> int:
        return len(self.factors)

    def take(self, which: np.ndarray) -> "Mappings":
        """Some of them."""
        return Mappings(self.factors[which], self.order[which])


@dataclasses.dataclass(frozen=True)
class MappingCost:
    """What mappings come to, one entry each.

    Attributes:
        cycles: the largest of computing and of moving between either pair of memories.
        picojoule: energy.
        valid: whether its tiles fit.
    """

    cycles: np.ndarray
    picojoule: np.ndarray
    valid: np.ndarray

    @property
    def edp(self) -> np.ndarray:
        """Energy times delay; infinite where tiles do not fit."""
        return np.where(self.valid, self.cycles * self.picojoule, np.inf)


def splittings(length: int, largest: int) -> np.ndarray:
    """All ordered ways to write a length as `LEVELS` factors, the last at most `largest`; one a row."""
    divisors = [d for d in range(1, length + 1) if length % d == 0]
    found = [
        (length // (a * b * c), a, b, c)
        for c in divisors
        if c <= largest
        for b in divisors
        if (length // c) % b == 0
        for a in divisors
        if (length // (b * c)) % a == 0
    ]
    return np.array(found)


def _tables(of: Problem, machine: Accelerator) -> list[np.ndarray]:
    return [
        splittings(length, machine.array if spatial else 1)
        for length, spatial in zip(of.lengths, _SPATIAL, strict=True)
    ]


def _footprints(tile: np.ndarray, stride: int) -> np.ndarray:
    """Entries of filters, input and output that a tile of loops (mappings, dimensions) touches."""
    out, inner, high, wide, filter_high, filter_wide = tile.T
    side = ((high - 1) * stride + filter_high) * ((wide - 1) * stride + filter_wide)
    return np.stack([out * inner * filter_high * filter_wide, inner * side, out * high * wide], axis=1)


def _loads(factors: np.ndarray, order: np.ndarray) -> np.ndarray:
    """How often each operand's tile changes in loops of one level: the product of those at or outside its innermost.

    Loops inside the innermost relevant one that is longer than 1 leave the tile where it is. What the level outside
    of this one keeps in place is not looked at.
    """
    relevant = _RELEVANT[None] & (factors > 1)[:, None]
    innermost = np.where(relevant, order[:, None], -1).max(axis=2)
    outside = order[:, None] <= innermost[..., None]
    return np.where(outside, factors[:, None], 1).prod(axis=2)


def evaluate(of: Problem, mappings: Mappings, machine: Accelerator) -> MappingCost:
    """Cycles, energy and validity of mappings.

    Filters and input are read at the width of an operand. Partial sums that leave a memory before they are whole are
    written and read again in the width of the accumulator.

    Args:
        of: the problem.
        mappings: what is evaluated.
        machine: the accelerator; its tiles are not used, the mappings bring their own.

    Returns:
        One number a mapping.
    """
    factors = mappings.factors.astype(float)
    outside, second, local, spatial = np.moveaxis(factors, 2, 0)
    near = _footprints(local * spatial, of.stride)
    middle = _footprints(second * local * spatial, of.stride)
    far_loads = _loads(outside, mappings.order[:, 0])
    near_loads = _loads(second, mappings.order[:, 1]) * outside.prod(axis=1)[:, None]
    width = np.array([machine.input_bytes, machine.input_bytes, machine.output_bytes])
    results = np.prod([of.lengths[0], of.lengths[2], of.lengths[3]]) * float(machine.output_bytes)
    main, close = (_traffic(moved * width, results) for moved in (far_loads * middle, near_loads * near))
    compute = of.multiply_adds / spatial.prod(axis=1)
    valid = (near[:, 0] + near[:, 1]) * machine.input_bytes <= machine.scratchpad
    valid &= near[:, 2] * machine.output_bytes <= machine.accumulator
    valid &= (middle * width).sum(axis=1) <= machine.second_level
    cycles = np.maximum(compute, np.maximum(main / machine.dram_rate, close / machine.local_rate))
    return MappingCost(cycles, _picojoule(of, machine, (main, close), spatial), valid)


def _traffic(moved: np.ndarray, results: float) -> np.ndarray:
    """Bytes of all operands; every writing of a partial sum but the last is followed by a reading."""
    return moved[:, 0] + moved[:, 1] + 2 * moved[:, 2] - results


def _picojoule(
    of: Problem, machine: Accelerator, bytes_moved: tuple[np.ndarray, np.ndarray], spatial: np.ndarray
) -> np.ndarray:
    """Energy by the figures of `Energy`: the array shares an input over its rows and a sum over its columns."""
    cost, products = machine.energy, of.multiply_adds
    level, pad, sums = (
        cost.sram * (size / 8192) ** 0.5 for size in (machine.second_level, machine.scratchpad, machine.accumulator)
    )
    main, close = bytes_moved
    near = machine.input_bytes * pad / spatial[:, 0] + 2 * machine.output_bytes * sums / spatial[:, 1]
    return main * (cost.dram + level) + close * (level + pad) + products * (near + cost.multiply_add)


def sample(of: Problem, machine: Accelerator, count: int, *, seed: int = 0) -> tuple[Mappings, MappingCost]:
    """Random valid mappings: every loop's splitting and every order equally likely, until `count` of them fit.

    Args:
        of: the problem.
        machine: the accelerator.
        count: how many are wanted.
        seed: of the random numbers.

    Returns:
        The mappings and what they come to.

    Raises:
        Mistake: if `count` is below 1, or hardly any mapping fits.
    """
    if count < 1:
        raise Mistake(f"wanted at least 1 mapping, got {count}")
    random, tables = np.random.default_rng(seed), _tables(of, machine)
    kept: list[Mappings] = []
    for _ in range(TRIES):
        chosen = [table[random.integers(len(table), size=count)] for table in tables]
        order = random.random((count, 2, len(DIMENSIONS))).argsort(axis=2)
        drawn = Mappings(np.stack(chosen, axis=1), order)
        kept.append(drawn.take(evaluate(of, drawn, machine).valid))
        if sum(map(len, kept)) >= count:
            break
    else:
        raise Mistake(f"fewer than one in {TRIES} random mappings of {of.name} fit the memories; enlarge them")
    factors, orders = (np.concatenate([getattr(one, name) for one in kept])[:count] for name in ("factors", "order"))
    mappings = Mappings(factors, orders)
    return mappings, evaluate(of, mappings, machine)


def best(of: Problem, machine: Accelerator, *, seed: int = 0) -> tuple[Mappings, MappingCost]:
    """The mapping with the least energy times delay that differential evolution finds.

    There is no proof that it is the best of all.

    Args:
        of: the problem.
        machine: the accelerator.
        seed: of the search.

    Returns:
        One mapping and what it comes to.
    """
    from scipy.optimize import differential_evolution

    tables = _tables(of, machine)
    lengths = np.array([len(table) for table in tables])

    def decoded(points: np.ndarray) -> Mappings:
        """Mappings from points of the unit cube, one a row: a place in each table, then keys that sort the loops."""
        at = np.minimum((points[:, : len(tables)] * lengths).astype(int), lengths - 1)
        factors = np.stack([table[places] for table, places in zip(tables, at.T, strict=True)], axis=1)
        keys = points[:, len(tables) :].reshape(len(points), 2, len(DIMENSIONS))
        return Mappings(factors, keys.argsort(axis=2).argsort(axis=2))

    def cost(points: np.ndarray) -> np.ndarray:
        return np.log(np.minimum(evaluate(of, decoded(points.T), machine).edp, 1e300))

    found = differential_evolution(
        cost,
        [(0.0, 1.0)] * (3 * len(DIMENSIONS)),
        rng=seed,
        vectorized=True,
        updating="deferred",
        polish=False,
        tol=1e-6,
        maxiter=300,
    )
    mapping = decoded(found.x[None])
    return mapping, evaluate(of, mapping, machine)

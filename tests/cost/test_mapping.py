"""Mappings against a nest of loops that is run step by step, and exhaustively where that is possible."""

import itertools

import numpy as np
import pytest

from descentlab.cost import mapping
from descentlab.cost.accelerator import Accelerator
from descentlab.cost.mapping import DIMENSIONS, Mappings, Problem, best, evaluate, problem, sample, splittings
from descentlab.cost.operators import Matmul

TINY = Accelerator(array=2, second_level=256, scratchpad=64, accumulator=64, dram_rate=4.0, local_rate=2.0)
PRODUCT = Problem("product", (4, 6, 3, 1, 1, 1))
CONVOLUTION = Problem("convolution", (4, 2, 3, 2, 3, 1), stride=2)
USES = {"filters": (0, 1, 4, 5), "input": (1, 2, 3, 4, 5), "output": (0, 2, 3)}


def walked(of, factors, order, level):
    """How often each operand's tile is loaded in loops outside (0) or in the second-level memory (1), by walking."""
    loads = dict.fromkeys(USES, 0)
    outer = itertools.product(*(range(factors[d, 0]) for d in range(6))) if level else [()]
    for _ in outer:
        ranked = np.argsort(order[level])
        held = dict.fromkeys(USES)
        for place in itertools.product(*(range(factors[d, level]) for d in ranked)):
            at = dict(zip(ranked, place, strict=True))
            for operand, uses in USES.items():
                needed = tuple(at[d] for d in uses)
                if held[operand] != needed:
                    loads[operand], held[operand] = loads[operand] + 1, needed
    return loads


def touched(factors, levels, stride):
    """Entries of each operand that the loops of these levels touch, one by one; of the input the box around them."""
    lengths = [int(np.prod(factors[d, levels])) for d in range(6)]
    filters, outputs, rows, columns = set(), set(), set(), set()
    for out, inner, high, wide, fh, fw in itertools.product(*map(range, lengths)):
        filters.add((out, inner, fh, fw))
        rows.add(high * stride + fh)
        columns.add(wide * stride + fw)
        outputs.add((out, high, wide))
    return len(filters), lengths[1] * (max(rows) + 1) * (max(columns) + 1), len(outputs)


@pytest.mark.parametrize("of", [PRODUCT, CONVOLUTION], ids=lambda of: of.name)
def test_cycles_and_validity_are_those_of_the_loops(of):
    mappings, outcome = sample(of, TINY, 20, seed=1)
    for at in range(len(mappings)):
        factors, order = mappings.factors[at], mappings.order[at]
        near, middle = (touched(factors, list(levels), of.stride) for levels in ((2, 3), (1, 2, 3)))
        assert near[0] + near[1] <= TINY.scratchpad
        assert 4 * near[2] <= TINY.accumulator
        assert middle[0] + middle[1] + 4 * middle[2] <= TINY.second_level
        moved = []
        for level, tiles in ((0, middle), (1, near)):
            loads = walked(of, factors, order, level)
            results = 4 * of.lengths[0] * of.lengths[2] * of.lengths[3]
            moved.append(
                loads["filters"] * tiles[0] + loads["input"] * tiles[1] + 8 * loads["output"] * tiles[2] - results
            )
        compute = of.multiply_adds / np.prod(factors[:, 3])
        assert outcome.cycles[at] == max(compute, moved[0] / TINY.dram_rate, moved[1] / TINY.local_rate)
        assert outcome.valid[at]


def test_energy_is_that_of_its_operations_where_only_those_cost():
    from descentlab.cost.accelerator import Energy

    machine = Accelerator(array=2, energy=Energy(1.0, 0.0, 0.0, 0.0))
    _, outcome = sample(PRODUCT, machine, 5)
    assert np.all(outcome.picojoule == PRODUCT.multiply_adds)


@pytest.mark.parametrize(("length", "largest"), [(12, 4), (7, 16), (1, 1)])
def test_all_splittings_are_there_once(length, largest):
    found = {tuple(row) for row in splittings(length, largest).tolist()}
    every = {
        row for row in itertools.product(range(1, length + 1), repeat=4) if np.prod(row) == length and row[3] <= largest
    }
    assert found == every
    assert len(splittings(length, largest)) == len(every)


def test_the_search_finds_the_best_of_all_mappings():
    of = Problem("small", (2, 4, 2, 1, 1, 1))
    orders = [np.array(rank) for rank in itertools.permutations(range(3))]
    tables = [splittings(length, 2 if d < 2 else 1) for d, length in enumerate(of.lengths)]
    factors = np.array(list(itertools.product(*tables)))
    least = np.inf
    for first, second in itertools.product(orders, repeat=2):
        rank = np.array([[*first, 3, 4, 5], [*second, 3, 4, 5]])
        order = np.broadcast_to(rank, (len(factors), 2, 6))
        least = min(least, evaluate(of, Mappings(factors, order), TINY).edp.min())
    assert best(of, TINY)[1].edp[0] == pytest.approx(least, rel=1e-12)


def test_sampling_is_determined_by_its_seed_and_gives_what_is_wanted():
    first, again, other = (sample(PRODUCT, TINY, 50, seed=seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(first.factors, again.factors)
    assert not np.array_equal(first.factors, other.factors)
    assert first.factors.shape == (50, len(DIMENSIONS), 4)
    assert np.all(first.factors.prod(axis=2) == PRODUCT.lengths)


def test_tiles_that_do_not_fit_cost_without_end():
    whole = np.ones((1, 6, 4), dtype=int)
    whole[0, :3, 2] = PRODUCT.lengths[:3]
    order = np.broadcast_to(np.arange(6), (1, 2, 6))
    small = Accelerator(array=1, second_level=256, scratchpad=8, accumulator=64)
    outcome = evaluate(PRODUCT, Mappings(whole, order), small)
    assert not outcome.valid[0]
    assert outcome.edp[0] == np.inf


def test_memories_that_hold_hardly_anything_are_said(monkeypatch):
    monkeypatch.setattr(mapping, "TRIES", 3)
    small = Accelerator(array=1, second_level=8, scratchpad=4, accumulator=4)
    with pytest.raises(ValueError, match="fewer than one in 3 random mappings of long fit the memories"):
        sample(Problem("long", (5040, 5040, 5040, 1, 1, 1)), small, 10)


def test_an_operator_becomes_a_problem_and_impossible_ones_are_refused():
    assert problem(Matmul("x", "ffn", 3, 4, np.array([5.0]))).lengths == (3, 4, 5, 1, 1, 1)
    with pytest.raises(ValueError, match="a mapping is of one product, but x has sizes"):
        problem(Matmul("x", "ffn", 3, 4, np.array([5, 6])))
    with pytest.raises(ValueError, match="x needs 6 lengths of at least 1"):
        Problem("x", (3, 0, 1, 1, 1, 1))
    with pytest.raises(ValueError, match="wanted at least 1 mapping, got 0"):
        sample(PRODUCT, TINY, 0)

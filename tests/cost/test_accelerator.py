"""The modelled accelerator against loops over its tiles, and what must hold of any machine."""

import dataclasses
import math

import numpy as np
import pytest

from descentlab.cost.accelerator import (
    Accelerator,
    Energy,
    compute_cycles,
    cycles,
    energy,
    latency,
    local_bytes,
    main_bytes,
    memory_cycles,
)
from descentlab.cost.operators import Elementwise, Matmul
from descentlab.cost.presets import transformer
from descentlab.cost.transformer import encoder, generation

TINY = Accelerator(array=4, lanes=4, second_level=2 * 64, scratchpad=1024, accumulator=4 * 36)
"""Tiles of 8 by 8 in the second-level memory and of 6 by 6 in the accumulator."""


def traffic(m, k, n, tile, result_bytes):
    """Bytes of a tiled product, tile of the result after tile, each operand strip read whole for it."""
    moved = 0
    for row in range(0, m, tile):
        for column in range(0, n, tile):
            rows, columns = min(tile, m - row), min(tile, n - column)
            moved += rows * k + k * columns + rows * columns * result_bytes
    return moved


@pytest.mark.parametrize("sizes", [(8, 5, 8), (9, 3, 17), (3, 2, 1)])
@pytest.mark.parametrize("wide", [False, True])
def test_bytes_are_those_of_a_loop_over_tiles(sizes, wide):
    assert (TINY.main_tile, TINY.local_tile) == (8, 6)
    one = Matmul("x", "attention", *sizes, wide=wide, count=3)
    assert main_bytes(TINY, one) == 3 * traffic(*sizes, 8, 4 if wide else 1)
    assert local_bytes(TINY, one) == 3 * traffic(*sizes, 6, 4 if wide else 1)
    biased = dataclasses.replace(one, bias=True)
    assert main_bytes(TINY, biased) - main_bytes(TINY, one) == 3 * sizes[0] * sizes[2]


@pytest.mark.parametrize("sizes", [(8, 5, 8), (9, 3, 17)])
def test_cycles_are_those_of_a_loop_over_the_array(sizes):
    m, k, n = sizes
    passes = sum(1 for _ in range(0, m, 4) for _ in range(0, k, 4) for _ in range(n))
    one = Matmul("x", "ffn", m, k, n, count=2)
    assert compute_cycles(TINY, one) == 2 * passes
    loads = sum(7 for _ in range(0, m, 4) for _ in range(0, k, 4) for _ in range(0, n, 6))
    assert compute_cycles(dataclasses.replace(TINY, preload=7), one) == 2 * (passes + loads)


def test_elementwise_operators_take_passes_over_lanes():
    one = Elementwise("softmax", "other", 100, 4, passes=3, wide=True, parameters=6)
    assert compute_cycles(TINY, one) == 3 * 100 / 4
    assert main_bytes(TINY, one) == local_bytes(TINY, one) == 100 * (4 + 1) + 6 * 4
    two = Elementwise("residual", "other", 100, 1, reads=2)
    assert main_bytes(TINY, two) == 300


def test_the_slower_of_computing_and_moving_counts():
    starved = dataclasses.replace(TINY, dram_rate=1e-3, local_rate=1e-3)
    fed = dataclasses.replace(TINY, dram_rate=1e12, local_rate=1e12)
    one = Matmul("x", "ffn", 9, 3, 17)
    assert cycles(starved, one) == memory_cycles(starved, one)
    assert cycles(fed, one) == compute_cycles(fed, one)


@pytest.mark.parametrize("field", ["dram_rate", "local_rate", "second_level", "accumulator", "lanes"])
def test_more_of_anything_is_never_slower(field):
    operators = encoder(transformer("bert-base"), 512) + generation(transformer("gpt2"), 9)
    small, large = (dataclasses.replace(Accelerator(), **{field: getattr(Accelerator(), field) * n}) for n in (1, 4))
    assert latency(large, operators) <= latency(small, operators)


def test_energy_adds_up_to_its_parts():
    """Each figure of `Energy` alone gives the number of its operations, times one picojoule."""
    one, after = Matmul("x", "ffn", 8, 5, 8), Elementwise("y", "other", 64, 10)
    nothing = Energy(0.0, 0.0, 0.0, 0.0)

    def of(field, operator):
        costs = dataclasses.replace(nothing, **{field: 1.0})
        return float(energy(dataclasses.replace(TINY, energy=costs), [operator])) * 1e12

    assert of("multiply_add", one) == pytest.approx(8 * 5 * 8)
    assert of("vector", after) == pytest.approx(640)
    assert of("dram", one) == pytest.approx(float(main_bytes(TINY, one)))
    root = {name: math.sqrt(getattr(TINY, name) / 8192) for name in ("second_level", "scratchpad", "accumulator")}
    moved = float(main_bytes(TINY, one)) * root["second_level"]
    moved += float(local_bytes(TINY, one)) * (root["second_level"] + root["scratchpad"])
    moved += 8 * 5 * 8 / 4 * (root["scratchpad"] + 8 * root["accumulator"])
    assert of("sram", one) == pytest.approx(moved)
    assert energy(TINY, [one, after]) == pytest.approx(energy(TINY, [one]) + energy(TINY, [after]))


def test_candidates_have_a_latency_each():
    rows = np.array([[8, 8], [16, 1]])
    found = latency(TINY, [Matmul("x", "ffn", rows, 5, 8)])
    assert found.tolist() == [sum(latency(TINY, [Matmul("x", "ffn", int(m), 5, 8)]) for m in pair) for pair in rows]


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"scratchpad": 1023}, "scratchpad must hold one tile of the 16 x 16 array, 1024 bytes, got 1023; enlarge it"),
        ({"accumulator": 1000}, "accumulator must hold one tile of the 16 x 16 array, 1024 bytes"),
        ({"second_level": 100}, "second_level must hold one tile"),
        ({"array": 0}, "array must be a finite number above 0, got 0"),
        ({"dram_rate": -1.0}, "dram_rate must be a finite number above 0"),
        ({"preload": -1}, "preload must be a finite number, at least 0"),
    ],
)
def test_machines_that_cannot_be_are_refused(sizes, said):
    with pytest.raises(ValueError, match=said):
        Accelerator(**sizes)
    with pytest.raises(ValueError, match=r"Energy\.dram"):
        Energy(dram=-1.0)

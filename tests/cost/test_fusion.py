"""Fused pairs against the arithmetic of one group of columns after another."""

import math

import pytest

from descentlab.cost.accelerator import Accelerator, cycles
from descentlab.cost.fusion import pair
from descentlab.cost.operators import Elementwise, Matmul

FED = Accelerator(dram_rate=1e12, local_rate=1e12, preload=16)
"""Moving takes no time."""


@pytest.mark.parametrize(("rows", "columns"), [(512, 512), (4096, 64), (96, 500)])
def test_whole_columns_cost_a_load_of_every_tile_a_group(rows, columns):
    product = Matmul("x", "attention", rows, 64, columns, count=3, wide=True)
    after = Elementwise("softmax", "other", rows * columns, 4, passes=3, wide=True, count=3, row=rows)
    found = pair(FED, product, after)
    held = 128 * 1024 // (4 * rows)
    assert found.columns == held
    tiles = math.ceil(rows / 16) * 4
    groups = math.ceil(columns / held)
    assert found.fused == 3 * max(tiles * (columns + 16 * groups), 3 * rows * columns / 16)
    assert found.apart == float(cycles(FED, product) + cycles(FED, after))
    assert found.saved == 1 - found.fused / found.apart


def test_without_time_to_load_fusing_never_costs():
    machine = Accelerator()
    product = Matmul("x", "ffn", 768, 3072, 512, bias=True, wide=True)
    after = Elementwise("norm", "other", 768 * 512, 8, passes=3, wide=True, parameters=1536)
    assert pair(machine, product, after).saved > 0


def test_one_pass_needs_no_whole_columns():
    """Then tiles stay as they are: the product takes as long as alone, and what follows hides behind it."""
    product = Matmul("scores", "attention", 4096, 64, 4096, wide=True)
    kernel = Elementwise("gaussian", "other", 4096**2, 4, passes=1, wide=True, row=4096)
    found = pair(FED, product, kernel)
    assert found.columns == FED.local_tile
    assert found.fused == float(cycles(FED, product))
    assert found.fused < pair(FED, product, Elementwise("softmax", "other", 4096**2, 4, passes=3, wide=True)).fused


def test_an_accumulator_too_small_for_a_column_is_refused():
    product = Matmul("scores", "attention", 40_000, 64, 1)
    with pytest.raises(ValueError, match="needs an accumulator of at least 160000 bytes for one column, got 131072"):
        pair(Accelerator(), product, Elementwise("softmax", "other", 40_000, 4, passes=3))

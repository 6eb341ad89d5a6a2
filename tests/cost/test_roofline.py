"""The roofline's time, its bound, and the table by class."""

import numpy as np
import pytest

from descentlab.cost.accelerator import Accelerator, latency
from descentlab.cost.operators import Matmul, total
from descentlab.cost.presets import transformer
from descentlab.cost.roofline import MACHINES, Machine, bound, least_seconds, machine, seconds
from descentlab.cost.summary import breakdown
from descentlab.cost.transformer import encoder

SLOW = Machine("slow", {"int8": 10.0, "float32": 4.0}, 5.0, "a test")


def test_the_bound_changes_at_the_ridge():
    """A product of n by n matrices without bias has n (2n - 1) / 3n operations a byte."""
    assert SLOW.ridge("int8") == 2.0
    low, high = Matmul("a", "ffn", 3, 3, 3), Matmul("b", "ffn", 4, 4, 4)
    assert (low.flops / low.moved, high.flops / high.moved) == (5 / 3, 7 / 3)
    assert (bound(SLOW, low, "int8"), bound(SLOW, high, "int8")) == ("memory", "compute")
    assert seconds(SLOW, low, "int8") == low.moved / 5
    assert seconds(SLOW, high, "int8") == high.flops / 10


def test_wider_entries_move_more_and_may_be_computed_more_slowly():
    one = Matmul("a", "ffn", 64, 64, 64)
    assert seconds(SLOW, one, "float32") == max(one.flops / 4, 4 * one.moved / 5)


def test_rows_of_the_table_add_up():
    operators = encoder(transformer("bert-base"), 128)
    *rows, whole = breakdown(operators, MACHINES["gemmini"], "int8", Accelerator())
    assert whole.group == "total"
    for name in ("flops", "bytes", "least_seconds", "model_seconds", "joule"):
        assert sum(getattr(row, name) for row in rows) == pytest.approx(getattr(whole, name))
    assert whole.flops == total(operators, "flops")
    assert whole.least_seconds == pytest.approx(float(least_seconds(MACHINES["gemmini"], operators, "int8")))
    assert whole.model_seconds == pytest.approx(float(latency(Accelerator(), operators)) / 1e9)
    assert whole.as_data()["intensity"] == whole.flops / whole.bytes


def test_no_operator_of_the_model_is_faster_than_its_roofline():
    """The modelled accelerator has the peak and the bandwidth of the roofline of its name."""
    operators = encoder(transformer("bert-large"), 512)
    rows = breakdown([one for one in operators if isinstance(one, Matmul)], MACHINES["gemmini"], "int8", Accelerator())
    assert all(row.model_seconds >= row.least_seconds * (1 - 1e-12) for row in rows)


def test_unknown_machines_precisions_and_rates_are_refused():
    with pytest.raises(ValueError, match="no machine 'a10'; did you mean a100"):
        machine("a10")
    with pytest.raises(ValueError, match="peak of NVIDIA V100 SXM2 in int8 is not known"):
        machine("v100").peak("int8")
    with pytest.raises(ValueError, match="bandwidth must be a finite number above 0"):
        Machine("none", {"int8": 1.0}, 0.0, "")
    with pytest.raises(ValueError, match="peaks must be above 0, got -1"):
        Machine("none", {"int8": -1.0}, 1.0, "")


def test_candidates_have_a_time_each():
    rows = np.array([[2], [4], [8]])
    assert least_seconds(SLOW, [Matmul("a", "ffn", rows, 3, 5)], "int8").shape == (3,)

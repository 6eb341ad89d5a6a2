"""Measured rates and times: they are there, and they are of what was asked for."""

import pytest

from descentlab.cost import measure
from descentlab.cost.presets import resnet50
from descentlab.cost.transformer import KERNELS, TransformerSizes, encoder, generation


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(measure, "SIDE", 64)
    monkeypatch.setattr(measure, "COPIED", 2**12)
    monkeypatch.setattr(measure, "TOGETHER", 2**12)


@pytest.mark.usefixtures("small")
def test_this_machine_has_a_rate_and_a_bandwidth():
    found = measure.here("float32", repeats=2)
    assert found.peak("float32") > 0
    assert found.bandwidth > 0
    with pytest.raises(ValueError, match="float16 or float32, not in int8; add --precision float32"):
        measure.here("int8")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=lambda kernel: kernel.name)
def test_every_operator_of_a_pass_is_measured(kernel):
    model = TransformerSizes(2, 12, 3, 20, kernel=kernel, gated=kernel.name == "relu")
    operators = encoder(model, 8)
    found = measure.operator_seconds(operators, "float32", repeats=1)
    assert set(found) == {one.name for one in operators}
    assert min(found.values()) > 0


def test_what_cannot_be_measured_is_said():
    with pytest.raises(ValueError, match="only a pass can be measured"):
        measure.operator_seconds(generation(TransformerSizes(2, 12, 3, 20), 8), "float32")
    with pytest.raises(ValueError, match="batch norm cannot be measured"):
        measure.operator_seconds([one for one in resnet50() if one.name == "batch norm"], "float32")

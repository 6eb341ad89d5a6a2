"""Somebody's own arrays become an experiment, or a sentence that says what does not fit."""

import numpy as np
import pytest

from descentlab import Mistake
from descentlab.data import FullBatch
from descentlab.experiment import check
from descentlab.models import Fixed, MeanPool
from descentlab.own_arrays import experiment_on, read_arrays

INPUTS = np.linspace(-1, 1, 3 * 5 * 6).reshape(3, 5, 6)


@pytest.mark.parametrize(("shape", "outputs", "pooled"), [((3, 5), 1, False), ((3, 5, 2), 2, False), ((3, 4), 4, True)])
def test_targets_decide_what_the_layer_gives(shape, outputs, pooled):
    experiment = experiment_on({"inputs": INPUTS, "targets": np.ones(shape)})
    check(experiment)
    assert experiment.data == FullBatch(3)
    assert experiment.model.output_dim == outputs
    assert isinstance(experiment.model.readout, MeanPool) is pooled


def test_given_blocks_are_where_the_training_starts(tmp_path):
    blocks = {"query": np.ones((2, 6, 3)), "value": np.ones((2, 6, 4)), "output": np.ones((2, 4, 1))}
    np.savez(tmp_path / "own.npz", inputs=INPUTS, targets=np.ones((3, 5)), **blocks)
    model = experiment_on(read_arrays(tmp_path / "own.npz")).model
    assert (model.heads, model.head_dim, model.value_dim) == (2, 3, 4)
    assert all(isinstance(getattr(model, name), Fixed) for name in blocks)
    np.testing.assert_array_equal(np.asarray(model.value.array.value), blocks["value"])


def test_a_block_of_another_shape_is_refused():
    with pytest.raises(Mistake, match=r"the block output must have shape \(heads, value_dim, outputs\), got \(4, 1\)"):
        experiment_on({"inputs": INPUTS, "targets": np.ones((3, 5)), "output": np.ones((4, 1))})

"""A user's arrays, and what is wrong with them."""

import dataclasses

import jax
import numpy as np
import pytest

from descentlab.data import FullBatch
from descentlab.experiment import check
from descentlab.given import Given
from descentlab.models import MeanPool
from descentlab.tasks import Arrays
from support.problems import LAYER, SMALL, started

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(4, 3, 2))


def arrays(inputs, targets):
    return Arrays(Given("inputs", np.asarray(inputs)), Given("targets", np.asarray(targets)))


@pytest.mark.parametrize(("shape", "readout"), [((4, 3), None), ((4, 3, 1), None), ((4, 1), MeanPool())])
@pytest.mark.usefixtures("float64")
def test_the_given_numbers_are_the_data(shape, readout):
    targets = RANDOM.normal(size=shape)
    layer = LAYER if readout is None else dataclasses.replace(LAYER, readout=readout)
    for count in (4, 2):
        asked = dataclasses.replace(SMALL, task=arrays(INPUTS, targets), data=FullBatch(count), model=layer)
        objective, params = started(asked)
        np.testing.assert_array_equal(objective.inputs, INPUTS[:count])
        np.testing.assert_array_equal(np.ravel(objective.targets), targets[:count].ravel())
        assert np.isfinite(objective.loss(params))


def test_whole_numbers_are_taken_as_reals():
    task = arrays(np.arange(24).reshape(4, 3, 2), np.ones((4, 3), dtype=np.int8))
    examples = task.sample(4, None, key=jax.random.key(0))
    assert np.issubdtype(examples.inputs.dtype, np.floating)
    assert np.issubdtype(examples.targets.dtype, np.floating)


@pytest.mark.parametrize("shape", [(4, 3), (4,), (4, 3, 2, 1), (0, 3, 2), (4, 0, 2), (4, 3, 0)])
def test_inputs_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="inputs must have shape"):
        arrays(np.ones(shape), np.ones((4, 3)))


@pytest.mark.parametrize("shape", [(4,), (5, 3), (4, 3, 1, 1), ()])
def test_targets_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"targets must have shape \(4, 3\)"):
        arrays(INPUTS, np.ones(shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_place(bad):
    inputs, targets = INPUTS.copy(), np.ones((4, 3))
    inputs[2, 1, 0] = bad
    with pytest.raises(ValueError, match=r"inputs must be finite, got -?(nan|inf) at index \(2, 1, 0\)"):
        arrays(inputs, np.ones((4, 3)))
    targets[3, 2] = bad
    with pytest.raises(ValueError, match=r"targets must be finite, got -?(nan|inf) at index \(3, 2\)"):
        arrays(INPUTS, targets)


@pytest.mark.parametrize("array", [INPUTS + 1j, np.full(INPUTS.shape, "a"), INPUTS > 0])
def test_what_is_no_real_number_is_refused(array):
    with pytest.raises(ValueError, match="inputs must hold real numbers"):
        arrays(array, np.ones((4, 3)))


def test_more_samples_than_given_are_refused():
    with pytest.raises(ValueError, match="hold 4 samples, 5 were asked for"):
        check(dataclasses.replace(SMALL, task=arrays(INPUTS, np.ones((4, 3))), data=FullBatch(5)))


def test_targets_that_the_model_does_not_have_are_refused_before_compiling():
    with pytest.raises(ValueError, match=r"\(2, 3, 1\), got \(2, 3, 5\)"):
        check(dataclasses.replace(SMALL, task=arrays(INPUTS, np.ones((4, 3, 5)))))

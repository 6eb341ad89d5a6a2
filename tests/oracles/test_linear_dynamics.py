"""Training only the value block, where descent and flow have closed forms.

Blind spot covered: a loop compared with a loop shares its mistakes (a step too many, a gradient at the wrong point).
Here the whole run is one formula in the eigenvalues of K, found with NumPy.
"""

import dataclasses

import numpy as np
import pytest

from descentlab.attention import Softmax
from descentlab.data import FullBatch
from descentlab.optim import GradientFlow, GramGD
from descentlab.probes import Loss, ModalSpectrum, StepSize
from descentlab.schedule import Every
from descentlab.status import Status
from support import naive
from support.problems import LAYER, VALUE_ONLY, in_numpy, run

SEEN = {"loss": Loss(Every()), "modes": ModalSpectrum(), "step_size": StepSize(Every())}


def modes_of(experiment):
    """Eigenvalues of K and the residual's components, from the Kronecker formula."""
    inputs, targets, params = in_numpy(experiment)
    kernel = experiment.model.attention
    weights = naive.WEIGHTS[type(kernel)](kernel)
    residual = (naive.outputs(inputs, params, weights) - targets).ravel() / np.sqrt(len(inputs))
    eigenvalues, vectors = np.linalg.eigh(naive.gram_value(inputs, params, weights))
    return eigenvalues, vectors.T @ residual


@pytest.mark.parametrize("samples", [2, 4], ids=["enough columns", "fewer columns than rows"])
def test_descent_shrinks_every_mode_by_its_own_factor(samples):
    model = dataclasses.replace(LAYER, attention=Softmax(), heads=1 if samples == 4 else 2)
    asked = dataclasses.replace(
        VALUE_ONLY, model=model, data=FullBatch(samples), optimizer=GramGD(0.9), probes=SEEN, steps=200
    )
    one = run([asked])[0]
    step = one["step_size"].values[0, 1]
    eigenvalues, components = modes_of(asked)
    times = np.arange(201)[:, None]
    expected = 0.5 * np.sum(components**2 * (1 - step * eigenvalues) ** (2 * times), axis=1)
    np.testing.assert_allclose(one["loss"].values[0], expected, rtol=1e-8)
    recorded, squares = (one["modes"].sel(quantity=q).at(0)[0] for q in ("eigenvalue", "squared_component"))
    formula = 0.5 * np.sum(squares * (1 - step * recorded) ** (2 * times), axis=1)
    np.testing.assert_allclose(one["loss"].values[0], formula, rtol=1e-8)
    assert recorded.shape == (3 * samples,)
    assert np.all(np.diff(recorded) <= 0)
    np.testing.assert_allclose(recorded[::-1], eigenvalues, rtol=1e-9, atol=1e-13 * recorded[0])
    if samples == 4:
        assert np.all(recorded[4:] < 1e-25 * recorded[0])


TOLERANCES = np.array([1e-4, 1e-6, 1e-8, 1e-10])
TIME_STEP = 0.7


@pytest.fixture(scope="module")
def flows():
    """Flows of several tolerances, and one whose stretches are too long to be followed, in one program."""
    settings = [(TIME_STEP, tolerance) for tolerance in TOLERANCES] + [(1e7, 1e-6)]
    return run([dataclasses.replace(VALUE_ONLY, optimizer=GradientFlow(*one), steps=5) for one in settings])


def test_the_flow_is_the_exponential_and_its_error_follows_its_tolerance(flows):
    eigenvalues, components = modes_of(VALUE_ONLY)
    times = TIME_STEP * np.arange(6)[:, None]
    expected = 0.5 * np.sum(components**2 * np.exp(-2 * eigenvalues * times), axis=1)
    assert all(one.status == (Status.FINISHED,) for one in flows[:4])
    errors = np.array([np.abs(one["loss"].values[0] / expected - 1).max() for one in flows[:4]])
    assert np.all(errors < 100 * TOLERANCES)
    slope = np.polyfit(np.log10(TOLERANCES), np.log10(errors), 1)[0]
    assert 0.75 < slope < 1.25


def test_a_flow_that_cannot_be_followed_says_so(flows):
    lost = flows[4]
    assert lost.status == (Status.INACCURATE,)
    assert lost.ended == (0,)
    assert np.all(np.isnan(lost["loss"].values[0, 1:]))

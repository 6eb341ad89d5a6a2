"""Sign descent against a loop in NumPy, and where it stops."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from descentlab.optim import SignGD
from descentlab.probes import Loss, Parameters
from descentlab.schedule import Every
from support.problems import SMALL, run, started

pytestmark = pytest.mark.usefixtures("float64")


def test_every_parameter_moves_by_the_rate_against_its_gradient():
    experiment = dataclasses.replace(
        SMALL, optimizer=SignGD(0.01), probes={"loss": Loss(Every()), "parameters": Parameters(Every())}
    )
    record = run([experiment])[0]["parameters"].values[0]
    objective, params = started(SMALL)
    flat, unravel = ravel_pytree(params)
    gradient = jax.jit(jax.grad(lambda vector: objective.loss(unravel(vector))))
    for row in record:
        np.testing.assert_allclose(row, flat, rtol=1e-12, atol=1e-14)
        flat = flat - 0.01 * np.sign(gradient(flat))


def test_a_rate_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"SignGD\.lr must be a finite number above 0, got 0"):
        SignGD(0.0)

"""Gradients and Gram matrices against closed formulas for the softmax and the Gaussian kernel.

Blind spot covered: everything else that derives goes through JAX, so that a wrong convention (a factor 1/N, the order
of rows) could be the same on both sides. Here a derivation by hand, written with loops, is the other side.
"""

import dataclasses

import jax
import numpy as np
import pytest

from descentlab.attention import Gaussian, Softmax
from descentlab.probes import feature_matrix
from support import naive
from support.problems import LAYER, SMALL, in_numpy, started

pytestmark = pytest.mark.usefixtures("float64")
KERNELS = [Softmax(), Softmax(0.7), Gaussian(), Gaussian(0.4)]


def experiment(kernel, output_dim=1, trained=naive.BLOCKS):
    layer = dataclasses.replace(LAYER, attention=kernel, output_dim=output_dim)
    return dataclasses.replace(SMALL, model=layer, trained=trained)


@pytest.mark.parametrize("output_dim", [1, 2])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_gradients_in_all_four_blocks(kernel, output_dim):
    asked = experiment(kernel, output_dim)
    objective, params = started(asked)
    found = jax.grad(objective.loss)(params)
    for name, expected in naive.gradient(*in_numpy(asked), kernel).items():
        np.testing.assert_allclose(getattr(found, name), expected, rtol=0, atol=1e-12, err_msg=name)
        assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_hand_written_gradients_are_the_difference_quotients_of_the_loss(kernel):
    inputs, targets, params = in_numpy(experiment(kernel))
    weights = naive.WEIGHTS[type(kernel)](kernel)
    gradient = naive.gradient(inputs, targets, params, kernel)
    for name in ("query", "output"):

        def loss(block, name=name):
            return naive.loss(inputs, targets, {**params, name: block}, weights)

        np.testing.assert_allclose(gradient[name], naive.difference_quotient(loss, params[name]), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("block", "output_dim"), [("value", 1), ("value", 2), ("output", 2), ("query", 1)])
@pytest.mark.parametrize("kernel", [Softmax(0.7), Gaussian(0.4)], ids=["softmax", "gaussian"])
def test_gram_matrices_of_single_blocks(kernel, block, output_dim):
    asked = experiment(kernel, output_dim, (block,))
    objective, params = started(asked)
    jacobian = objective.jacobian(params)
    inputs, _, arrays = in_numpy(asked)
    weights = naive.WEIGHTS[type(kernel)](kernel)
    if block == "query":
        expected = naive.gram_query(inputs, arrays, kernel)
    else:
        expected = {"value": naive.gram_value, "output": naive.gram_output}[block](inputs, arrays, weights)
    np.testing.assert_allclose(jacobian @ jacobian.T, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [Softmax(), Gaussian(0.4)], ids=["softmax", "gaussian"])
def test_the_gram_matrix_of_several_blocks_is_the_sum_of_theirs(kernel):
    whole = started(experiment(kernel))
    jacobian = whole[0].jacobian(whole[1])
    parts = []
    for name in naive.BLOCKS:
        objective, params = started(experiment(kernel, trained=(name,)))
        parts.append(objective.jacobian(params))
    np.testing.assert_allclose(jacobian @ jacobian.T, sum(j @ j.T for j in parts), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [Softmax(), Gaussian(0.4)], ids=["softmax", "gaussian"])
def test_the_feature_matrix_is_that_of_the_loops(kernel):
    asked = experiment(kernel)
    inputs, _, arrays = in_numpy(asked)
    expected = naive.features(inputs, arrays, naive.WEIGHTS[type(kernel)](kernel))
    np.testing.assert_allclose(feature_matrix(*started(asked)), expected, rtol=0, atol=1e-13)

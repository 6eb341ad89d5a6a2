"""What single kernels say of themselves, and a kernel written by a user. Values and derivatives: `contracts/`."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from descentlab.attention import AbstractAttention, Gaussian, NormalizedGaussian, ReLU, Softmax
from descentlab.models import AttentionLayer
from descentlab.training import train
from support.problems import SMALL

pytestmark = pytest.mark.usefixtures("float64")
RANDOM = np.random.default_rng(1)
QUERY, KEY = RANDOM.normal(size=(3, 4)), RANDOM.normal(size=(5, 4))


def weights_of(kernel, query=QUERY, key=KEY, mask=None):
    return np.asarray(kernel.weights(jnp.asarray(query), jnp.asarray(key), mask))


class Cauchy(AbstractAttention):
    """A user's kernel: S = 1 / (1 + c |q - k|^2)."""

    c: float = 0.5

    def weights(self, query: Array, key: Array, mask: Array | None = None) -> Array:
        distances = jnp.sum((query[:, None] - key) ** 2, axis=-1)
        weights = 1 / (1 + self.c * distances)
        return weights if mask is None else jnp.where(mask, weights, 0.0)


def test_a_kernel_with_only_weights_trains():
    layer = AttentionLayer(Cauchy(0.7), heads=2, head_dim=2)
    run = train(dataclasses.replace(SMALL, model=layer), 1)
    losses = run["loss"].values[0]
    assert run.finished.all()
    assert np.all(np.diff(losses) < 0)


@pytest.mark.parametrize("kernel", [Softmax(), NormalizedGaussian(), NormalizedGaussian(0.2)], ids=str)
def test_rows_of_normalised_kernels_sum_to_one(kernel):
    np.testing.assert_allclose(weights_of(kernel).sum(axis=-1), 1, rtol=1e-14)


def test_gaussian_entries_lie_between_zero_and_one_and_are_one_at_equal_vectors():
    weights = weights_of(Gaussian(0.3))
    assert np.all((weights > 0) & (weights <= 1))
    np.testing.assert_allclose(np.diag(weights_of(Gaussian(0.3), key=QUERY)), 1, rtol=1e-14)


@pytest.mark.parametrize("kind", [Gaussian, NormalizedGaussian])
def test_the_default_exponent_is_half_the_inverse_root_of_the_width(kind):
    explicit = kind(1 / (2 * math.sqrt(4)))
    np.testing.assert_allclose(weights_of(kind()), weights_of(explicit), rtol=1e-14)


def test_normalised_gaussian_is_softmax_less_the_length_of_the_keys():
    scores = QUERY @ KEY.T / 2 - np.sum(KEY**2, axis=1) / 4
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(weights_of(NormalizedGaussian()), expected, rtol=1e-13)


def test_rectified_weights_are_divided_by_the_keys_in_sight():
    mask = jnp.asarray(np.tri(3, 5, dtype=bool))
    weights = weights_of(ReLU(), mask=mask)
    whole = np.maximum(0, QUERY @ KEY.T / 2)
    np.testing.assert_allclose(weights, np.where(mask, whole, 0) / np.array([[1], [2], [3]]), rtol=1e-14)


@pytest.mark.parametrize("kind", [Gaussian, NormalizedGaussian])
@pytest.mark.parametrize("c", [0.0, -1.0, float("nan"), float("inf")])
def test_an_exponent_that_is_not_positive_is_refused(kind, c):
    with pytest.raises(ValueError, match=f"{kind.__name__}.c must be"):
        kind(c)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match=r"Softmax\.temperature must be"):
        Softmax(temperature)

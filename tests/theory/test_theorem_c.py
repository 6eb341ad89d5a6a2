"""The constants of Theorem C: their definitions in NumPy, and their law in the output scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.attention import Gaussian, Softmax
from descentlab.theory.theorem_c import _least_output
from support import naive
from support.problems import in_numpy
from support.starts import constants, start

SCALES = (1.0, 10.0, 1e3, 1e6, 1e8)
KERNELS = [Gaussian(0.5), Softmax()]
BY_KERNEL = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)


@pytest.fixture(scope="module")
def found():
    """By kernel name, constants at every scale with the value block at zero, then with a random one."""
    return {
        type(kernel).__name__: constants([start(kernel, scale=s, value=v) for v in (0.0, 1.0) for s in SCALES])
        for kernel in KERNELS
    }


@BY_KERNEL
def test_with_the_value_block_at_zero_the_ratio_is_inverse_to_the_square_of_the_output_scale(found, kernel):
    zero = found[type(kernel).__name__][: len(SCALES)]
    law = [one["c"]["ratio"] * s**2 for one, s in zip(zero, SCALES, strict=True)]
    np.testing.assert_allclose(law, law[0], rtol=1e-9)
    assert 0 < law[0] < np.inf


@BY_KERNEL
def test_with_a_random_one_it_levels_off(found, kernel):
    random = [one["c"]["ratio"] for one in found[type(kernel).__name__][len(SCALES) :]]
    assert random[-1] == pytest.approx(random[-2], rel=1e-2)


@pytest.mark.parametrize("place", [1, len(SCALES) + 1], ids=["value zero", "value random"])
@BY_KERNEL
def test_the_constants_are_those_of_the_statement(found, kernel, place):
    """The whole of the statement in NumPy, features by loops."""
    c = found[type(kernel).__name__][place]["c"]
    asked = start(kernel, scale=SCALES[1], value=float(place > len(SCALES)))
    inputs, targets, params = in_numpy(asked)
    weights = naive.WEIGHTS[type(kernel)](kernel)
    samples, tokens, _ = inputs.shape
    heads, _, width = params["query"].shape
    singular = np.linalg.svd(naive.features(inputs, params, weights), compute_uv=False)
    outputs = np.linalg.svd(params["output"], compute_uv=False)
    residual = np.sqrt(2 * naive.loss(inputs, targets, params, weights))
    spectral = np.linalg.norm(inputs, ord=2, axis=(1, 2))
    longest = np.linalg.norm(inputs, axis=2).max(axis=1)
    largest = {name: max(np.linalg.norm(block, 2) for block in blocks) for name, blocks in params.items()}
    lambda_b, omega, w = singular[-1], outputs[:, -1].min(), largest["output"]
    if isinstance(kernel, Gaussian):
        slope, first = 0.0, np.sqrt(4 * kernel.c * tokens / np.e * np.mean(spectral**4))
        radius = lambda_b / (2 * first)
        second = 4 * kernel.c * np.sqrt(tokens * np.mean(longest**2 * spectral**4))
    else:
        slope = np.sqrt(np.mean(spectral**6)) / (2 * np.sqrt(width))
        kappa = np.hypot(largest["query"], largest["key"])
        radius = (np.sqrt(kappa**2 + 2 * lambda_b / slope) - kappa) / 2
        kappa += radius
        first = slope * kappa
        curved = np.sqrt(2 / 27) * longest * spectral**4 * kappa**2 / width
        second = np.sqrt(np.mean((curved + spectral**3 / (2 * np.sqrt(width))) ** 2))
    mu, b = omega**2 * lambda_b**2 / 4, singular[0] + lambda_b / 2
    reach = 2 * w * b * residual / mu
    v = largest["value"] + reach
    change = np.linalg.norm([[second * v * w, first * w], [first * w, 0]], 2)
    smooth = (w * b) ** 2 + heads * (first * w * v) ** 2 + change * residual
    expected = {
        "lambda_b": lambda_b,
        "omega": omega,
        "mu": mu,
        "residual": residual,
        "reach": reach,
        "radius": radius,
        "ratio": 2 * np.sqrt(heads) * first * w * v * residual / (mu * radius),
        "step": 1 / smooth,
    }
    assert c == pytest.approx(expected, rel=1e-7)


def test_it_speaks_of_query_key_and_value_only():
    one = constants([start(scale=1e4, trained=("value", "output"))])[0]
    assert one["c"]["lambda_b"] > 0
    assert np.isnan(one["c"]["ratio"])
    assert np.isnan(one["c"]["step"])


def test_output_matrices_of_lower_rank_than_they_seem_have_no_omega():
    """Two columns that are multiples of each other but for rounding: the second singular value is 1e-17, not 0."""
    with jax.enable_x64(True):
        output = jnp.asarray(np.outer(np.linspace(0.1, 1.3, 5), [1.0, 1 / 3]))[None]
        assert 0 <= np.linalg.svd(output[0], compute_uv=False)[1] < 1e-15
        assert _least_output(output) == 0


def test_a_head_narrower_than_the_output_is_not_certified():
    one = constants([start(scale=1e4, output_dim=3)])[0]
    assert one["c"]["omega"] == 0
    assert np.isinf(one["c"]["ratio"])

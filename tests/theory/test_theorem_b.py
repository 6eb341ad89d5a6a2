"""The constants of Theorem B: their definitions in NumPy, their law in the output scale, and where there are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.attention import Gaussian, ReLU, Softmax
from descentlab.theory.lipschitz import jacobian_lipschitz
from descentlab.theory.theorem_b import LipschitzSearch, TheoremB
from support.problems import started
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
def test_with_the_value_block_at_zero_the_ratio_is_inverse_to_the_output_scale(found, kernel):
    zero = found[type(kernel).__name__][: len(SCALES)]
    law = [one["b"]["ratio"] * s for one, s in zip(zero, SCALES, strict=True)]
    np.testing.assert_allclose(law, law[0], rtol=1e-9)
    assert 0 < law[0] < np.inf


@BY_KERNEL
def test_with_a_random_one_it_levels_off(found, kernel):
    random = [one["b"]["ratio"] for one in found[type(kernel).__name__][len(SCALES) :]]
    assert random[-1] == pytest.approx(random[-2], rel=1e-2)
    assert random[-1] > 100 * found[type(kernel).__name__][len(SCALES) - 1]["b"]["ratio"]


@BY_KERNEL
def test_the_constants_are_those_of_the_statement(found, kernel):
    one = found[type(kernel).__name__][len(SCALES) + 1]
    b = one["b"]
    with jax.enable_x64(True):
        objective, params = started(start(kernel, scale=SCALES[1], value=1.0))
        singular = np.linalg.svd(np.asarray(objective.jacobian(params)), compute_uv=False)
        residual = np.linalg.norm(objective.residual(params))
        beta = float(jacobian_lipschitz(objective.model(params), objective, params)(jnp.asarray(b["radius"])))
    assert b["sigma_min"] == pytest.approx(singular[-1], rel=1e-9)
    assert b["sigma_max"] == pytest.approx(singular[0], rel=1e-9)
    assert b["residual"] == pytest.approx(residual, rel=1e-12)
    assert b["beta"] == pytest.approx(beta, rel=1e-9)
    assert b["beta"] * b["radius"] == pytest.approx(singular[-1] / 2, rel=1e-9)
    assert b["ratio"] == pytest.approx(8 * beta * residual / singular[-1] ** 2, rel=1e-9)
    assert b["step"] == pytest.approx(1 / ((singular[0] + singular[-1] / 2) ** 2 + beta * residual), rel=1e-9)
    assert b["reach"] == pytest.approx(4 * residual / singular[-1], rel=1e-9)


def test_the_search_finds_a_part_of_the_bound_and_no_more():
    probes = {"search": LipschitzSearch(points=2, rounds=4), "b": TheoremB()}
    for one in constants([start(Softmax(), scale=s, value=v) for v in (0.0, 1.0) for s in SCALES], probes):
        assert one["search"]["bound"] == pytest.approx(one["b"]["beta"], rel=1e-9)
        assert 0.01 * one["search"]["bound"] < one["search"]["found"] <= one["search"]["bound"]


@pytest.mark.parametrize(
    "change",
    [{"task": {"duplicates": 1}}, {"heads": 1, "trained": ("value",)}],
    ids=["duplicate tokens", "HD below Nn"],
)
def test_without_full_row_rank_the_ratios_are_infinite(change):
    one = constants([start(scale=2.0, **change)])[0]
    assert one["b"]["sigma_min"] == 0
    assert np.isinf(one["b"]["ratio"])
    assert one["features"]["rank"] == 4
    assert one["c"]["lambda_b"] == 0
    assert not one["c"]["ratio"] <= 1


def test_a_kernel_without_second_derivative_has_no_constants():
    one = constants([start(ReLU(), scale=1e6)])[0]
    assert one["b"]["sigma_min"] > 0
    for label in ("beta", "radius", "ratio", "step"):
        assert np.isnan(one["b"][label])
    assert np.isnan(one["c"]["ratio"])


def test_a_linear_model_is_certified_at_once():
    one = constants([start(trained=("value",))])[0]
    assert one["b"]["beta"] == 0
    assert one["b"]["ratio"] == 0
    assert np.isnan(one["c"]["ratio"])

"""The constants of Theorem B: their definitions in NumPy, their law in the output scale, and where there are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.attention import Gaussian, ReLU, Softmax
from descentlab.theory.certificate import Certified
from descentlab.theory.lipschitz import jacobian_lipschitz
from descentlab.theory.lipschitz_search import LipschitzSearch
from descentlab.theory.theorem_b import KeptRank, TheoremB
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
        slope = jacobian_lipschitz(objective.model(params), objective, params)
        beta, near = (float(slope(jnp.asarray(r))) for r in (b["radius"], 2 * residual / singular[-1]))
    assert b["sigma_min"] == pytest.approx(singular[-1], rel=1e-9)
    assert b["sigma_max"] == pytest.approx(singular[0], rel=1e-9)
    assert b["residual"] == pytest.approx(residual, rel=1e-12)
    assert b["beta"] == pytest.approx(beta, rel=1e-9)
    assert b["beta"] * b["radius"] == pytest.approx(singular[-1], rel=1e-9)
    assert b["ratio"] == pytest.approx(2 * beta * residual / singular[-1] ** 2, rel=1e-9)
    kept = np.sqrt(max(singular[-1] ** 2 - 2 * near * residual, 0.0))
    assert b["kept"] == pytest.approx(kept, rel=1e-9)
    assert b["reach"] == pytest.approx(2 * residual / (singular[-1] + kept), rel=1e-9)
    longest = singular[0] + near * b["reach"]
    assert b["step"] == pytest.approx(1 / (longest**2 + near * residual / 2), rel=1e-9)


def parabola(residual, beta):
    """r(x) = residual - x + beta x^2 / 2: J_0 = -1, and beta is its Lipschitz constant everywhere."""
    return lambda x: residual - x + beta * x**2 / 2, lambda x: -1 + beta * x


def kept_rank(extremes, residual, beta):
    with jax.enable_x64(True):
        ends = tuple(jnp.asarray(float(one)) for one in extremes)
        return [float(x) for x in KeptRank.of(ends, jnp.asarray(float(residual)), jnp.asarray(float(beta)))]


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9, 0.99])
def test_the_statement_is_attained_on_a_parabola(ratio):
    """The majorant of the proof is a residual itself: rank and path come as close to the bounds as the run lasts."""
    beta, residual = 1.0, ratio / 2
    value, slope = parabola(residual, beta)
    kept, reach, step = kept_rank((1.0, 1.0), residual, beta)
    x, last = 0.0, residual
    for _ in range(20_000):
        x -= step * slope(x) * value(x)
        assert abs(value(x)) <= (1 - step * kept**2) * abs(last) + 1e-15
        last = value(x)
        assert abs(slope(x)) >= kept - 1e-12
    assert reach * (1 - 1e-6) <= x <= reach * (1 + 1e-12)
    assert abs(slope(x)) == pytest.approx(kept, rel=1e-5)


def test_beyond_the_condition_there_need_not_be_a_zero():
    value, _ = parabola(0.5 * 1.001, 1.0)
    assert value(1.0) > 0  # its least value
    kept, _, _ = kept_rank((1.0, 1.0), 0.5 * 1.001, 1.0)
    assert kept == 0


@pytest.mark.parametrize("smallest", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("ratio", [0.3, 0.95])
def test_random_quadratic_systems_obey_it(ratio, smallest):
    """Residuals of several numbers whose J is Lipschitz everywhere, over some orders of its singular values."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        start = rng.normal(size=(3, 5)) * np.geomspace(1, smallest, 3)[:, None]
        curved = rng.normal(size=(3, 5, 5))
        curved = curved + curved.transpose(0, 2, 1)
        beta = np.linalg.norm(curved.reshape(15, 5), 2)  # ||sum_k d_k A_k|| <= ||A||_F-like norm of the unfolding
        singular = np.linalg.svd(start, compute_uv=False)
        first = rng.normal(size=3)
        first *= ratio * singular[-1] ** 2 / (2 * beta * np.linalg.norm(first))
        kept, reach, step = kept_rank((singular[-1], singular[0]), np.linalg.norm(first), beta)
        residual, theta, path = first, np.zeros(5), 0.0
        for _ in range(300):
            jacobian = start + curved @ theta
            assert np.linalg.svd(jacobian, compute_uv=False)[-1] >= kept * (1 - 1e-9)
            move = -step * jacobian.T @ residual
            theta, path = theta + move, path + np.linalg.norm(move)
            after = first + start @ theta + 0.5 * np.einsum("rij,i,j->r", curved, theta, theta)
            bound = (1 - step * kept**2) * np.linalg.norm(residual)
            assert np.linalg.norm(after) <= bound + 1e-13 * np.linalg.norm(first)
            residual = after
        assert path <= reach * (1 + 1e-9)


@pytest.mark.parametrize("ratio", [0.2, 0.49])
def test_line_searches_obey_their_form(ratio):
    """Steps far longer than the theorem's: any that achieve half the decrease that the gradient promises."""
    beta, residual = 1.0, ratio / 2
    value, slope = parabola(residual, beta)
    kept = np.sqrt(1 - 4 * beta * residual)
    reach, x, path, loss = 4 * residual / (1 + kept), 0.0, 0.0, 0.5 * residual**2
    while loss > 1e-24:
        gradient, step = slope(x) * value(x), 8.0
        while 0.5 * value(x - step * gradient) ** 2 > loss - step / 2 * gradient**2:
            step /= 2
        x, path, before = x - step * gradient, path + step * abs(gradient), loss
        loss = 0.5 * value(x) ** 2
        assert loss <= (1 - step * kept**2) * before * (1 + 1e-12)
        assert abs(slope(x)) >= kept
        assert path <= reach


def test_the_search_finds_a_part_of_the_bound_and_no_more():
    probes = {"search": LipschitzSearch(points=2, rounds=4), "b": Certified(certificate=TheoremB())}
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

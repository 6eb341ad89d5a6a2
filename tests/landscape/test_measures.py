"""Numbers of surfaces with known answers: bowls, saddles, wells."""

import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.landscape import Slice, along, barrier, laplacian, local_minima, negative_share, segment, surface

pytestmark = pytest.mark.usefixtures("float64")

PLANE = Slice(np.zeros(2), (np.asarray([1.0, 0.0]), np.asarray([0.0, 1.0])))
SIDE = np.linspace(-2, 2, 31)


def on_grid(loss, side=SIDE):
    return surface(loss, PLANE, side, side)


def quadratic(matrix, center=(0.0, 0.0)):
    matrix, center = np.asarray(matrix), np.asarray(center)
    return lambda x: 0.5 * (x - center) @ matrix @ (x - center) + 1.0


def rotated(values, angle):
    turn = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn @ np.diag(values) @ turn.T


def wells(x):
    """Minima at (+1, 0) and (-1, 0) with the saddle 1 higher, at the origin."""
    return (x[0] ** 2 - 1) ** 2 + 2 * x[1] ** 2


# --- minima ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [(1.0, 1.0), (1.0, 50.0), (1.0, 1e5)])
def test_a_bowl_has_one_minimum_however_narrow_and_askew(values):
    center = (0.31, -0.17)
    loss = quadratic(rotated(values, 0.5), center)
    found = local_minima(loss, PLANE, on_grid(loss))
    assert len(found.values) == 1
    np.testing.assert_allclose(found.coordinates, [center], atol=1e-6)
    np.testing.assert_allclose(found.values, 1.0, rtol=1e-9)


def test_in_a_narrow_valley_many_cells_are_below_their_neighbours():
    loss = quadratic(rotated((1.0, 1e5), 0.5), (0.31, -0.17))
    assert local_minima(loss, PLANE, on_grid(loss)).candidates > 1


def test_two_wells_have_two_minima_lowest_first():
    def tilted(x):
        return wells(x) + 0.1 * x[0]

    found = local_minima(tilted, PLANE, on_grid(tilted))
    assert len(found.values) == 2
    assert found.values[0] < found.values[1]
    roots = np.sort(np.roots([4, 0, -4, 0.1]).real)
    np.testing.assert_allclose(found.coordinates, [[roots[0], 0], [roots[2], 0]], atol=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: x[0] ** 2 - x[1] ** 2,
        lambda x: x[0] + 0.1 * x[1],
        lambda x: 0 * x[0] + 3.0,
        lambda x: x[0] ** 2 + 0 * x[1],
        quadratic(np.eye(2), (5.0, 0.0)),
    ],
    ids=["saddle", "slope", "flat", "trough", "outside"],
)
def test_what_is_no_strict_minimum_within_the_grid_is_not_counted(loss):
    assert not len(local_minima(loss, PLANE, on_grid(loss)).values)


def test_rounding_is_no_landscape():
    """A loss that is flat but for its last digits has many cells below their neighbours."""

    def flat(x):
        return 0.7 + 1e-16 * jnp.sin(1e6 * x[0] + 1e5 * x[1])

    found = local_minima(flat, PLANE, on_grid(flat))
    assert found.candidates == len(found.values) == 0


def test_waves_have_as_many_minima_as_valleys():
    def waves(x):
        return -jnp.cos(2 * jnp.pi * x[0]) - jnp.cos(2 * jnp.pi * x[1])

    side = np.linspace(-1.3, 1.3, 41)
    assert len(local_minima(waves, PLANE, on_grid(waves, side)).values) == 9


# --- curvature ---------------------------------------------------------------------------------------


def test_the_laplacian_of_a_quadratic_is_exact_within_its_error():
    loss = quadratic([[3.0, 1.0], [1.0, 4.0]], (0.3, 0.1))
    found = laplacian(on_grid(loss))
    assert found.value.shape == (27, 27)
    assert np.all(np.abs(found.value - 7.0) <= found.error)
    assert found.error.max() < 1e-10
    np.testing.assert_allclose(laplacian(on_grid(loss), unit=2.0).value, 7.0 / 4, rtol=1e-10)


def test_the_error_of_the_laplacian_covers_the_true_one_and_is_of_its_size():
    def loss(x):
        return jnp.sin(3 * x[0] + 0.1) * jnp.exp(0.5 * x[1])

    found = laplacian(on_grid(loss))
    inner = SIDE[2:-2]
    exact = (-9 + 0.25) * np.sin(3 * inner + 0.1)[:, None] * np.exp(0.5 * inner)
    gap = np.abs(found.value - exact)
    assert np.mean(gap <= found.error) > 0.95
    assert np.median(found.error / gap) < 3


def test_laplacians_converge_with_the_square_of_the_spacing():
    def loss(x):
        return jnp.exp(x[0])

    errors = []
    for count in (17, 33):
        side = np.linspace(-1, 1, count)
        found = laplacian(on_grid(loss, side))
        errors.append(np.abs(found.value - np.exp(side[2:-2])[:, None]).max())
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), 2.0, atol=0.25)


def test_negative_shares_of_a_bowl_a_saddle_and_a_half():
    bowl, saddle = (negative_share(on_grid(quadratic(m))) for m in (np.eye(2), [[1.0, 3.0], [3.0, 1.0]]))
    assert bowl == (0.0, 0.0)
    assert saddle == (1.0, 0.0)
    half = negative_share(on_grid(lambda x: x[0] ** 3 + x[1] ** 2))
    assert abs(half.value - 0.5) <= half.error + 1 / 27
    flat = negative_share(on_grid(lambda x: x[0] ** 2))
    assert flat == (0.0, 1.0)


def test_too_small_a_grid_is_refused():
    with pytest.raises(ValueError, match="at least 5 x 5 points, got 4 x 4"):
        laplacian(on_grid(wells, np.linspace(-1, 1, 4)))


# --- barriers ----------------------------------------------------------------------------------------


def height(loss, start, end, count=41):
    line = segment(jnp.asarray(start), jnp.asarray(end))
    return barrier(along(loss, line, np.linspace(0, 1, count)[:, None]))


def test_down_a_bowl_there_is_no_barrier():
    found = height(quadratic(rotated((1.0, 30.0), 0.4)), (1.7, -0.6), (0.0, 0.0))
    assert found.value == 0.0
    assert found.error < 1e-12


def test_the_barrier_between_two_wells_is_exact():
    found = height(wells, (-1.0, 0.0), (1.0, 0.0))
    np.testing.assert_allclose(found.value, 1.0, rtol=1e-12)


@pytest.mark.parametrize("count", [12, 30, 51])
def test_a_barrier_between_points_of_the_grid_lies_within_its_error(count):
    found = height(wells, (-1.0, 0.0), (1.1, 0.0), count)
    assert abs(found.value - 1.0) <= found.error + 1e-3
    assert found.value <= 1.0

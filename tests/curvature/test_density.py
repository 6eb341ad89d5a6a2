"""Spectral densities and Hutchinson estimates: moments, z-scores against their own errors, degenerate matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from descentlab.curvature import diagonal, frobenius_squared, spectral_density, trace, widening
from descentlab.curvature.density import POINTS
from support.matrices import BASIS, ROWS, SPECTRA, Diagonal, Matrix, prescribed
from support.rounding import rounding

pytestmark = pytest.mark.usefixtures("float64")
KEYS = jax.random.split(jax.random.key(0), 200)


def scores(found, exact):
    return np.asarray((found.value - exact) / found.error)


def held(values):
    """Whether two errors hold the truth in 93 of 100 cases, as far as so many can say, and are no more than needed."""
    values = np.ravel(values)
    inside = scipy.stats.binomtest(int(np.sum(np.abs(values) <= 2)), values.size)
    return inside.proportion_ci(0.999).high >= 0.93 and np.std(values) > 0.3


def test_traces_and_norms_err_as_much_as_they_say():
    matrix = prescribed(SPECTRA["indefinite"])
    entries = np.asarray(matrix.entries)
    many = jax.vmap(lambda key: trace(matrix, 20, key=key))(KEYS)
    assert held(scores(many, np.trace(entries)))
    many = jax.vmap(lambda key: frobenius_squared(matrix, 20, key=key))(KEYS)
    assert held(scores(many, np.sum(entries**2)))
    assert held(scores(diagonal(matrix, 20, key=KEYS[0]), np.diag(entries)))


@pytest.mark.parametrize("probes", [5, 20])
def test_the_heavy_tails_of_a_matrix_of_rank_one_are_held(probes):
    """Draws are squares of nearly normal numbers: 13 of 100 means lay further off than two standard errors."""
    vector = jnp.asarray(np.random.default_rng(1).normal(size=100))
    matrix = Matrix(vector[:, None] * vector)
    keys = jax.random.split(jax.random.key(4), 1000)
    exact = float(vector @ vector)
    assert held(scores(jax.vmap(lambda key: trace(matrix, probes, key=key))(keys), exact))
    assert held(scores(jax.vmap(lambda key: frobenius_squared(matrix, probes, key=key))(keys), exact**2))


def test_the_error_is_the_standard_error_of_the_mean_widened():
    matrix = prescribed(SPECTRA["even"])
    few, many = (trace(matrix, count, key=jax.random.key(1)).error / widening(count) for count in (50, 800))
    assert 3 < few / many < 5.3
    two = trace(matrix, 2, key=jax.random.key(2))
    each = [jax.random.rademacher(key, (ROWS,), matrix.dtype) for key in jax.random.split(jax.random.key(2), 2)]
    values = np.asarray([sign @ matrix.entries @ sign for sign in each])
    np.testing.assert_allclose(two, (values.mean(), widening(2) * values.std(ddof=1) / np.sqrt(2)), rtol=1e-12)
    assert widening(10**6) == pytest.approx(0.98, abs=1e-3)


def test_a_diagonal_matrix_has_no_error():
    matrix = Matrix(jnp.diag(jnp.arange(1.0, 9.0)))
    for found, exact in (
        (trace(matrix, 3, key=KEYS[0]), 36.0),
        (diagonal(matrix, 3, key=KEYS[0]), np.arange(1.0, 9.0)),
    ):
        np.testing.assert_allclose(found.value, exact, rtol=1e-14)
        np.testing.assert_allclose(found.error, 0, atol=1e-14)


def test_moments_of_the_density_are_those_of_the_spectrum():
    spectrum = SPECTRA["indefinite"]
    matrix = prescribed(spectrum)
    found = jax.vmap(lambda key: spectral_density(matrix, probes=20, steps=8, key=key))(KEYS[:100])
    for power in (1, 2, 5, 15):  # exact in expectation up to 2 * 8 - 1
        moments = jax.vmap(lambda one, power=power: one.moment(power))(found)
        assert held(scores(moments, np.mean(spectrum**power)))


def smoothed(spectrum, grid, width):
    """The density that is looked for, over the cells of a grid."""
    half = (grid[1] - grid[0]) / 2
    edges = [scipy.stats.norm.cdf(grid[:, None] + end, spectrum, width).mean(axis=1) for end in (-half, half)]
    return (edges[1] - edges[0]) / (2 * half)


@pytest.mark.parametrize(("name", "options"), [("even", {"steps": 60}), ("clustered", {"steps": 40, "width": 0.05})])
def test_the_density_is_that_of_the_smoothed_spectrum_within_its_errors(name, options):
    """With 60 steps a width of a hundredth shows the nodes of the quadrature; the errors contain that."""
    spectrum = SPECTRA[name]
    matrix, inside = prescribed(spectrum), []
    for key in KEYS[:20]:
        found = spectral_density(matrix, key=key, **options)
        exact = smoothed(spectrum, np.asarray(found.grid), np.asarray(found.width))
        seen = exact > 1e-3 * exact.max()
        inside.append(np.mean(np.abs(scores(found.density, exact)[seen]) <= 2))
    assert np.mean(inside) >= 0.93
    assert np.median(np.asarray(found.density.error)[seen]) < 0.5 * exact.max()


@pytest.mark.parametrize(
    ("spectrum", "width", "dtype"),
    [
        ([3.0] * 40, 0.01, np.float64),
        ([1e6] * 40, 0.01, np.float32),
        ([3.0], 0.01, np.float64),
        ([0.0] * 5, 0.01, np.float64),
        ([1, 1.000001], 0.01, np.float32),
        (range(9), 1e-4, np.float64),
    ],
    ids=["3 I", "1e6 I", "one row", "zero", "pair", "narrow"],
)
def test_the_density_has_mass_one(spectrum, width, dtype):
    """Of 3 I it integrated to 3.07, of one row to 0: the grid was finer than one unit in the last place."""
    with jax.enable_x64(dtype == np.float64):
        matrix = Diagonal(jnp.asarray(spectrum, dtype))
        found = spectral_density(matrix, probes=4, width=width, key=jax.random.key(0))
        mass = jnp.trapezoid(found.density.value, found.grid)
        np.testing.assert_allclose(mass, 1, rtol=rounding(2 * POINTS, dtype))


@pytest.mark.parametrize("name", ["zero", "identity", "low rank"])
def test_a_krylov_space_that_ends_early_leaves_all_weight_where_the_spectrum_is(name):
    spectrum = SPECTRA[name]
    found = spectral_density(prescribed(spectrum), probes=4, steps=30, key=KEYS[2])
    assert np.all(np.isfinite(found.density.value))
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-12)
    nearest = np.abs(np.asarray(found.nodes)[..., None] - spectrum).min(axis=-1)
    size = rounding(2 * ROWS)
    assert np.all((nearest < size * max(1, spectrum.max())) | (np.asarray(found.weights) < size))


def test_too_few_draws_are_refused():
    matrix = Matrix(jnp.asarray(BASIS))
    with pytest.raises(ValueError, match="at least 2 draws, got probes=1"):
        trace(matrix, 1, key=KEYS[0])
    with pytest.raises(ValueError, match="probes >= 2, steps >= 1 and width > 0, got probes=5, steps=0 and width=0.01"):
        spectral_density(matrix, probes=5, steps=0, key=KEYS[0])

"""Spectral densities and Hutchinson estimates: moments, z-scores against their own errors, degenerate matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.curvature import diagonal, frobenius_squared, spectral_density, trace
from support.matrices import BASIS, ROWS, SPECTRA, Matrix, prescribed

pytestmark = pytest.mark.usefixtures("float64")
KEYS = jax.random.split(jax.random.key(0), 200)


def scores(found, exact):
    return np.asarray((found.value - exact) / found.error)


def calibrated(values):
    """Whether z-scores of 20 draws each have the spread of Student's distribution with 19 degrees of freedom."""
    return 0.8 < np.std(values) < 1.35 and abs(np.mean(values)) < 0.4


def test_traces_and_norms_err_as_much_as_they_say():
    matrix = prescribed(SPECTRA["indefinite"])
    entries = np.asarray(matrix.entries)
    many = jax.vmap(lambda key: trace(matrix, 20, key=key))(KEYS)
    assert calibrated(scores(many, np.trace(entries)))
    many = jax.vmap(lambda key: frobenius_squared(matrix, 20, key=key))(KEYS)
    assert calibrated(scores(many, np.sum(entries**2)))
    assert calibrated(scores(diagonal(matrix, 20, key=KEYS[0]), np.diag(entries)))


def test_the_error_is_the_standard_error_of_the_mean():
    matrix = prescribed(SPECTRA["even"])
    few, many = (trace(matrix, count, key=jax.random.key(1)).error for count in (50, 800))
    assert 3 < few / many < 5.3
    two = trace(matrix, 2, key=jax.random.key(2))
    each = [jax.random.rademacher(key, (ROWS,), matrix.dtype) for key in jax.random.split(jax.random.key(2), 2)]
    values = np.asarray([sign @ matrix.entries @ sign for sign in each])
    np.testing.assert_allclose(two, (values.mean(), values.std(ddof=1) / np.sqrt(2)), rtol=1e-12)


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
    found = jax.vmap(lambda key: spectral_density(matrix, probes=20, steps=8, key=key))(KEYS)
    for power in (1, 2, 5, 15):  # exact in expectation up to 2 * 8 - 1
        moments = jax.vmap(lambda one, power=power: one.moment(power))(found)
        assert calibrated(scores(moments, np.mean(spectrum**power)))


def test_the_density_is_that_of_the_smoothed_spectrum():
    spectrum = SPECTRA["clustered"]
    found = spectral_density(prescribed(spectrum), probes=40, steps=40, width=0.05, key=KEYS[1])
    np.testing.assert_allclose(jnp.trapezoid(found.density.value, found.grid), 1, rtol=1e-3)
    bumps = np.exp(-0.5 * ((np.asarray(found.grid)[:, None] - spectrum) / found.width) ** 2)
    exact = bumps.mean(axis=1) / (np.sqrt(2 * np.pi) * found.width)
    seen = exact > 1e-3 * exact.max()
    assert np.abs(scores(found.density, exact)[seen]).max() < 4.5
    assert np.asarray(found.density.error)[seen].max() < 0.5 * exact.max()


@pytest.mark.parametrize("name", ["zero", "identity", "low rank"])
def test_a_krylov_space_that_ends_early_leaves_all_weight_where_the_spectrum_is(name):
    spectrum = SPECTRA[name]
    found = spectral_density(prescribed(spectrum), probes=4, steps=30, key=KEYS[2])
    assert np.all(np.isfinite(found.density.value))
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-12)
    nearest = np.abs(np.asarray(found.nodes)[..., None] - spectrum).min(axis=-1)
    assert np.all((nearest < 1e-9) | (np.asarray(found.weights) < 1e-12))


def test_too_few_draws_are_refused():
    matrix = Matrix(jnp.asarray(BASIS))
    with pytest.raises(ValueError, match="at least 2 draws, got probes=1"):
        trace(matrix, 1, key=KEYS[0])
    with pytest.raises(ValueError, match="probes >= 2, steps >= 1 and width > 0, got probes=5, steps=0 and width=0.01"):
        spectral_density(matrix, probes=5, steps=0, key=KEYS[0])

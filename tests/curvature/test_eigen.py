"""Eigenpairs against matrices of prescribed spectra and dense Hessians: what is called converged is right."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.curvature import Hessian, Krylov, eigenpairs
from descentlab.data import FullBatch
from descentlab.models import EachToken, Transformer
from support.matrices import BASIS, ROWS, SPECTRA, Matrix, prescribed
from support.problems import SMALL, started

pytestmark = pytest.mark.usefixtures("float64")


def outermost(spectrum, top, bottom):
    ordered = np.sort(spectrum)
    return np.concatenate([ordered[::-1][:top], ordered[:bottom]])


def check(matrix, found, top, bottom, tolerance=1e-6):
    """What is called converged lies at the place that it claims, within its error, and every error is the residual."""
    entries = np.asarray(matrix.entries)
    values, errors, vectors = np.asarray(found.values.value), np.asarray(found.values.error), np.asarray(found.vectors)
    norm = np.abs(np.linalg.eigvalsh(entries)).max()
    rounding = 100 * np.finfo(entries.dtype).eps * norm
    residuals = np.linalg.norm(vectors @ entries - values[:, None] * vectors, axis=1)
    np.testing.assert_allclose(residuals, errors, rtol=1e-3, atol=rounding)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(top + bottom), atol=1e-6)
    apart = np.abs(values - outermost(np.linalg.eigvalsh(entries), top, bottom))
    assert np.all((apart <= errors + rounding) | ~np.asarray(found.converged))
    assert np.all(
        errors[np.asarray(found.converged)] <= tolerance * np.abs(values[np.asarray(found.converged)]) + rounding
    )


@pytest.mark.parametrize(("top", "bottom"), [(5, 0), (2, 3)])
@pytest.mark.parametrize("name", SPECTRA)
def test_whatever_is_called_converged_is_right(name, top, bottom):
    matrix = prescribed(SPECTRA[name])
    found = eigenpairs(matrix, top=top, bottom=bottom)
    check(matrix, found, top, bottom)
    out_of_reach = (name == "graded" and bottom) or name == "negative"  # nine decades below the norm of the matrix
    assert bool(found.verified) == np.all(found.converged) == (not out_of_reach)


@pytest.mark.parametrize("products", [20, 50, 100, 200])
def test_few_products_give_bounds_that_are_not_called_converged(products):
    for name in ("even", "graded", "degenerate"):
        matrix = prescribed(SPECTRA[name])
        found = eigenpairs(matrix, top=4, method=Krylov(products=products))
        assert int(found.products) <= products + 4
        check(matrix, found, 4, 0)
        exact = outermost(SPECTRA[name], 4, 0)
        assert np.all(np.asarray(found.values.value) <= exact + 1e-12)  # Ritz values lie below
    assert not bool(eigenpairs(prescribed(SPECTRA["even"]), top=4, method=Krylov(products=20)).verified)


def test_a_fresh_start_finds_the_copies_that_one_start_cannot():
    matrix = prescribed(SPECTRA["degenerate"])
    once = eigenpairs(matrix, top=2, method=Krylov(verify=False))
    assert not once.verified
    assert once.values.value[1] < 4.9995  # the second of four equal ones is not seen
    np.testing.assert_allclose(eigenpairs(matrix, top=5).values.value, [5, 5, 5, 5, 4.999], rtol=1e-9)


def test_a_start_orthogonal_to_the_largest_is_put_right_by_verification():
    spectrum = np.sort(SPECTRA["even"])
    found = eigenpairs(prescribed(spectrum), top=1, start=jnp.asarray(BASIS[:, :1].T))  # the smallest one's vector
    np.testing.assert_allclose(found.values.value, [1.0], rtol=1e-9)


def test_little_memory_means_restarts_and_the_same_answer():
    matrix = prescribed(SPECTRA["indefinite"])
    roomy, narrow = eigenpairs(matrix, top=2), eigenpairs(matrix, top=2, method=Krylov(memory=2 * 8 * ROWS * 19))
    np.testing.assert_allclose(narrow.values.value, roomy.values.value, rtol=1e-9)
    assert narrow.products > roomy.products
    assert bool(narrow.verified)


def test_single_precision_is_honest():
    matrix = Matrix(prescribed(SPECTRA["even"]).entries.astype(jnp.float32))
    with jax.enable_x64(False):
        found = eigenpairs(matrix, top=3, method=Krylov(1e-3))
    check(matrix, found, 3, 0, 1e-3)
    assert np.all(found.converged)


def test_a_small_matrix_is_diagonalised():
    matrix = Matrix(jnp.diag(jnp.asarray([3.0, -1.0, 2.0])))
    found = eigenpairs(matrix, top=2, bottom=1)
    np.testing.assert_allclose(found.values.value, [3, 2, -1], rtol=1e-15)
    assert bool(found.verified)


def test_a_transformer_against_its_dense_hessian():
    model = Transformer(width=6, depth=1, heads=2, hidden=4, readout=EachToken(2))
    objective, params = started(dataclasses.replace(SMALL, model=model, trained=None, data=FullBatch(3)))
    matrix = Hessian(objective, params)
    found = eigenpairs(matrix, top=3, bottom=2)
    check(Matrix(matrix.dense()), found, 3, 2)
    assert np.all(found.converged)


def test_lanes_are_searched_together():
    every = jnp.stack([prescribed(SPECTRA[name]).entries for name in ("even", "clustered")])
    found = eqx.filter_vmap(lambda entries: eigenpairs(Matrix(entries), top=2))(every)
    for lane in range(2):
        exact = outermost(np.linalg.eigvalsh(every[lane]), 2, 0)
        np.testing.assert_allclose(found.values.value[lane], exact, rtol=1e-9)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"top": 0}, "between 1 and 160 eigenpairs, got top=0 and bottom=0"),
        ({"top": 100, "bottom": 61}, "between 1 and 160 eigenpairs, got top=100 and bottom=61"),
        ({"top": -1, "bottom": 3}, "got top=-1 and bottom=3"),
        ({"top": 4, "method": Krylov(memory=2 * 8 * ROWS * 20)}, "4 eigenpairs .* enough for 2; ask for fewer pairs"),
    ],
)
def test_what_cannot_be_is_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        eigenpairs(prescribed(SPECTRA["even"]), **wanted)


def test_limits_are_above_zero():
    with pytest.raises(ValueError, match=r"Krylov\.tolerance must be a finite number above 0, got 0"):
        Krylov(0.0)


@pytest.mark.parametrize("rows", [5, ROWS])
@pytest.mark.parametrize("entry", [np.nan, np.inf])
def test_a_matrix_with_entries_that_are_no_numbers_has_no_eigenvalues_and_is_left_at_once(rows, entry):
    found = eigenpairs(Matrix(jnp.eye(rows).at[1, 1].set(entry)), top=2)
    assert not found.converged.any()
    assert not found.verified
    assert found.products <= 10

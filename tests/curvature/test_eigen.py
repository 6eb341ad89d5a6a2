"""Eigenpairs against matrices of prescribed spectra and dense Hessians: what is called converged is right."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from descentlab.curvature import Hessian, Krylov, eigen, eigenpairs
from descentlab.curvature.krylov import Ends, Limits, begun, searched, wanted_pairs
from descentlab.data import FullBatch
from support.matrices import BASIS, ROWS, SPECTRA, Diagonal, Matrix, prescribed
from support.problems import SMALL, started
from support.rounding import rounding

pytestmark = pytest.mark.usefixtures("float64")


def outermost(spectrum, top, bottom):
    ordered = np.sort(spectrum)
    return np.concatenate([ordered[::-1][:top], ordered[:bottom]])


def check(spectrum, product, found, top, bottom, tolerance=1e-6):
    """What is called converged lies at the place that it claims, every error is the residual, and no product is wasted.

    A dot product of n terms has n products and n sums, and so have orthogonality and residuals.
    """
    values, errors, vectors = np.asarray(found.values.value), np.asarray(found.values.error), np.asarray(found.vectors)
    rows, norm, unit = vectors.shape[1], np.abs(spectrum).max(), np.finfo(vectors.dtype).eps
    relative = rounding(2 * rows, vectors.dtype)
    size = relative * norm
    residuals = np.linalg.norm(product(vectors) - values[:, None] * vectors, axis=1)
    np.testing.assert_allclose(residuals, errors, rtol=1e-3, atol=size)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(top + bottom), rtol=0, atol=relative)
    missing = np.repeat([1, -1], [top, bottom]) * (outermost(spectrum, top, bottom) - values)
    assert missing.min() >= -size  # Ritz values lie inside
    converged, resolution = np.asarray(found.converged), np.asarray(found.resolution)
    assert np.all((missing <= resolution + size)[converged])
    assert np.all(errors[converged] <= tolerance * np.abs(values[converged]) + size)
    bound = 9 * norm + np.finfo(unit).tiny ** 0.5  # the norm by sums of rows of a basis of at most 78
    assert np.all(resolution <= np.maximum(tolerance * np.abs(values), 1024 * unit * bound))
    assert found.products <= rows
    assert bool(found.verified) == np.all(converged)
    assert found.risk == (1 if not found.verified else 0 if found.products == rows else pytest.approx(1e-3))


def check_matrix(matrix, found, *ends, **tolerance):
    entries = np.asarray(matrix.entries)
    check(np.linalg.eigvalsh(entries), lambda vectors: vectors @ entries, found, *ends, **tolerance)


def check_diagonal(matrix, found, *ends, **tolerance):
    spectrum = np.asarray(matrix.spectrum)
    check(spectrum, lambda vectors: vectors * spectrum, found, *ends, **tolerance)


@pytest.mark.parametrize("name", SPECTRA)
def test_whatever_is_called_converged_is_right(name):
    matrix = Diagonal(jnp.asarray(SPECTRA[name]))
    found = eigenpairs(matrix, top=8)
    check_diagonal(matrix, found, 8, 0)
    if found.products < ROWS:
        assert found.verified
    # Of the others eight values are not found with 300 products.
    assert found.verified or name not in {"graded", "low rank", "zero", "identity"}


@pytest.mark.parametrize("products", [15, 50, 100, 200])
def test_few_products_give_bounds_that_are_not_called_converged(products):
    for name in ("even", "graded", "degenerate"):
        matrix = Diagonal(jnp.asarray(SPECTRA[name]))
        found = eigenpairs(matrix, top=8, method=Krylov(products=products))
        assert found.products <= products
        check_diagonal(matrix, found, 8, 0)
        assert not found.verified or products > 15


def test_without_verification_copies_are_missed_and_nothing_is_promised():
    once = eigenpairs(Diagonal(jnp.asarray(SPECTRA["degenerate"])), top=2, method=Krylov(verify=False))
    assert not once.verified
    assert once.risk == 1
    assert once.values.value[1] < 4.9995  # the second of four equal ones is not seen


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("inside", [np.linspace(-1, 1, 996), np.repeat([-1.01, 0.5], [700, 296])], ids=["even", "most"])
def test_double_eigenvalues_at_both_ends_are_found(inside, seed):
    """A single start sees one of two copies: without rounds of verification this was [1.01, 1.00], verified."""
    matrix = Diagonal(jnp.asarray(np.concatenate([[1.01, 1.01, -1.01, -1.01], inside])))
    found = eigenpairs(matrix, top=2, bottom=2, key=jax.random.key(seed))
    check_diagonal(matrix, found, 2, 2)
    assert found.verified


def test_as_many_products_as_rows_are_a_dense_matrix():
    matrix = Diagonal(jnp.concatenate([jnp.asarray([2.0, 2.0]), jnp.linspace(0, 1.98, 198)]))
    found = eigenpairs(matrix, top=2)
    check_diagonal(matrix, found, 2, 0)
    np.testing.assert_allclose(found.values.value, [2, 2], rtol=rounding(2 * 200))
    assert found.products == 200


def outside(*values):
    """Some values, others down to 1.2 in steps of a tenth so that there are eight, and the rest below 1."""
    more = 2 - 0.1 * np.arange(1, 9 - len(values))
    return np.concatenate([values, more, np.linspace(-1, 1, ROWS - 8)])


@pytest.mark.parametrize("spectrum", [outside(*[2.0] * copies) for copies in range(2, 9)], ids=range(2, 9))
def test_all_copies_of_a_multiple_eigenvalue_are_found(spectrum):
    matrix = Diagonal(jnp.asarray(spectrum))
    found = eigenpairs(matrix, top=8)
    check_diagonal(matrix, found, 8, 0)
    assert found.verified


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("scale", [1, 1e-150, 1e200])
def test_clusters_are_counted_at_every_scale(gap, scale):
    """Of a matrix of 1e-150 the squared residual underflows: values were off by 1e-6 with an error of 0."""
    matrix = Diagonal(jnp.asarray(scale * outside(*(2 + gap * np.arange(4)))))
    found = eigenpairs(matrix, top=8)
    np.testing.assert_allclose(found.values.value / scale, outermost(matrix.spectrum, 8, 0) / scale, rtol=2e-6)
    assert found.verified
    residuals = np.linalg.norm(found.vectors * (matrix.spectrum - found.values.value[:, None]) / scale, axis=1)
    np.testing.assert_allclose(found.values.error / scale, residuals, rtol=1e-3, atol=rounding(2 * ROWS))


def test_in_single_precision_gaps_below_rounding_are_copies():
    spectrum = np.concatenate([[2, 2, 2 + 1e-9, 1.9], np.linspace(-1, 1, 19_996)]).astype(np.float32)
    with jax.enable_x64(False):
        matrix = Diagonal(jnp.asarray(spectrum))
        found = eigenpairs(matrix, top=4, method=Krylov(1e-3))
    check_diagonal(matrix, found, 4, 0, tolerance=1e-3)
    assert found.verified
    assert found.vectors.dtype == np.float32


def test_the_stated_probability_of_an_error_is_kept():
    """Two equal values and one a thousandth below; of 200 searches that call themselves verified few may be wrong."""
    spectrum = jnp.concatenate([jnp.asarray([1.0, 1.0, 0.999]), jnp.linspace(-1, 0.9, 57)])
    ends, first = Ends(2, 0, 27), jax.vmap(lambda key: jax.random.normal(key, (60,)))

    @eqx.filter_jit
    def wrong(risk, keys):
        def one(first, key):
            limits = Limits(jnp.asarray(300), jnp.asarray(1e-6), risk)
            state = searched(lambda vector: spectrum * vector, begun(first, ends, None), ends, limits, key)
            return state.done & (wanted_pairs(state, ends).values[1] * state.scale < 0.9995), state.done

        return jax.vmap(one)(first(keys), jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys))

    counts = []
    for risk in (0.8, 0.1):
        missed, done = wrong(jnp.asarray(risk), jax.random.split(jax.random.key(0), 200))
        assert done.all()
        counts.append(int(missed.sum()))
        assert scipy.stats.binomtest(counts[-1], 200, risk).proportion_ci(0.999).low <= risk
    assert counts[0] > counts[1]  # the bound is near what it bounds, and obeyed


def test_lanes_with_little_memory_from_starts_that_miss_the_largest():
    every = jnp.stack([prescribed(SPECTRA[name]).entries for name in ("even", "degenerate")])
    starts = jnp.stack([jnp.asarray(BASIS[:, 150:152].T)] * 2)  # eigenvectors far inside
    method = Krylov(memory=2 * 8 * ROWS * 21)
    search = eqx.filter_vmap(lambda entries, start: eigenpairs(Matrix(entries), top=2, start=start, method=method))
    found = search(every, starts)
    for lane in range(2):
        check_matrix(Matrix(every[lane]), jax.tree.map(lambda leaf, lane=lane: leaf[lane], found), 2, 0)
    assert found.verified[1]
    assert found.products[0] > 3 * 21  # there were restarts


def test_a_small_matrix_is_diagonalised():
    matrix = Matrix(jnp.diag(jnp.asarray([3.0, -1.0, 2.0])))
    found = eigenpairs(matrix, top=2, bottom=1)
    np.testing.assert_allclose(found.values.value, [3, 2, -1], rtol=1e-15)
    assert bool(found.verified)


def test_a_layer_against_its_dense_hessian():
    layer = dataclasses.replace(SMALL.model, heads=4, head_dim=6)
    matrix = Hessian(*started(dataclasses.replace(SMALL, model=layer, trained=None, data=FullBatch(3))))
    assert matrix.shape[0] > eigen.DENSE_ROWS
    found = eigenpairs(matrix, top=3, bottom=2)
    check_matrix(Matrix(matrix.dense()), found, 3, 2)
    assert np.all(found.converged)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"top": 0}, "between 1 and 300 eigenpairs, got top=0 and bottom=0"),
        ({"top": 200, "bottom": 101}, "between 1 and 300 eigenpairs, got top=200 and bottom=101"),
        ({"top": -1, "bottom": 3}, "got top=-1 and bottom=3"),
        ({"top": 4, "method": Krylov(memory=2 * 8 * ROWS * 20)}, "4 eigenpairs .* enough for 1; ask for fewer pairs"),
        ({"top": 4, "method": Krylov(products=8)}, "4 eigenpairs take at least 9 products, got products=8"),
    ],
)
def test_what_cannot_be_is_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        eigenpairs(prescribed(SPECTRA["even"]), **wanted)


def test_limits_are_above_zero():
    with pytest.raises(ValueError, match=r"Krylov\.tolerance must be a finite number above 0, got 0"):
        Krylov(0.0)
    with pytest.raises(ValueError, match=r"Krylov\.risk must be a probability below 1, got 1"):
        Krylov(risk=1)


@pytest.mark.parametrize("rows", [10, ROWS])
@pytest.mark.parametrize("entry", [np.nan, np.inf])
def test_a_matrix_with_entries_that_are_no_numbers_has_no_eigenvalues_and_is_left_at_once(rows, entry):
    found = eigenpairs(Diagonal(jnp.ones(rows).at[1].set(entry)), top=8)
    assert not found.converged.any()
    assert not found.verified
    assert found.risk == 1
    assert found.products <= 13

"""What probes measure, against NumPy."""

import dataclasses

import numpy as np
import pytest

import descentlab.probes.spectra as spectra
from descentlab import probes
from descentlab.attention import Softmax
from descentlab.data import FullBatch
from descentlab.tasks import TokenRegression
from support import naive
from support.problems import LAYER, SMALL, in_numpy, point_of
from support.quantities import by_quantity
from support.rounding import rounding

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def point(float64):
    return point_of(SMALL)


@pytest.fixture
def arrays():
    return in_numpy(SMALL)


def weights_of(experiment):
    inputs, _, params = in_numpy(experiment)
    kernel = experiment.model.attention
    return np.array([s for _, _, s, *_ in naive.heads(inputs, params, naive.WEIGHTS[type(kernel)](kernel))])


def test_gradient_norms_and_the_ratio(point, arrays):
    gradient = naive.gradient(*arrays, LAYER.attention)
    norms = [np.linalg.norm(gradient[name]) for name in naive.BLOCKS]
    np.testing.assert_allclose(probes.GradientNorm()(point), norms, rtol=1e-12)
    assert probes.GradientNorm().axes(point.params) == (probes.Axis("block", naive.BLOCKS),)
    loss = naive.loss(*arrays, naive.WEIGHTS[type(LAYER.attention)](LAYER.attention))
    np.testing.assert_allclose(probes.Loss()(point), loss, rtol=1e-13)
    np.testing.assert_allclose(probes.PLRatio()(point), np.sum(np.square(norms)) / (2 * loss), rtol=1e-12)
    jacobian = np.asarray(point.objective.jacobian(point.params))
    assert probes.PLRatio()(point) >= np.linalg.svd(jacobian, compute_uv=False)[-1] ** 2


def test_parameters_are_the_blocks_in_tree_order(point, arrays):
    flat = np.concatenate([arrays[2][name].ravel() for name in naive.BLOCKS])
    np.testing.assert_array_equal(probes.Parameters()(point), flat)


@pytest.mark.parametrize("kernel", [LAYER.attention, Softmax()], ids=["gaussian", "softmax"])
def test_entropy_and_row_sum_of_attention(kernel):
    asked = dataclasses.replace(SMALL, model=dataclasses.replace(LAYER, attention=kernel))
    weights = weights_of(asked)
    sums = weights.sum(axis=-1)
    shares = weights / sums[..., None]
    entropy = -np.sum(shares * np.log(shares), axis=-1)
    np.testing.assert_allclose(probes.AttentionShape()(point_of(asked)), [entropy.mean(), sums.mean()], rtol=1e-12)


@pytest.mark.parametrize(("heads", "duplicates"), [(2, 0), (1, 0), (2, 1)])
def test_the_feature_spectrum_and_rank(heads, duplicates):
    layer = dataclasses.replace(LAYER, heads=heads)
    asked = dataclasses.replace(SMALL, model=layer, task=TokenRegression(tokens=3, dim=4, duplicates=duplicates))
    inputs, _, params = in_numpy(asked)
    features = naive.features(inputs, params, naive.WEIGHTS[type(layer.attention)](layer.attention))
    smallest, largest, rank = probes.FeatureSpectrum()(point_of(asked))
    singular = np.linalg.svd(features, compute_uv=False)
    np.testing.assert_allclose(largest, singular[0], rtol=1e-12)
    assert rank == np.linalg.matrix_rank(features, tol=1e-10 * singular[0])
    assert rank == {(2, 0): 6, (1, 0): 4, (2, 1): 4}[heads, duplicates]
    if rank == 6:
        np.testing.assert_allclose(smallest, singular[-1], rtol=1e-10)
    else:
        assert smallest <= rounding(max(features.shape)) * largest


def test_the_gram_spectrum_is_dense_or_by_products(point, monkeypatch):
    exact = np.linalg.svd(np.asarray(point.objective.jacobian(point.params)), compute_uv=False) ** 2
    dense = by_quantity(probes.GramSpectrum(), probes.GramSpectrum()(point))
    assert dense["dense"] == 1
    atol = rounding(exact.size**2) * exact[0]
    np.testing.assert_allclose([dense["smallest"], dense["largest"]], exact[[-1, 0]], rtol=0, atol=atol)
    monkeypatch.setattr(spectra, "DENSE_ROWS", 5)
    sparse = by_quantity(probes.GramSpectrum(), probes.GramSpectrum()(point))
    assert sparse["dense"] == 0
    for name, true in (("smallest", exact[-1]), ("largest", exact[0])):
        assert abs(sparse[name] - true) <= sparse[f"{name}_error"] + atol
        assert sparse[f"{name}_error"] <= 1e-6 * exact[0]


def test_the_modal_spectrum_holds_the_whole_residual(point):
    eigenvalues, squares = probes.ModalSpectrum()(point)
    np.testing.assert_allclose(squares.sum() / 2, point.loss, rtol=1e-12)
    jacobian = np.asarray(point.objective.jacobian(point.params))
    np.testing.assert_allclose(eigenvalues, np.linalg.svd(jacobian, compute_uv=False) ** 2, rtol=1e-11)
    values, vectors = np.linalg.eigh(jacobian @ jacobian.T)
    components = vectors.T @ np.asarray(point.objective.residual(point.params))
    np.testing.assert_allclose(squares[::-1], components**2, rtol=1e-7)


@pytest.mark.parametrize("duplicates", [0, 1])
def test_the_rank_of_the_tokens_and_how_many_are_distinct(duplicates):
    asked = dataclasses.replace(SMALL, task=TokenRegression(tokens=3, dim=4, duplicates=duplicates), data=FullBatch(1))
    found = probes.TokenRank()(point_of(asked))
    tokens = in_numpy(asked)[0][0]
    with_ones = np.concatenate([tokens, np.ones((3, 1))], axis=1)
    expected = [np.linalg.matrix_rank(tokens), np.linalg.matrix_rank(with_ones), len(np.unique(tokens, axis=0))]
    np.testing.assert_array_equal(found, expected)
    assert expected[0] == 3 - duplicates

"""Ranks and certificates of runs in single precision are those of their numbers, found in double precision."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.experiment import begin
from descentlab.models import Normal
from descentlab.probes import FeatureSpectrum, ModalSpectrum, TokenRank
from descentlab.probes.spectra import RANK_TOLERANCE, certain_smallest, rank_of, rank_tolerance
from descentlab.tasks import TokenRegression
from descentlab.theory.certificate import Certified
from descentlab.theory.lipschitz_search import LipschitzSearch
from descentlab.theory.theorem_b import TheoremB
from descentlab.theory.theorem_c import TheoremC
from support import naive
from support.problems import SMALL, run

PROBES = {
    "features": FeatureSpectrum(),
    "modes": ModalSpectrum(),
    "tokens": TokenRank(),
    "b": Certified(certificate=TheoremB()),
    "c": Certified(certificate=TheoremC()),
    "search": LipschitzSearch(points=2, rounds=2),
}
START = dataclasses.replace(
    SMALL,
    task=TokenRegression(tokens=4, dim=4, duplicates=1),
    model=dataclasses.replace(SMALL.model, value=Normal(0.0)),
    trained=("value",),
    precision="float32",
    probes=PROBES,
    steps=2,
)


@pytest.fixture(scope="module")
def lanes():
    """Two lanes of one program: mapped over, the arithmetic stays double."""
    return run([START, START], seeds=[0, 1])


def test_a_repeated_token_in_each_of_two_samples_leaves_six_of_eight(lanes):
    for one in lanes:
        assert one["features"].values.dtype == np.float32
        assert one["features"].sel(quantity="rank").values.tolist() == [[6.0, 6.0, 6.0]]
        assert one["tokens"].values[0, 0].tolist() == [4.0, 5.0, 6.0]
        eigenvalues = one["modes"].sel(quantity="eigenvalue").values[0, 0]
        assert (eigenvalues > 1e-20 * eigenvalues[0]).sum() == 6
        assert one["b"].sel(quantity="sigma_min").at(0) == one["c"].sel(quantity="lambda_b").at(0) == 0
        assert one["b"].sel(quantity="ratio").values[0, 0] == np.inf


def test_the_numbers_are_those_of_double_precision_at_the_same_weights(lanes):
    """Query and key are not trained, so that their weights at the end are those at the start."""
    for seed, one in enumerate(lanes):
        with jax.enable_x64(False):
            inputs = np.asarray(begin(START, key=jax.random.key(seed)).objective.inputs, np.float64)
        params = {name: array[0].astype(np.float64) for name, array in one.final.items()}
        kernel = START.model.attention
        features = naive.features(inputs, params, naive.WEIGHTS[type(kernel)](kernel))
        singular = np.linalg.svd(features, compute_uv=False)
        smallest, largest = (one["features"].sel(quantity=q).values[0, 0] for q in ("smallest", "largest"))
        assert largest == pytest.approx(singular[0], rel=2.0**-23)
        # In single precision the smallest would be about 1e-7 of the largest.
        assert smallest < 1e-14 * largest


def test_the_tolerance_is_a_line_of_five_digits_or_the_error_of_a_singular_value():
    assert rank_tolerance((6, 8), np.float64) == RANK_TOLERANCE
    assert rank_tolerance((6, 8), np.float32) == 8 * 2.0**-23
    assert rank_tolerance((10**6, 3), np.float64) == 10**6 * 2.0**-52
    with jax.enable_x64(True):
        singular = jnp.asarray([1.0, 1e-3, 1e-9, 1e-11, 0.0])
        assert rank_of(singular, (5, 9)) == 3
        assert rank_of(singular.astype(jnp.float32), (5, 9)) == 2


@pytest.mark.parametrize("rows", [2, 5, 40])
def test_a_certain_singular_value_is_a_lower_bound(rows):
    """Exact in a diagonal matrix, turned by two reflections that rounding disturbs."""
    rng = np.random.default_rng(rows)
    for smallest in (1e-3, 1e-6, 1e-9):
        exact = np.geomspace(1.0, smallest, rows)
        left, right = (np.linalg.qr(rng.normal(size=(rows, rows)))[0] for _ in range(2))
        computed = np.linalg.svd(left * exact @ right, compute_uv=False)
        with jax.enable_x64(True):
            found = float(certain_smallest(jnp.asarray(computed), (rows, rows)))
        assert 0 < found <= exact[-1]
        assert found >= exact[-1] - 3 * rows * 2.0**-52

"""The bound on accumulated rounding, against gradient descent in NumPy in two precisions, and against exact sums."""

import numpy as np
import pytest

from descentlab.claims import About
from descentlab.probes import GramSpectrum
from descentlab.status import Status
from descentlab.theory.modes import Modes, modal_loss
from descentlab.theory.pl import pl_inequality
from descentlab.theory.rounding import (
    Arithmetic,
    bound_rounding,
    lane_size,
    loss_rounding,
    sum_rounding,
    unit_roundoff,
)
from descentlab.trajectory import Series, Trajectory

ROWS, COLUMNS = 12, 20
STEPS = np.unique(np.geomspace(1, 3000, 40).astype(int))


def descend(dtype, seed, slowest):
    """Recorded losses of A w - y, the modes of A as stored, and the step, in a precision."""
    random = np.random.default_rng(seed)
    left, _, right = np.linalg.svd(random.normal(size=(ROWS, COLUMNS)), full_matrices=False)
    matrix = (left * np.geomspace(1, slowest, ROWS) @ right).astype(dtype)
    target = random.normal(size=ROWS).astype(dtype)
    left, singular, _ = np.linalg.svd(matrix.astype(np.float64))
    modes = Modes(singular**2, (left.T @ target) ** 2)
    step, weights, losses = dtype(1 / modes.eigenvalues.max()), np.zeros(COLUMNS, dtype), []
    for _ in range(STEPS[-1] + 1):
        residual = matrix @ weights - target
        losses.append(0.5 * float(np.sum(residual.astype(np.float64) ** 2)))
        weights = weights - step * (matrix.T @ residual)
    run = Arithmetic(float(np.linalg.norm(weights)), ROWS + COLUMNS, float(np.finfo(dtype).eps) / 2)
    return np.asarray(losses)[STEPS], modes, float(step), run


@pytest.mark.parametrize("slowest", [0.1, 1e-3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_run_departs_by_more_than_the_bound(dtype, slowest):
    legible = 0
    for seed in range(4):
        losses, modes, step, run = descend(dtype, seed, slowest)
        expected = modal_loss(modes, step, STEPS)
        allowed = loss_rounding(modes, step, STEPS, expected, run)
        assert np.all(np.abs(losses / expected - 1) <= allowed)
        legible += np.sum(allowed < 0.1)
    assert legible > len(STEPS)


def test_a_run_in_single_precision_is_not_bounded_by_the_rounding_of_double():
    losses, modes, step, run = descend(np.float32, 0, 0.1)
    expected = modal_loss(modes, step, STEPS)
    allowed = loss_rounding(modes, step, STEPS, expected, run._replace(unit=2.0**-53))
    assert np.any(np.abs(losses / expected - 1) > allowed)


def test_the_bound_grows_with_steps_and_as_losses_vanish():
    _, modes, step, run = descend(np.float64, 0, 0.1)
    expected = modal_loss(modes, step, STEPS)
    for losses in (expected, np.ones(len(STEPS))):
        assert np.all(np.diff(loss_rounding(modes, step, STEPS, losses, run)) > 0)


def test_the_sums_of_the_proof_are_bounded_as_it_says():
    x, k = np.linspace(0, 1, 2001)[:, None], np.arange(400)
    powers = (1 - x) ** k
    assert np.all((x * powers).max(axis=0) <= 1 / (k + 1))
    assert np.all((np.sqrt(x) * powers).max(axis=0) <= 1 / np.sqrt(2 * k + 1))
    assert np.all(np.cumsum(1 / (k + 1)) <= 1 + np.log(k + 1))
    assert np.all(np.cumsum(1 / np.sqrt(2 * k + 1)) <= np.sqrt(2 * k + 2))


def test_a_smallest_eigenvalue_off_by_rounding_moves_the_bound_by_no_more():
    modes = Modes(np.geomspace(1, 1e-6, 5), np.ones(5))
    run = Arithmetic(1.0, 100, 2.0**-30)
    moved = run.size * run.unit * np.sqrt(modes.eigenvalues.sum())
    root = np.sqrt(modes.eigenvalues.min())
    exact, off = (np.exp(2 * STEPS * np.log1p(-(one**2))) for one in (root, root - moved))
    assert np.all(off / exact - 1 <= bound_rounding(modes, 1.0, STEPS, run))


def recorded(dtype, ratio):
    """One step of a run whose PL ratio is so many times the smallest eigenvalue, which is the largest too."""
    at, one = np.zeros(1, dtype=int), np.ones((1, 1))
    modes = np.array([[[1.0, 1.0, 0.0, 0.0, 1.0]]])
    series = {
        "loss": Series(at, one),
        "pl": Series(at, ratio * one),
        "gram": Series(at, modes, GramSpectrum().axes(None)),
    }
    return Trajectory((0,), series, {"value": np.zeros((1, 2, 3, 4), dtype)}, (Status.FINISHED,), (-1,))


@pytest.mark.parametrize(
    ("dtype", "missing", "verdict"),
    [
        (np.float32, 1e-6, "holds"),
        (np.float32, 1e-3, "fails"),
        (np.float64, 1e-14, "holds"),
        (np.float64, 1e-6, "fails"),
    ],
)
def test_allowances_follow_the_precision_of_the_run(dtype, missing, verdict):
    run = recorded(dtype, 1 - missing)
    assert (lane_size(run), unit_roundoff(run)) == (24, np.finfo(dtype).eps / 2)
    assert sum_rounding([run]) == 4 * 24 * np.finfo(dtype).eps / 2
    assert pl_inequality(About("pl", "the inequality", "a test"), [run]).verdict == verdict

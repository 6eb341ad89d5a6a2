"""The modal formula against gradient descent in NumPy, the floor against least squares, steps against counting."""

import numpy as np
import pytest

from descentlab.theory.modes import Modes, condition_number, least_squares_floor, modal_loss, steps_to


def linear_problem(rows, columns, seed=0, decay=0.0):
    """r(theta) = A theta - y, and its modes as the probe records it; singular values fall by e^-decay."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, columns)) * np.exp(-decay * np.arange(columns))
    target = rng.normal(size=rows)
    left, singular, _ = np.linalg.svd(matrix)
    eigenvalues = np.zeros(rows)
    eigenvalues[: len(singular)] = singular**2
    return matrix, target, Modes(eigenvalues, (left.T @ target) ** 2)


@pytest.mark.parametrize(("rows", "columns"), [(6, 9), (6, 6), (8, 5)], ids=["wide", "square", "tall"])
def test_the_modal_formula_is_what_gradient_descent_does(rows, columns):
    matrix, target, modes = linear_problem(rows, columns)
    step = 0.9 / modes.eigenvalues.max()
    theta, losses = np.zeros(columns), []
    for _ in range(301):
        residual = matrix @ theta - target
        losses.append(0.5 * residual @ residual)
        theta = theta - step * matrix.T @ residual
    np.testing.assert_allclose(modal_loss(modes, step, np.arange(301)), losses, rtol=1e-9)


@pytest.mark.parametrize(("rows", "columns"), [(8, 5), (20, 3)])
def test_the_floor_is_that_of_least_squares(rows, columns):
    matrix, target, modes = linear_problem(rows, columns, seed=1)
    remainder = np.linalg.lstsq(matrix, target)[1][0]
    assert least_squares_floor(modes) == pytest.approx(0.5 * remainder, rel=1e-10)
    assert np.isinf(condition_number(modes))


def test_with_full_rank_there_is_no_floor():
    matrix, _, modes = linear_problem(5, 8)
    assert least_squares_floor(modes) == 0
    assert condition_number(modes) == pytest.approx(np.linalg.cond(matrix) ** 2, rel=1e-10)


@pytest.mark.parametrize("tolerance", [0.99, 0.3, 1e-3, 1e-6, 1e-12])
@pytest.mark.parametrize("fraction", [0.3, 1.0, 1.7])
def test_steps_are_those_that_counting_gives(fraction, tolerance):
    _, _, modes = linear_problem(5, 12, seed=2)
    step = fraction / modes.eigenvalues.max()
    steps = np.arange(20_000)
    relative = modal_loss(modes, step, steps) / (0.5 * modes.squares.sum())
    assert relative[-1] < tolerance
    assert steps_to(modes, step, tolerance) == steps[relative <= tolerance][0]


def test_below_the_threshold_no_number_of_steps_suffices():
    _, _, modes = linear_problem(8, 5)
    floor = least_squares_floor(modes) / (0.5 * modes.squares.sum())
    step = 1 / modes.eigenvalues.max()
    assert np.isinf(steps_to(modes, step, 0.5 * floor))
    assert np.isfinite(steps_to(modes, step, 1.01 * floor))


def test_steps_beyond_any_run_are_numbers_all_the_same():
    """One mode is gone at once, the other takes log(2e-3) / (2 log(1 - 1e-17)) steps."""
    modes = Modes(np.asarray([1.0, 1e-17]), np.asarray([1.0, 1.0]))
    assert steps_to(modes, 1.0, 1e-3) == pytest.approx(np.log(2e-3) / (2 * np.log1p(-1e-17)), rel=1e-12)


def test_a_mode_that_never_falls_takes_for_ever():
    assert np.isinf(steps_to(Modes(np.asarray([2.0, 1.0]), np.asarray([1.0, 1.0])), 1.0, 1e-3))
    assert np.isinf(steps_to(Modes(np.asarray([1.0, np.nan]), np.asarray([1.0, 1.0])), 1.0, 1e-3))


def test_a_step_at_which_descent_diverges_is_refused():
    with pytest.raises(ValueError, match="at most 2 / lambda_max"):
        steps_to(Modes(np.asarray([2.0, 1.0]), np.asarray([1.0, 1.0])), 1.1, 1e-3)

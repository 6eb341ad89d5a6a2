"""The modal formula against gradient descent in NumPy, the floor against least squares, steps against counting."""

import numpy as np
import pytest

from descentlab.theory.theorem_a import condition_number, least_squares_floor, modal_loss, steps_to


def linear_problem(rows, columns, seed=0, decay=0.0):
    """r(theta) = A theta - y, and its spectrum as the probe records it; singular values fall by e^-decay."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, columns)) * np.exp(-decay * np.arange(columns))
    target = rng.normal(size=rows)
    left, singular, _ = np.linalg.svd(matrix)
    eigenvalues = np.zeros(rows)
    eigenvalues[: len(singular)] = singular**2
    return matrix, target, np.stack([eigenvalues, (left.T @ target) ** 2])


@pytest.mark.parametrize(("rows", "columns"), [(6, 9), (6, 6), (8, 5)], ids=["wide", "square", "tall"])
def test_the_modal_formula_is_what_gradient_descent_does(rows, columns):
    matrix, target, spectrum = linear_problem(rows, columns)
    step = 0.9 / spectrum[0].max()
    theta, losses = np.zeros(columns), []
    for _ in range(301):
        residual = matrix @ theta - target
        losses.append(0.5 * residual @ residual)
        theta = theta - step * matrix.T @ residual
    np.testing.assert_allclose(modal_loss(spectrum, step, np.arange(301)), losses, rtol=1e-9)


@pytest.mark.parametrize(("rows", "columns"), [(8, 5), (20, 3)])
def test_the_floor_is_that_of_least_squares(rows, columns):
    matrix, target, spectrum = linear_problem(rows, columns, seed=1)
    remainder = np.linalg.lstsq(matrix, target)[1][0]
    assert least_squares_floor(spectrum) == pytest.approx(0.5 * remainder, rel=1e-10)
    assert np.isinf(condition_number(spectrum))


def test_with_full_rank_there_is_no_floor():
    matrix, _, spectrum = linear_problem(5, 8)
    assert least_squares_floor(spectrum) == 0
    assert condition_number(spectrum) == pytest.approx(np.linalg.cond(matrix) ** 2, rel=1e-10)


@pytest.mark.parametrize("tolerance", [0.99, 0.3, 1e-3, 1e-6, 1e-12])
@pytest.mark.parametrize("fraction", [0.3, 1.0, 1.7])
def test_steps_are_those_that_counting_gives(fraction, tolerance):
    _, _, spectrum = linear_problem(5, 12, seed=2)
    step = fraction / spectrum[0].max()
    steps = np.arange(20_000)
    relative = modal_loss(spectrum, step, steps) / (0.5 * spectrum[1].sum())
    assert relative[-1] < tolerance
    assert steps_to(spectrum, step, tolerance) == steps[relative <= tolerance][0]


def test_below_the_threshold_no_number_of_steps_suffices():
    _, _, spectrum = linear_problem(8, 5)
    floor = least_squares_floor(spectrum) / (0.5 * spectrum[1].sum())
    step = 1 / spectrum[0].max()
    assert np.isinf(steps_to(spectrum, step, 0.5 * floor))
    assert np.isfinite(steps_to(spectrum, step, 1.01 * floor))


def test_steps_beyond_any_run_are_numbers_all_the_same():
    """One mode is gone at once, the other takes log(2e-3) / (2 log(1 - 1e-17)) steps."""
    spectrum = np.asarray([[1.0, 1e-17], [1.0, 1.0]])
    assert steps_to(spectrum, 1.0, 1e-3) == pytest.approx(np.log(2e-3) / (2 * np.log1p(-1e-17)), rel=1e-12)


def test_a_mode_that_never_falls_takes_for_ever():
    assert np.isinf(steps_to(np.asarray([[2.0, 1.0], [1.0, 1.0]]), 1.0, 1e-3))
    assert np.isinf(steps_to(np.asarray([[1.0, np.nan], [1.0, 1.0]]), 1.0, 1e-3))


def test_a_step_at_which_descent_diverges_is_refused():
    with pytest.raises(ValueError, match="at most 2 / lambda_max"):
        steps_to(np.asarray([[2.0, 1.0], [1.0, 1.0]]), 1.1, 1e-3)

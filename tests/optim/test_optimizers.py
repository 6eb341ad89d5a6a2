"""Update rules against loops in NumPy; what holds for all of them is in `contracts/`."""

import dataclasses

import jax
import numpy as np
import pytest

from descentlab.optim import GD, Adam, Armijo, GradientFlow, GramGD, Momentum
from descentlab.probes import GradientNorm, Loss, StepSize
from descentlab.schedule import Every
from support import naive
from support.problems import LAYER, SMALL, in_numpy, point_of, run

SEEN = {"loss": Loss(Every()), "gradient": GradientNorm(Every()), "step_size": StepSize(Every())}


def trained_by(optimizer, **changes):
    return dataclasses.replace(SMALL, optimizer=optimizer, probes=SEEN, **changes)


def by_hand(lr, momentum, steps):
    """Heavy-ball descent with the gradient of the loops; plain descent where `momentum` is 0."""
    inputs, targets, params = in_numpy(SMALL)
    velocity = {name: np.zeros_like(block) for name, block in params.items()}
    losses = []
    for _ in range(steps + 1):
        losses.append(naive.loss(inputs, targets, params, naive.WEIGHTS[type(LAYER.attention)](LAYER.attention)))
        gradient = naive.gradient(inputs, targets, params, LAYER.attention)
        velocity = {name: momentum * velocity[name] + gradient[name] for name in params}
        last = params
        params = {name: params[name] - lr * velocity[name] for name in params}
    return losses, last


@pytest.mark.parametrize(("rule", "momentum"), [(GD(0.1), 0.0), (Momentum(0.05, 0.6), 0.6)], ids=["gd", "momentum"])
def test_descent_is_the_loop_by_hand(rule, momentum):
    one = run([trained_by(rule)])[0]
    losses, params = by_hand(rule.lr, momentum, 12)
    np.testing.assert_allclose(one["loss"].values[0], losses, rtol=1e-11)
    for name, block in params.items():
        np.testing.assert_allclose(one.final[name][0], block, rtol=0, atol=1e-11)


def test_a_step_from_the_gram_matrix_is_a_fraction_over_its_largest_eigenvalue_at_the_start():
    one = run([trained_by(GramGD(0.3))])[0]
    with jax.enable_x64(True):
        point = point_of(SMALL)
        jacobian = np.asarray(point.objective.jacobian(point.params))
    step = 0.3 / np.linalg.norm(jacobian, 2) ** 2
    np.testing.assert_allclose(one["step_size"].values[0, 1:], step, rtol=1e-13)


def test_every_accepted_step_of_the_line_search_satisfies_its_inequality():
    one = run([trained_by(Armijo(), steps=60)], [1])[0]
    losses, rates = one["loss"].values[0], one["step_size"].values[0, 1:]
    squares = np.sum(one["gradient"].values[0, :-1] ** 2, axis=-1)
    assert np.all(rates > 0)
    assert np.all(losses[1:] <= losses[:-1] - rates / 2 * squares + 1e-15 * losses[:-1])
    ratios = rates[1:] / rates[:-1]
    np.testing.assert_array_equal(np.log2(ratios) % 1, 0)
    assert ratios.max() <= 2
    assert losses[-1] < 0.1 * losses[0]


def test_a_line_search_that_is_not_allowed_to_halve_enough_stays_where_it_is():
    steep = dataclasses.replace(LAYER, output=dataclasses.replace(LAYER.output, scale=30.0))
    one = run([trained_by(Armijo(halvings=2), model=steep, trained=("value",), steps=3)])[0]
    losses = one["loss"].values[0]
    np.testing.assert_array_equal(losses, losses[0])
    np.testing.assert_array_equal(one["step_size"].values[0, 1:], 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GD(0.0),
        lambda: GramGD(-1.0),
        lambda: Momentum(lr=0.0),
        lambda: Momentum(momentum=-0.1),
        lambda: Momentum(momentum=1.0),
        lambda: GradientFlow(time_step=0.0),
        lambda: GradientFlow(tolerance=0.0),
        lambda: GD(float("nan")),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()


def factor(rule, curvature):
    """The largest growth of two numbers, position and velocity, in a step on a quadratic of such a curvature."""
    if isinstance(rule, Adam):  # with P = 1: the velocity is a mean
        matrix = [[1 - rule.lr * (1 - rule.b1) * curvature, -rule.lr * rule.b1], [(1 - rule.b1) * curvature, rule.b1]]
    else:
        decay = rule.momentum if isinstance(rule, Momentum) else 0.0
        matrix = [[1 - rule.lr * curvature, -rule.lr * decay], [curvature, decay]]
    return np.abs(np.linalg.eigvals(matrix)).max()


@pytest.mark.parametrize("rule", [GD(0.3), Momentum(0.1, 0.0), Momentum(0.2, 0.9), Adam(0.01), Adam(0.5, 0.3)], ids=str)
def test_the_threshold_is_where_steps_begin_to_grow(rule):
    assert factor(rule, 0.999 * rule.threshold) < 1 < factor(rule, 1.001 * rule.threshold)


def test_the_preconditioner_of_adam_turns_the_mean_of_gradients_into_its_step():
    rule, steps = Adam(0.01, 0.8, 0.95, 1e-3), 4
    with jax.enable_x64(True):
        point = point_of(SMALL)
        state, mean = rule.init(point), jax.tree.map(np.zeros_like, point.params)
        for _ in range(steps):
            update = rule.step(point, state)
            mean = jax.tree.map(lambda m, g: 0.8 * m + 0.2 * np.asarray(g), mean, point.gradient)
            made = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), update.params, point.params)
            expected = jax.tree.map(lambda m, p: -0.01 * m / np.asarray(p), mean, rule.preconditioner(update.state))
            rounding = 4 * np.finfo(np.float64).eps * max(np.abs(p).max() for p in jax.tree.leaves(point.params))
            for one, other in zip(jax.tree.leaves(made), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-13, atol=rounding)
            point = dataclasses.replace(
                point, params=update.params, gradient=jax.grad(point.objective.loss)(update.params)
            )
            state = update.state

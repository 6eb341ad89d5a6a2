"""Losses against closed forms in long double, with weights, ignored targets and outputs of any size."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.losses import AbstractLossFunction, CrossEntropy, Logistic, SquaredError
from descentlab.objective import Examples
from support.rounding import rounding

pytestmark = pytest.mark.usefixtures("float64")
RANDOM = np.random.default_rng(0)
IGNORED = -100


def squared(outputs, targets):
    return ((outputs - targets) ** 2).reshape(len(outputs), -1).sum(axis=1) / 2


def cross_entropy(outputs, targets):
    largest = outputs.max(axis=-1, keepdims=True)
    sums = np.log(np.exp(outputs - largest).sum(axis=-1))
    chosen = np.take_along_axis(outputs - largest, np.where(targets < 0, 0, targets)[..., None], axis=-1)[..., 0]
    return np.where(targets == IGNORED, 0, sums - chosen)


def logistic(outputs, targets):
    margins = outputs.reshape(targets.shape) * targets
    return np.maximum(-margins, 0) + np.log1p(np.exp(-np.abs(margins)))


def mean(losses, weights):
    """In long double; a weight an example stands for each of its targets."""
    spread = np.broadcast_to(weights.reshape(weights.shape + (1,) * (losses.ndim - weights.ndim)), losses.shape)
    return (spread * losses).sum() / spread.sum() if spread.any() else np.longdouble(0)


def signs(*shape):
    return RANDOM.choice([-1.0, 1.0], shape)


def some_ignored(*shape):
    return np.where(RANDOM.random(shape) < 0.4, IGNORED, RANDOM.integers(0, 5, shape))


CASES = {
    "squared error": (SquaredError(), squared, RANDOM.normal(size=(3, 4, 2)), RANDOM.normal(size=(3, 4, 2))),
    "classes": (CrossEntropy(), cross_entropy, RANDOM.normal(size=(3, 5)), RANDOM.integers(0, 5, 3)),
    "classes of tokens": (CrossEntropy(), cross_entropy, RANDOM.normal(size=(3, 4, 5)), RANDOM.integers(0, 5, (3, 4))),
    "ignored": (CrossEntropy(IGNORED), cross_entropy, RANDOM.normal(size=(3, 4, 5)), some_ignored(3, 4)),
    "extreme classes": (CrossEntropy(), cross_entropy, 1e4 * RANDOM.normal(size=(3, 5)), RANDOM.integers(0, 5, 3)),
    "signs": (Logistic(), logistic, RANDOM.normal(size=(3,)), signs(3)),
    "signs, an axis": (Logistic(), logistic, RANDOM.normal(size=(3, 1)), signs(3)),
    "signs of tokens": (Logistic(), logistic, RANDOM.normal(size=(3, 4, 1)), signs(3, 4)),
    "whole signs": (Logistic(), logistic, RANDOM.normal(size=(3, 4)), signs(3, 4).astype(np.int8)),
    "extreme signs": (Logistic(), logistic, np.array([1e4, -1e4, 800.0, -1e300]), np.array([1.0, 1.0, -1.0, 1.0])),
}
each = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def weightings(loss, targets):
    """No weights, and such as a loss allows: numbers, a mask, and nothing."""
    shapes = [targets.shape[:1], *([] if isinstance(loss, SquaredError) or targets.ndim == 1 else [targets.shape])]
    yield None
    for shape in shapes:
        yield RANDOM.random(shape) * 10
        yield np.arange(np.prod(shape)).reshape(shape) % 2 == 0
        yield np.zeros(shape)


def counted(loss, targets, weights):
    weights = np.ones(len(targets)) if weights is None else weights
    if isinstance(loss, CrossEntropy) and loss.ignored is not None:
        weights = weights.reshape(weights.shape + (1,) * (targets.ndim - weights.ndim)) * (targets != IGNORED)
    return weights.astype(np.longdouble)


@each
def test_losses_and_their_gradients_are_the_closed_forms(case):
    loss, exact, outputs, targets = case
    wide = outputs.astype(np.longdouble)
    for weights in weightings(loss, targets):
        given = None if weights is None else jnp.asarray(weights)
        value, slope = jax.value_and_grad(loss)(jnp.asarray(outputs), jnp.asarray(targets), given)
        weighing = counted(loss, targets, weights)
        expected = mean(exact(wide, targets), weighing)
        # A logarithm of a sum of exponentials is off by roundings of its largest term, here of the outputs.
        size = max(1.0, float(np.abs(outputs).max()))
        assert abs(float(value) - expected) <= rounding(8 + outputs.size) * max(size, float(expected))
        if size > 100:
            assert np.isfinite(slope).all()
            continue
        step = np.longdouble(1e-6)
        for place in np.ndindex(outputs.shape):
            move = np.zeros_like(wide)
            move[place] = step
            ends = (mean(exact(wide + sign * move, targets), weighing) for sign in (1, -1))
            difference = functools.reduce(np.subtract, ends) / (2 * step)
            # A central difference of these losses, whose third derivatives are below 1, is off by step^2 / 6.
            assert abs(float(slope[place]) - difference) <= float(step) ** 2 + rounding(30 + outputs.size)


@each
def test_a_weight_of_two_is_the_example_twice_and_one_of_zero_is_none(case):
    loss, _, outputs, targets = case
    twice = loss(*(jnp.asarray(np.concatenate([one[:1], one[:1], one[2:]])) for one in (outputs, targets)))
    weights = jnp.asarray([2.0, 0.0, *[1.0] * (len(targets) - 2)])
    found = loss(jnp.asarray(outputs), jnp.asarray(targets), weights)
    np.testing.assert_allclose(found, twice, rtol=rounding(8 * outputs.size))


@each
def test_the_loss_of_nothing_is_zero_with_gradient_zero(case):
    loss, _, outputs, targets = case
    given = jnp.asarray(outputs), jnp.asarray(targets), jnp.zeros(len(targets))
    value, slope = jax.value_and_grad(loss)(*given)
    assert value == 0
    assert not slope.any()
    assert all(metric == 0 for metric in loss.metrics(*given).values())


def test_a_batch_whose_targets_are_all_ignored_has_loss_zero():
    targets = jnp.full((3, 4), IGNORED)
    value, slope = jax.value_and_grad(CrossEntropy(IGNORED))(jnp.ones((3, 4, 5)), targets)
    assert value == 0
    assert not slope.any()


def test_least_squares_is_half_the_square_of_its_residual_whose_rows_have_the_roots_of_the_weights():
    _, _, outputs, targets = CASES["squared error"]
    weights = np.array([3.0, 0.0, 1.0])
    residual = SquaredError().residual(jnp.asarray(outputs), jnp.asarray(targets), jnp.asarray(weights))
    expected = np.sqrt(weights / 4)[:, None, None] * (outputs - targets)
    np.testing.assert_allclose(residual, expected.ravel(), rtol=rounding(4))
    unweighted = SquaredError().residual(jnp.asarray(outputs), jnp.asarray(targets))
    np.testing.assert_allclose(unweighted, (outputs - targets).ravel() / np.sqrt(3), rtol=rounding(4))


@pytest.mark.parametrize("axes", [(), (1,)])
def test_accuracy_counts_targets_by_their_weights(axes):
    signed = np.array([2.0, -3.0, 0.0, 1.0]).reshape(4, *axes), jnp.asarray([1, 1, 1, 1])
    assert Logistic().metrics(*map(jnp.asarray, signed)) == {"accuracy": 0.5}
    assert Logistic().metrics(*map(jnp.asarray, signed), jnp.asarray([5.0, 1.0, 2.0, 0.0])) == {"accuracy": 0.625}


def test_accuracy_counts_no_target_that_is_ignored():
    outputs, targets = jnp.eye(3)[None], jnp.asarray([[0, 2, IGNORED]])
    assert CrossEntropy(IGNORED).metrics(outputs, targets) == {"accuracy": 0.5}
    assert CrossEntropy(IGNORED).metrics(outputs, targets, jnp.asarray([[3.0, 1.0, 9.0]])) == {"accuracy": 0.75}
    assert CrossEntropy().metrics(jnp.eye(3), jnp.asarray([0, 1, 1])) == {"accuracy": jnp.asarray(2) / 3}
    assert SquaredError().metrics(outputs, outputs) == {}


@pytest.mark.parametrize("target", [-1, -100, 5, 6])
def test_a_target_that_is_no_class_has_no_loss(target):
    assert jnp.isnan(CrossEntropy()(jnp.ones((2, 5)), jnp.asarray([0, target])))
    assert jnp.isnan(CrossEntropy(ignored=-7)(jnp.ones((2, 5)), jnp.asarray([0, target])))


@pytest.mark.parametrize("target", [0, 2, 0.5])
def test_a_target_that_is_no_sign_has_no_loss(target):
    assert jnp.isnan(Logistic()(jnp.ones(2), jnp.asarray([1, target])))


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "weights", "message"),
    [
        (SquaredError(), (3, 2), (3, 1), None, "targets must have the shape of the model's outputs (3, 2), got (3, 1)"),
        (SquaredError(), (3, 2), (3, 2), (3, 2), "weights must have the shape (3,), one an example"),
        (CrossEntropy(), (3, 4, 2), (3,), None, "outputs must have the shape (3, 'classes') for targets of shape (3,)"),
        (CrossEntropy(), (3, 2), (3,), (4,), "weights must have the shape (3,), one an example or one a target, got"),
        (CrossEntropy(), (3, 4, 2), (3, 4), (4,), "weights must have the shape (3,) or (3, 4), one an example or"),
        (Logistic(), (3, 2), (3,), None, "outputs must have the shape (3,) or (3, 1) for signs of shape (3,), got (3,"),
        (Logistic(), (3,), (3, 1), None, "outputs must have the shape (3, 1) or (3, 1, 1) for signs"),
        (Logistic(), (3,), (3,), (), "weights must have the shape (3,)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(loss, outputs, targets, weights, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        loss.check(outputs, targets, weights)


def test_a_loss_of_ones_own_says_what_a_target_costs():
    class Absolute(AbstractLossFunction):
        def each(self, outputs, targets):
            return jnp.abs(outputs - targets)

    outputs, targets = jnp.asarray([[1.0, 2.0], [3.0, 5.0]]), jnp.zeros((2, 2))
    Absolute().check(outputs.shape, targets.shape, (2,))
    assert Absolute()(outputs, targets) == 11 / 4
    assert Absolute()(outputs, targets, jnp.asarray([3, 1])) == 17 / 8
    assert Absolute()(outputs, targets, jnp.asarray([[0, 1], [1, 0]])) == 5 / 2


def test_examples_are_a_tree_whose_absent_fields_have_no_leaves():
    plain = Examples(np.ones((2, 3)), np.zeros(2))
    assert len(jax.tree.leaves(plain)) == 2
    whole = Examples(np.ones((2, 3)), np.zeros(2), np.ones(2), {"signal": np.arange(2)})
    last = jax.tree.map(lambda one: one[1:], whole)
    assert last.weights.shape == (1,)
    assert last.parts["signal"].tolist() == [1]

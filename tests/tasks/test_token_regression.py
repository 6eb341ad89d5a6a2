"""Random tokens and their targets."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.experiment import check
from descentlab.models import MeanPool
from descentlab.tasks import GaussianTokens, InRange, Noise, Teacher, TokenRegression, UnitNorm
from support.problems import LAYER, SMALL, started

pytestmark = pytest.mark.usefixtures("float64")
KEY = jax.random.key(0)
OUTPUT = np.zeros((3, 1))
"""The world of noise: an output of zeros, for its shape."""


def task_at(target, **changes):
    task = TokenRegression(tokens=3, dim=4, target=target)
    return started(dataclasses.replace(SMALL, task=task, **changes))


def test_tokens_on_the_sphere_have_norm_one():
    tokens = UnitNorm()((50, 3, 4), key=jax.random.key(0))
    np.testing.assert_allclose(jnp.linalg.norm(tokens, axis=-1), 1, rtol=1e-14)
    assert np.abs(tokens.mean(axis=(0, 1))).max() < 4 * np.sqrt(1 / 4 / 150)


def test_the_root_mean_square_of_gaussian_tokens_is_their_scale():
    squares = np.sum(np.asarray(GaussianTokens(2.0)((400, 5), key=jax.random.key(0))) ** 2, axis=-1)
    assert abs(squares.mean() - 4) < 4 * squares.std() / np.sqrt(400)


@pytest.mark.parametrize("duplicates", [0, 1, 2])
def test_so_many_tokens_repeat_the_first(duplicates):
    inputs = np.asarray(
        TokenRegression(tokens=3, dim=4, duplicates=duplicates).sample(5, OUTPUT, key=jax.random.key(0)).inputs
    )
    for sample in inputs:
        assert sum(np.array_equal(token, sample[0]) for token in sample[1:]) == duplicates
        assert len(np.unique(sample, axis=0)) == 3 - duplicates


def test_more_samples_keep_their_targets_apart_from_their_inputs():
    task = TokenRegression(tokens=3, dim=4)
    examples = task.sample(2, OUTPUT, key=jax.random.key(0))
    inputs, targets = np.asarray(examples.inputs).ravel(), np.asarray(examples.targets).ravel()
    assert not np.isin(np.round(targets, 9), np.round(inputs, 9)).any()


def test_noise_has_its_scale():
    inputs = jnp.ones((500, 3, 4))
    world = Noise(0.2).world(LAYER.init(inputs[0], key=KEY), inputs[0], key=KEY)
    targets = np.asarray(Noise(0.2)(inputs, world, key=jax.random.key(1)))
    assert abs(targets.std() - 0.2) < 4 * 0.2 / np.sqrt(2 * targets.size)


def test_targets_in_range_are_reached_by_the_least_squares_solution():
    objective, params = task_at(InRange(("value",), 0.7), trained=("value",))
    jacobian, residual = objective.jacobian(params), objective.residual(params)
    floor = residual - jacobian @ np.linalg.lstsq(jacobian, residual)[0]
    assert residual @ residual > 1e-2
    assert floor @ floor < 1e-25 * residual @ residual


def test_targets_in_range_of_nothing_moved_are_the_outputs():
    objective, params = task_at(InRange(("query", "output"), 0.0))
    assert objective.loss(params) < 1e-28


def test_noise_is_out_of_range_where_there_are_fewer_parameters_than_targets():
    layer = dataclasses.replace(LAYER, heads=1)
    objective, params = task_at(Noise(), model=layer, trained=("value",))
    jacobian, residual = objective.jacobian(params), objective.residual(params)
    floor = residual - jacobian @ np.linalg.lstsq(jacobian, residual)[0]
    assert floor @ floor > 1e-6 * residual @ residual


def test_a_teacher_is_a_model_of_its_architecture():
    objective, params = task_at(Teacher(LAYER))
    student = objective.model(params)
    data_key = jax.random.split(jax.random.key(0))[0]
    teacher = LAYER.init(objective.inputs[0], key=jax.random.fold_in(data_key, 1))
    np.testing.assert_allclose(jax.vmap(teacher)(objective.inputs), objective.targets, rtol=0, atol=1e-14)
    assert not np.array_equal(teacher.query, student.query)


def test_targets_of_the_wrong_shape_are_refused_with_both_shapes():
    pooled = dataclasses.replace(LAYER, readout=MeanPool())
    task = TokenRegression(tokens=3, dim=4, target=Teacher(pooled))
    with pytest.raises(ValueError, match=r"outputs \(2, 3, 1\), got \(2, 1\)"):
        check(dataclasses.replace(SMALL, task=task))
    with pytest.raises(ValueError, match="there is no parameter 'values' here; did you mean value"):
        check(dataclasses.replace(SMALL, task=TokenRegression(tokens=3, dim=4, target=InRange(("values",)))))


@pytest.mark.parametrize("duplicates", [-1, 3])
def test_as_many_duplicates_as_tokens_are_refused(duplicates):
    with pytest.raises(ValueError, match="duplicates must be at least 0 and below tokens=3"):
        TokenRegression(tokens=3, duplicates=duplicates)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TokenRegression(tokens=0),
        lambda: TokenRegression(dim=0),
        lambda: Noise(0.0),
        lambda: InRange(scale=-1.0),
    ],
)
def test_impossible_sizes_are_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()

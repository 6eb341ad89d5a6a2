"""Landscapes of trained runs."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from descentlab._describe import replace_at
from descentlab.attention import Gaussian, Softmax
from descentlab.data import Minibatch
from descentlab.experiment import start
from descentlab.objective import Examples, Objective
from descentlab.optim import GD
from descentlab.probes import Loss, Parameters
from descentlab.schedule import Every
from descentlab.survey import common, end_numbers, legs, random, representative, survey, trajectory
from descentlab.train import train
from support.problems import SMALL

PROBES = {"loss": Loss(Every()), "path": Parameters(Every(3))}
BASE = dataclasses.replace(SMALL, probes=PROBES, optimizer=GD(0.05), steps=12)
POINTS = 9


def with_kernel(kernel, **changes):
    return dataclasses.replace(replace_at(BASE, "model.attention", kernel), **changes)


@pytest.fixture(scope="module")
def runs():
    """Stage one, and stage two with both kernels from its end."""
    first = dataclasses.replace(BASE, steps=4)
    before = train(first, 2)
    pairs = {}
    for kernel in (Softmax(), Gaussian()):
        second = with_kernel(kernel, origin=first)
        pairs[type(kernel).__name__] = (second, train(second, 2))
    return before, pairs


@pytest.fixture(scope="module")
def lanes(runs):
    before, pairs = runs
    return {name: legs(run, name, before=before) for name, run in pairs.items()}


def test_a_leg_begins_where_the_origin_ended_and_ends_where_the_run_did(runs, lanes):
    before, pairs = runs
    for name, (_, found) in pairs.items():
        for i, leg in enumerate(lanes[name]):
            points = leg.points()
            np.testing.assert_array_equal(points[0], found["path"].values[i, 0])
            np.testing.assert_array_equal(points[-1], found["path"].values[i, -1])
            np.testing.assert_array_equal(leg.start.query, before.final["query"][i])
            with jax.enable_x64(True):
                np.testing.assert_allclose(leg.loss(leg.start), found["loss"].values[i, 0], rtol=1e-12)
                np.testing.assert_allclose(leg.loss(leg.end), found["loss"].values[i, -1], rtol=1e-12)


class Lent(Objective):
    """The loss of another objective, whose trees have as many leaves."""

    lender: Objective | None = None
    shape: Any = eqx.field(default=None, static=True)

    def loss(self, params):
        return self.lender.loss(jax.tree.unflatten(self.shape, jax.tree.leaves(params)))


def test_random_planes_are_the_same_for_both_kernels_up_to_their_norms(lanes):
    one, other = lanes["Softmax"][0], lanes["Gaussian"][0]
    moved = jax.tree.unflatten(jax.tree.structure(other.end), jax.tree.leaves(one.end))
    views = [random(leg, 1, POINTS) for leg in (one, dataclasses.replace(other, end=moved))]
    # From one end, a kernel that were the same would see the same surface: that of Softmax at Gaussian's tree.
    shape = jax.tree.structure(one.end)
    borrowed = Lent(None, one.objective.examples, lender=one.objective, shape=shape)
    lent = dataclasses.replace(other, end=moved, objective=borrowed)
    np.testing.assert_allclose(random(lent, 1, POINTS).surface.values, views[0].surface.values, rtol=1e-12)
    assert np.abs(views[0].surface.values - views[1].surface.values).max() > 1e-3


def test_a_common_plane_shows_both_losses_at_the_same_weights(lanes):
    one, other = lanes["Softmax"][0], lanes["Gaussian"][0]
    views = common(one, other, POINTS)
    for view in views:
        np.testing.assert_array_equal(view.surface.first, views[0].surface.first)
        coordinates, distance = view.path
        np.testing.assert_allclose(coordinates[0], [0, 0], atol=1e-9)
        np.testing.assert_allclose(distance[[0, -1]], 0, atol=1e-9)
        assert np.all((coordinates > [view.surface.first[0], view.surface.second[0]]).all())
        assert np.all((coordinates < [view.surface.first[-1], view.surface.second[-1]]).all())
    np.testing.assert_allclose(views[0].path[0][-1], [1, 0], atol=1e-9)


def test_a_trajectory_plane_holds_start_and_end(lanes):
    view = trajectory(lanes["Softmax"][0], POINTS)
    coordinates, distance = view.path
    np.testing.assert_allclose(coordinates[[0, -1]], [[0, 0], [1, 0]], atol=1e-9)
    np.testing.assert_allclose(distance[[0, -1]], 0, atol=1e-9)


def test_runs_with_different_starts_have_no_common_plane(lanes):
    with pytest.raises(ValueError, match="needs two runs with one start"):
        common(lanes["Softmax"][0], lanes["Gaussian"][1], POINTS)


def test_a_run_without_recorded_parameters_has_no_trajectory_plane(lanes):
    with pytest.raises(ValueError, match="add the probe Parameters"):
        trajectory(dataclasses.replace(lanes["Softmax"][0], path=None), POINTS)


def test_a_survey_has_every_plane_and_tells_how_far_it_is(lanes):
    told = []
    found = survey(lanes, points=POINTS, draws=2, progress=lambda done, total: told.append((done, total)))
    assert [len(found.of("Softmax", protocol)) for protocol in ("random", "trajectory", "common")] == [4, 2, 2]
    assert told[-1][0] == told[-1][1] == 16 * POINTS**2
    by_seed = found.by_seed("Gaussian", "mean_laplacian", "random")
    each = [view.numbers["mean_laplacian"].value for view in found.of("Gaussian", "random") if view.leg.seed == 1]
    assert by_seed[1].value == pytest.approx(np.mean(each))
    assert len(each) == 2
    assert set(found.by_seed("Softmax", "barrier")) == {0, 1}


def test_end_numbers_are_those_of_the_segment_and_the_dense_hessian(lanes):
    leg = lanes["Gaussian"][0]
    found = end_numbers(leg)
    with jax.enable_x64(True):
        flat, restore = ravel_pytree(leg.end)
        dense = np.linalg.eigvalsh(jax.jit(jax.hessian(lambda v: leg.loss(restore(v))))(flat))
        origin = ravel_pytree(leg.start)[0]
        between = [float(leg.loss(restore(origin + t * (flat - origin)))) for t in np.linspace(0, 1, 101)]
    assert abs(found["sharpness"].value - dense[-1]) <= found["sharpness"].error + 1e-9 * dense[-1]
    height = max(between[j] - between[i] for i in range(101) for j in range(i, 101))
    assert found["barrier"].value == pytest.approx(height, abs=1e-12)


def test_the_end_is_balanced_only_for_a_kernel_with_the_symmetry(lanes):
    with jax.enable_x64(True):
        for name, same in (("Softmax", False), ("Gaussian", True)):
            leg = lanes[name][0]
            assert np.array_equal(representative(leg).query, leg.end.query) == same
            np.testing.assert_allclose(leg.loss(representative(leg)), leg.loss(leg.end), rtol=1e-9)


def test_what_is_missing_is_said(runs):
    before, pairs = runs
    experiment, found = pairs["Softmax"]
    with pytest.raises(ValueError, match="starts from the end of another experiment"):
        legs((experiment, found), "Softmax")
    wild = with_kernel(Softmax(), optimizer=GD(1e6), steps=30)
    with pytest.raises(ValueError, match=r"seeds \[0\] of wild stopped early"):
        legs((wild, train(wild)), "wild")


def test_the_evaluation_subset_is_fixed(runs):
    experiment = with_kernel(Softmax(), data=Minibatch(2, 9), steps=2)
    run = (experiment, train(experiment, 2))
    few = legs(run, "few", samples=4)
    for seed, leg in enumerate(few):
        with jax.enable_x64(True):
            whole, _ = start(experiment, key=jax.random.key(seed))
            rows = np.sort(np.random.default_rng(0).choice(9, 4, replace=False))
            kept = whole.on(Examples(whole.inputs[rows], whole.targets[rows]))
            np.testing.assert_allclose(leg.loss(leg.end), kept.loss(leg.end), rtol=1e-12)

"""Landscapes of runs."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from descentlab._describe import replace_at
from descentlab.attention import Gaussian, Softmax
from descentlab.curvature import Krylov
from descentlab.measures.landscape import (
    common_views,
    end_numbers,
    landscapes,
    path_view,
    random_view,
    representative,
)
from descentlab.objective import Objective
from descentlab.optim import GD
from descentlab.probes import Loss, Parameters
from descentlab.runs import Run
from descentlab.schedule import Every
from descentlab.training import train
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
    before = Run(first, train(first, 2))
    pairs = {}
    for kernel in (Softmax(), Gaussian()):
        second = with_kernel(kernel, origin=first)
        pairs[type(kernel).__name__] = Run(second, train(second, 2), before)
    return pairs


@pytest.fixture(scope="module")
def lanes(runs):
    return {name: run.lanes() for name, run in runs.items()}


class Lent(Objective):
    """The loss of another objective, whose trees have as many leaves."""

    lender: Objective | None = None
    shape: Any = eqx.field(default=None, static=True)

    def loss(self, params):
        return self.lender.loss(jax.tree.unflatten(self.shape, jax.tree.leaves(params)))


def test_random_planes_are_the_same_for_both_kernels_up_to_their_norms(lanes):
    one, other = lanes["Softmax"][0], lanes["Gaussian"][0]
    moved = jax.tree.unflatten(jax.tree.structure(other.end), jax.tree.leaves(one.end))
    views = [random_view(lane, 1, POINTS) for lane in (one, dataclasses.replace(other, stopped=moved))]
    # From one end, a kernel that were the same would see the same surface: that of Softmax at Gaussian's tree.
    shape = jax.tree.structure(one.end)
    borrowed = Lent(None, one.objective.examples, lender=one.objective, shape=shape)
    lent = dataclasses.replace(other, stopped=moved, objective=borrowed)
    np.testing.assert_allclose(random_view(lent, 1, POINTS).surface.values, views[0].surface.values, rtol=1e-12)
    assert np.abs(views[0].surface.values - views[1].surface.values).max() > 1e-3


def test_a_common_plane_shows_both_losses_at_the_same_weights(lanes):
    one, other = lanes["Softmax"][0], lanes["Gaussian"][0]
    views = common_views(one, other, POINTS)
    for view in views:
        np.testing.assert_array_equal(view.surface.first, views[0].surface.first)
        coordinates, distance = view.path
        np.testing.assert_allclose(coordinates[0], [0, 0], atol=1e-9)
        np.testing.assert_allclose(distance[[0, -1]], 0, atol=1e-9)
        assert np.all((coordinates > [view.surface.first[0], view.surface.second[0]]).all())
        assert np.all((coordinates < [view.surface.first[-1], view.surface.second[-1]]).all())
    np.testing.assert_allclose(views[0].path[0][-1], [1, 0], atol=1e-9)


def test_a_trajectory_plane_holds_start_and_end(lanes):
    view = path_view(lanes["Softmax"][0], POINTS)
    coordinates, distance = view.path
    np.testing.assert_allclose(coordinates[[0, -1]], [[0, 0], [1, 0]], atol=1e-9)
    np.testing.assert_allclose(distance[[0, -1]], 0, atol=1e-9)


def test_runs_with_different_starts_have_no_common_plane(lanes):
    with pytest.raises(ValueError, match="needs two runs with one start"):
        common_views(lanes["Softmax"][0], lanes["Gaussian"][1], POINTS)


def test_a_run_without_recorded_parameters_has_no_trajectory_plane(lanes):
    with pytest.raises(ValueError, match="add the probe Parameters"):
        path_view(dataclasses.replace(lanes["Softmax"][0], steps=np.zeros(0, int)), POINTS)


def test_every_plane_is_made_and_it_is_told_how_far_it_is(lanes):
    told = []
    found = landscapes(lanes, points=POINTS, draws=2, progress=lambda done, total: told.append((done, total)))
    assert [len(found.of("Softmax", protocol)) for protocol in ("random", "trajectory", "common")] == [4, 2, 2]
    assert told[-1][0] == told[-1][1] == 16 * POINTS**2
    by_seed = found.by_seed("Gaussian", "mean_laplacian", "random")
    each = [view.numbers["mean_laplacian"].value for view in found.of("Gaussian", "random") if view.seed == 1]
    assert by_seed[1].value == pytest.approx(np.mean(each))
    assert len(each) == 2
    assert set(found.by_seed("Softmax", "barrier")) == {0, 1}


def test_end_numbers_are_those_of_the_segment_and_the_dense_hessian(lanes):
    lane = lanes["Gaussian"][0]
    found = end_numbers(lane, method=Krylov())
    with jax.enable_x64(True):
        flat, restore = ravel_pytree(lane.end)
        dense = np.linalg.eigvalsh(jax.jit(jax.hessian(lambda v: lane.objective.loss(restore(v))))(flat))
        origin = ravel_pytree(lane.start)[0]
        between = [float(lane.objective.loss(restore(origin + t * (flat - origin)))) for t in np.linspace(0, 1, 101)]
    assert abs(found["sharpness"].value - dense[-1]) <= found["sharpness"].error + 1e-9 * dense[-1]
    height = max(between[j] - between[i] for i in range(101) for j in range(i, 101))
    assert found["barrier"].value == pytest.approx(height, abs=1e-12)


def test_the_end_is_balanced_only_for_a_kernel_with_the_symmetry(lanes):
    with jax.enable_x64(True):
        for name, same in (("Softmax", False), ("Gaussian", True)):
            lane = lanes[name][0]
            assert np.array_equal(representative(lane).query, lane.end.query) == same
            np.testing.assert_allclose(
                lane.objective.loss(representative(lane)), lane.objective.loss(lane.end), rtol=1e-9
            )


def test_a_plane_that_cannot_be_is_left_out_with_its_run(lanes):
    pair = {"a": lanes["Softmax"][:1], "b": [dataclasses.replace(lanes["Gaussian"][1], seed=0)]}
    found = landscapes(pair, points=5, draws=0)
    assert [reason.split(": ")[0] for reason in found.left_out] == ["a and b"]
    assert [len(found.of(name, protocol)) for name in pair for protocol in ("trajectory", "common")] == [1, 0, 1, 0]


def test_a_lane_that_stopped_early_has_no_landscape():
    wild = with_kernel(Softmax(), optimizer=GD(1e6), steps=30)
    with pytest.raises(ValueError, match="seed 0 stopped early at step"):
        landscapes({"wild": Run(wild, train(wild)).lanes()}, points=5, draws=1)

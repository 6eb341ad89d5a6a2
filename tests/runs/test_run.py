"""Runs that are looked at again: lanes made as training made them, from memory and from a store."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from descentlab.attention import Gaussian, Softmax
from descentlab.data import Minibatch, Online
from descentlab.experiment import start
from descentlab.objective import Examples
from descentlab.optim import GD
from descentlab.probes import CriticalSharpness, GradientNorm, GramSpectrum, HeldOut, Loss, Parameters, StepSize
from descentlab.runs import Run, find, load
from descentlab.schedule import AtEnd, Every
from descentlab.status import Status
from descentlab.stopping import LossBelow
from descentlab.store import Store, StoreError
from descentlab.sweep import Request
from descentlab.sweep import run as sweep
from descentlab.training import train
from support.problems import CLASSIFYING, SMALL
from support.rounding import rounding

PROBES = {"loss": Loss(Every()), "path": Parameters(Every(3)), "norm": GradientNorm(Every()), "size": StepSize(Every())}
BASE = dataclasses.replace(SMALL, probes=PROBES, optimizer=GD(0.05), steps=7)
ROUNDINGS = rounding(4_000)
"""A forward and a backward pass of these models adds fewer numbers to any one."""

FIRST = dataclasses.replace(BASE, steps=4)
SECOND = BASE.changed({"model.attention": Softmax(), "origin": FIRST, "trained": ("query", "value")})


@pytest.fixture(scope="module")
def run():
    return Run(BASE, train(BASE, (3, 1)))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_lane_starts_bit_for_bit_as_in_training_and_ends_where_it_did(precision):
    experiment = dataclasses.replace(BASE, precision=precision)
    trajectory = train(experiment, (3, 1))
    lanes = Run(experiment, trajectory).lanes()
    assert [lane.seed for lane in lanes] == [3, 1]
    for at, lane in enumerate(lanes):
        assert lane.steps.tolist() == [0, 3, 6, 7]
        assert lane.path.dtype == precision
        np.testing.assert_array_equal(lane.points()[0], trajectory["path"].values[at, 0])
        np.testing.assert_array_equal(lane.end.query, trajectory.final["query"][at])
        assert lane.last == 7


def test_a_point_is_what_training_knew(run):
    for at, seed in enumerate(run.trajectory.seeds):
        lane = run.lane(seed)
        for step in (0, 3, 6, 7):
            point = lane.at(step)
            for found, name in ((point.loss, "loss"), (point.step_size, "size")):
                np.testing.assert_allclose(found, run.trajectory[name].values[at, step], rtol=ROUNDINGS)
            assert int(point.step) == step
        with jax.enable_x64(True):
            params = ravel_pytree(lane.at(3).params)[0]
        np.testing.assert_array_equal(params, run.trajectory["path"].values[at, 1])
        assert lane.at().step == 7


def test_a_probe_that_looks_afterwards_sees_what_one_saw_during_the_run(run):
    for step in (3, None):
        seen = run.look(GradientNorm(), step)
        recorded = run.trajectory["norm"].values[:, seen.steps]
        np.testing.assert_allclose(seen.values, recorded, rtol=ROUNDINGS)
        assert [axis.name for axis in seen.axes] == ["block"]
    assert run.look(GramSpectrum(), 0).sel(quantity="smallest").values.shape == (2, 1)


@pytest.mark.parametrize(("data", "dropout"), [(Minibatch(4), 0.5), (Online(4), None)], ids=["dropout", "online"])
def test_batch_and_dropout_of_a_step_are_those_of_training(data, dropout):
    probes = {"loss": Loss(Every()), "path": Parameters(Every(2)), "held": HeldOut(Every())}
    experiment = CLASSIFYING.changed({"data": data, "model.dropout": dropout, "probes": probes, "steps": 3})
    run = Run(experiment, train(experiment))
    lane = run.lane(0)
    for step in (0, 2, 3):
        np.testing.assert_allclose(lane.at(step).loss, run.trajectory["loss"].values[0, step], rtol=ROUNDINGS)
    np.testing.assert_allclose(lane.look(HeldOut()).values, run.trajectory["held"].values[:, [3]], rtol=ROUNDINGS)


def test_a_lane_begins_where_its_origin_ended(tmp_path):
    store = Store(tmp_path / "store")
    (trajectory,) = sweep([Request(SECOND, (0, 1))], store=store)
    before = store.get(FIRST, (0, 1))
    for run in (load(store, SECOND), Run(SECOND, trajectory, Run(FIRST, before))):
        for at, lane in enumerate(run.lanes()):
            np.testing.assert_array_equal(lane.start.query, before.final["query"][at])
            np.testing.assert_array_equal(lane.objective.model(lane.start).key, before.final["key"][at])
            np.testing.assert_allclose(lane.at(0).loss, trajectory["loss"].values[at, 0], rtol=ROUNDINGS)
    with pytest.raises(ValueError, match="give it as `origin`"):
        Run(SECOND, trajectory).lane(0)
    with pytest.raises(ValueError, match=r"no lanes of the seeds \[1\]"):
        Run(SECOND, trajectory, Run(FIRST, before).chosen(np.array([0]))).lanes()


def test_a_lane_that_reached_its_goal_is_known_up_to_there():
    until = dataclasses.replace(BASE, until=LossBelow(0.1), steps=400, probes=PROBES | {"last": Loss(AtEnd())})
    run = Run(until, train(until, 2))
    assert run.trajectory.status == (Status.REACHED,) * 2
    for at, lane in enumerate(run.lanes()):
        assert lane.last == run.trajectory.ended[at] < 400
        assert lane.steps.max() <= lane.last
        assert np.all(np.isfinite(lane.points()))
    seen = run.look(Loss())
    np.testing.assert_allclose(seen.values, run.trajectory["last"].values, rtol=ROUNDINGS)


def test_a_lane_that_diverged_has_no_end_and_can_be_left_out():
    wild = dataclasses.replace(BASE, optimizer=GD(1e200))
    run = Run(wild, train(wild, 2))
    with pytest.raises(ValueError, match="wanted the end of a run, but seed 1 stopped early at step 1; leave it out"):
        run.lane(1).end  # noqa: B018
    assert not np.isfinite(run.lane(1).at().loss)
    assert run.finished().lanes() == []


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (lambda run: run.lane(2), "this run has the seeds 3, 1, got seed 2"),
        (lambda run: run.lane(1).at(2), "known at the steps 0 and 7 and at recorded ones, got step 2; record them"),
        (lambda run: run.look(CriticalSharpness()), "needs the next update; record it during a run"),
    ],
    ids=["seed", "step", "next update"],
)
def test_what_cannot_be_seen_is_said(look, message, run):
    with pytest.raises(ValueError, match=message):
        look(run)


def test_the_evaluation_subset_is_fixed():
    experiment = BASE.changed({"model.attention": Gaussian(), "data": Minibatch(2, 9), "steps": 2})
    rows = np.sort(np.random.default_rng(0).choice(9, 4, replace=False))
    for lane in Run(experiment, train(experiment, 2)).lanes():
        with jax.enable_x64(True):
            whole, _ = start(experiment, key=jax.random.key(lane.seed))
            kept = whole.on(Examples(whole.inputs[rows], whole.targets[rows]))
            few = lane.sampled(4).objective
            np.testing.assert_allclose(few.loss(lane.end), kept.loss(lane.end), rtol=ROUNDINGS)


def test_a_run_of_a_store_is_found_by_the_beginning_of_its_digest(tmp_path):
    store = Store(tmp_path / "store")
    with pytest.raises(StoreError, match="there is no run in"):
        find(store, "0")
    sweep([Request(BASE, (0, 1)), Request(FIRST, (0,))], store=store)
    found = find(store, BASE.digest[:8])
    assert found.experiment == BASE
    assert found.trajectory.seeds == (0, 1)
    assert find(store, BASE.digest, (1,)).trajectory.seeds == (1,)
    with pytest.raises(StoreError, match="is the beginning of 2 runs"):
        find(store, "")
    with pytest.raises(StoreError, match="there is no run 'xyz'"):
        find(store, "xyz")
    with pytest.raises(StoreError, match="is not in .*run it first"):
        load(store, SECOND)

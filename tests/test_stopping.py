"""Lanes that end where their rule holds: what they leave, alone and in a batch, and what is recorded at the end."""

import dataclasses
import sys

import numpy as np
import pytest

from descentlab._definition import DefinitionError
from descentlab.lanes import Lanes
from descentlab.optim import GD
from descentlab.probes import Distance, GradientNorm, Loss, Parameters
from descentlab.schedule import At, AtEnd, Every
from descentlab.status import Status
from descentlab.stopping import AbstractStop, GradientBelow, LossBelow
from descentlab.store import Store
from descentlab.sweep import Request
from descentlab.sweep import run as sweep
from descentlab.training import prepare, segments, train
from support.problems import SMALL, run

PROBES = {
    "loss": Loss(Every()),
    "gradient": GradientNorm(Every()),
    "parameters": Parameters(Every()),
    "rare": Loss(At((0, 3))),
    "end": Loss(AtEnd()),
    "moved": Distance(AtEnd()),
    "blocks": Parameters(AtEnd()),
}
STEPS = 40
FREE = dataclasses.replace(SMALL, optimizer=GD(0.1), probes=PROBES, steps=STEPS)


def until(rule, lr=0.1):
    return dataclasses.replace(FREE, until=rule, optimizer=GD(lr))


@pytest.fixture(scope="module")
def free():
    return run([FREE])[0]


def between(free, step):
    """A loss that is first undercut at a step."""
    losses = free["loss"].values[0]
    assert np.all(np.diff(losses) < 0)
    return float(losses[step - 1] + losses[step]) / 2


@pytest.mark.parametrize("step", [1, 7, STEPS])
def test_a_lane_stands_still_from_the_step_at_which_its_rule_held(free, step):
    found = run([until(LossBelow(between(free, step)))])[0]
    assert found.status == (Status.REACHED,)
    assert found.ended == (step,)
    assert found.finished.all()
    assert found.reached.all()
    losses = found["loss"].values[0]
    np.testing.assert_allclose(losses[: step + 1], free["loss"].values[0, : step + 1], rtol=1e-12)
    assert np.all(np.isnan(losses[step + 1 :]))
    assert losses[step] < between(free, step) < losses[step - 1]
    at = free["parameters"].values[0, step]
    whole = np.concatenate([found.final[name][0].ravel() for name in ("query", "key", "value", "output")])
    np.testing.assert_array_equal(found["blocks"].values[0, 0], found["parameters"].values[0, step])
    np.testing.assert_allclose(np.sort(whole), np.sort(at), rtol=1e-12)


def test_a_rule_that_holds_at_the_start_ends_a_lane_there(free):
    found = run([until(LossBelow(1e9))])[0]
    assert found.ended == (0,)
    assert found["moved"].values[0, 0].tolist() == [0.0] * 4
    assert found["end"].values[0, 0] == found["loss"].values[0, 0]
    np.testing.assert_allclose(found["end"].values[0, 0], free["loss"].values[0, 0], rtol=1e-14)


def test_a_rule_that_never_holds_changes_nothing(free):
    found = run([until(LossBelow(1e-30))])[0]
    assert found.status == free.status == (Status.FINISHED,)
    assert found.ended == (-1,)
    assert not found.reached.any()
    np.testing.assert_allclose(found["loss"].values, free["loss"].values, rtol=1e-12)


def test_the_gradient_rule_takes_all_blocks_together(free):
    norms = np.sqrt(np.sum(free["gradient"].values[0] ** 2, axis=-1))
    rule = float(norms[5:7].mean())
    found = run([until(GradientBelow(rule))])[0]
    assert found.ended == (int(np.argmax(norms < rule)),)


class Rested(AbstractStop):
    """A rule of one's own: the next change is small beside the way so far."""

    share: float = 0.1

    def reached(self, point):
        return (point.step > 0) & (abs(point.change.query).max() < self.share * abs(point.params.query).max())


def test_a_rule_of_ones_own_sees_the_point_with_its_next_change():
    assert run([until(Rested(1e9))])[0].ended == (1,)
    assert run([until(Rested(0.0))])[0].ended == (-1,)


class Shapeless(AbstractStop):
    """A rule that answers with a number instead of a truth value."""

    def reached(self, point):
        return point.loss


def test_a_rule_that_answers_with_no_truth_value_is_refused():
    with pytest.raises(DefinitionError, match="Shapeless.reached must give one truth value"):
        run([until(Shapeless())])
    with pytest.raises(ValueError, match=r"LossBelow.loss must be a finite number above 0"):
        LossBelow(0.0)


@pytest.mark.parametrize("together", [None, 2, 4])
@pytest.mark.parametrize("cuts", [(), (3, 4, 20)], ids=["whole", "cut"])
def test_lanes_of_a_batch_end_each_at_its_own_step(monkeypatch, free, together, cuts):
    rates = (0.1, 0.02, 1e200, 0.001)
    rule = between(free, 7)
    alone = run([until(LossBelow(rule), 0.02)])[0]
    monkeypatch.setattr(sys.modules["descentlab.training"], "_together", lambda lane_bytes, lanes: together)
    lanes = run([until(LossBelow(rule), lr) for lr in rates], cuts=cuts)
    quick, slow, lost, never = lanes
    assert [one.status[0] for one in lanes] == [Status.REACHED, Status.REACHED, Status.DIVERGED, Status.FINISHED]
    assert quick.ended == (7,)
    assert 7 < slow.ended[0] < STEPS
    assert never.ended == (-1,)
    for one in lanes:
        step = STEPS if one.ended[0] < 0 else one.ended[0]
        np.testing.assert_allclose(one["end"].values[0, 0], one["loss"].values[0, step], rtol=1e-12)
        np.testing.assert_array_equal(one.last("loss"), one["loss"].values[:, step])
        assert one["rare"].steps.tolist() == [0, 3]
    assert not np.isfinite(lost["end"].values[0, 0])
    assert alone.ended == slow.ended
    np.testing.assert_allclose(alone["moved"].values, slow["moved"].values, rtol=1e-9)


def test_floats_of_a_rule_differ_between_lanes_of_one_program(free):
    lanes = run([until(LossBelow(between(free, step))) for step in (3, 9)])
    assert [one.ended[0] for one in lanes] == [3, 9]


def test_the_last_segment_is_the_one_in_which_the_last_lane_ends(free):
    lanes = Lanes((until(LossBelow(between(free, 3))), until(LossBelow(between(free, 5)))), (0, 0))
    constants, carry = prepare(lanes)
    found = list(segments(lanes, constants, carry, 0, seconds=0.0))
    assert [step for step, _ in found] == [STEPS + 1]
    assert np.isnan(np.asarray(found[0][1].records["loss"])[:, 8:16]).all()  # the segment has 16 steps, not all made


def test_runs_that_end_early_are_stored_and_told_as_done(tmp_path, free):
    experiment = until(LossBelow(between(free, 7)))
    store, told = Store(tmp_path), []
    (found,) = sweep([Request(experiment, (0,))], store=store, progress=lambda *args: told.append(args))
    assert told[-1][:2] == (STEPS + 1, STEPS + 1)
    assert found.status == (Status.REACHED,)
    (again,) = sweep([Request(experiment, (0,))], store=store)
    assert again.ended == (7,)
    np.testing.assert_array_equal(again["end"].values, found["end"].values)


def test_a_rule_counts_in_the_digest_and_its_absence_does_not():
    assert FREE.digest == dataclasses.replace(FREE, until=None).digest
    assert len({FREE.digest, until(LossBelow(0.1)).digest, until(LossBelow(0.2)).digest}) == 3


def test_an_experiment_begins_where_its_origin_ended(free):
    origin = until(LossBelow(between(free, 7)))
    after = train(dataclasses.replace(FREE, origin=origin, steps=2))
    np.testing.assert_allclose(after["loss"].values[0, 0], free["loss"].values[0, 7], rtol=1e-12)

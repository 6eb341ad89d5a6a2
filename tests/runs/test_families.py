"""Choosing among many runs, and the numbers of all their lanes."""

import dataclasses

import numpy as np
import pytest

from descentlab.attention import Gaussian, Softmax
from descentlab.axis import Axis
from descentlab.runs import Family, Run, Runs, case_of
from descentlab.status import Status
from descentlab.trajectory import Series, Trajectory
from support.problems import SMALL

STEPS = np.array([0, 5, 10])


def made(kernel, heads, scale, seeds=2):
    """A run whose loss falls tenfold from record to record; its first lane ended after step 5."""
    loss = scale * (1.0 + np.arange(seeds))[:, None] * np.array([1.0, 0.1, 0.01])
    loss[0, 2] = np.nan
    ranks = np.stack([loss, 2 * loss], axis=-1)
    series = {"loss": Series(STEPS, loss), "rank": Series(STEPS, ranks, (Axis("quantity", ("one", "two")),))}
    status = (Status.DIVERGED, *[Status.FINISHED] * (seeds - 1))
    trajectory = Trajectory(tuple(range(seeds)), series, {}, status, (5, *[-1] * (seeds - 1)))
    return Run(SMALL.changed({"model.attention": kernel, "model.heads": heads}), trajectory)


@pytest.fixture
def runs():
    wide = [made(Softmax(), 1, 1.0), made(Gaussian(), 1, 2.0), made(Softmax(), 2, 3.0, seeds=3)]
    return Runs({"wide": wide, "deep": [made(Gaussian(), 4, 5.0)]})


def test_runs_are_chosen_by_family_case_and_field(runs):
    assert list(runs) == ["wide", "deep"]
    assert runs.cases == ("softmax", "gaussian")
    assert [case_of(run.experiment) for run in runs["wide"]] == ["softmax", "gaussian", "softmax"]
    assert [len(runs.of("gaussian")[name]) for name in runs] == [1, 1]
    assert runs["wide"].of("softmax").where("model.heads", 2)[0] is runs["wide"][2]
    assert not runs["wide"].of("relu")
    assert not runs.of("relu")
    assert [len(some) for some in runs["wide"].by("model.heads").values()] == [2, 1]
    assert list(runs["wide"].by("model.heads", "task.dim")) == [(1, 4), (2, 4)]
    assert len(runs.every) == 4
    assert list(runs["wide"][1:] + runs["deep"]) == [*runs["wide"]][1:] + [*runs["deep"]]
    with pytest.raises(ValueError, match="there is no field 'head'"):
        runs["wide"].where("model.head", 2)


def test_the_case_is_the_value_of_the_axis(runs):
    by_heads = Runs(runs, "model.heads")
    assert by_heads.cases == ("1", "2", "4")
    assert len(by_heads.of("1")["wide"]) == 2


def test_numbers_are_gathered_lane_by_lane_up_to_where_each_ended(runs):
    wide = runs["wide"].of("softmax")
    np.testing.assert_array_equal(wide.first("loss"), [1, 2, 3, 6, 9])
    np.testing.assert_allclose(wide.last("loss"), [0.1, 0.02, 0.3, 0.06, 0.09], rtol=1e-15)
    np.testing.assert_allclose(wide.relative("loss"), [0.1, 0.01, 0.1, 0.01, 0.01], rtol=1e-15)
    np.testing.assert_array_equal(wide.field("model.heads"), [1, 1, 2, 2, 2])
    assert wide.pooled("loss").shape == (2 + 3 + 2 + 3 + 3,)
    assert np.isfinite(wide.pooled("loss")).all()
    np.testing.assert_allclose(wide.last("rank", quantity="two"), 2 * wide.last("loss"), rtol=1e-15)
    assert wide.pooled("rank").shape == (13, 2)
    assert wide.seeds == 2
    assert [len(one.seeds) for one in wide.trajectories] == [2, 3]


def test_nothing_gathers_to_nothing():
    assert Family().last("loss").size == Family().pooled("loss").size == 0
    assert (Family().cases, Family().seeds) == ((), 0)


def test_an_experiment_is_changed_in_several_fields_or_refused():
    changed = SMALL.changed({"model.heads": 4, "steps": 3, "model.attention": Softmax()})
    assert (changed.model.heads, changed.steps, changed.model.attention) == (4, 3, Softmax())
    assert changed == dataclasses.replace(
        SMALL, steps=3, model=dataclasses.replace(SMALL.model, heads=4, attention=Softmax())
    )
    with pytest.raises(ValueError, match="there is no field 'head'"):
        SMALL.changed({"model.head": 4})

"""Experiments that start from the end of another."""

import dataclasses
import re

import numpy as np
import pytest

from descentlab import sweep as sweep_module
from descentlab._describe import replace_at
from descentlab.attention import Gaussian, Softmax
from descentlab.experiment import check
from descentlab.optim import GD, Momentum
from descentlab.probes import Loss, Parameters
from descentlab.schedule import At, Every
from descentlab.store import Store
from descentlab.sweep import Request
from descentlab.sweep import run as sweep
from descentlab.training import train
from support.problems import SMALL

PROBES = {"loss": Loss(Every()), "parameters": Parameters(At((0,)))}
FIRST = dataclasses.replace(SMALL, optimizer=GD(0.05), steps=6)
SECOND = dataclasses.replace(FIRST, probes=PROBES, steps=5, origin=FIRST)


def test_two_stages_are_one_run_where_nothing_else_changes():
    whole = train(dataclasses.replace(FIRST, steps=11), seeds=2)
    second = train(SECOND, seeds=2)
    np.testing.assert_allclose(second["loss"].values, whole["loss"].values[:, 6:], rtol=1e-12)
    for name, block in whole.final.items():
        np.testing.assert_allclose(second.final[name], block, rtol=1e-11, atol=1e-13)


def test_a_stage_starts_where_the_other_ended_with_another_kernel_and_other_blocks():
    first = train(FIRST)
    model = dataclasses.replace(FIRST.model, attention=Softmax())
    other = dataclasses.replace(SECOND, model=model, trained=("query",))
    second = train(other)
    np.testing.assert_array_equal(second["parameters"].values[0, 0], first.final["query"].ravel())
    for name in ("key", "value", "output"):
        np.testing.assert_array_equal(second.final[name], first.final[name])
    assert not np.array_equal(second.final["query"], first.final["query"])


def test_three_stages_keep_what_only_the_first_moved():
    second = dataclasses.replace(SECOND, trained=("value",))
    third = dataclasses.replace(SECOND, trained=("query",), origin=second)
    ends = [train(one).final for one in (FIRST, second, third)]
    np.testing.assert_array_equal(ends[2]["value"], ends[1]["value"])
    np.testing.assert_array_equal(ends[2]["key"], ends[0]["key"])
    assert not np.array_equal(ends[1]["value"], ends[0]["value"])


def test_origins_are_trained_once_kept_and_found_again(tmp_path):
    store = Store(tmp_path / "store")
    others = [replace_at(SECOND, "optimizer.lr", lr) for lr in (0.02, 0.03)]
    found = sweep([Request(one, (0, 1)) for one in others], store=store)
    assert store.has(FIRST) == {0, 1}
    for one, trajectory in zip(others, found, strict=True):
        np.testing.assert_allclose(trajectory["loss"].values, train(one, seeds=2)["loss"].values, rtol=1e-12)
    again = sweep([Request(others[0], (0, 1, 2))], store=store)
    np.testing.assert_array_equal(again[0]["loss"].values[:2], found[0]["loss"].values)
    assert store.has(FIRST) == {0, 1, 2}


def test_without_a_store_the_origin_is_trained_for_the_call():
    trajectory = sweep([Request(SECOND, (3,))])[0]
    np.testing.assert_allclose(trajectory["loss"].values, train(SECOND, seeds=[3])["loss"].values, rtol=1e-12)


def test_a_float_of_the_origin_is_a_lane():
    origins = [replace_at(FIRST, "optimizer.lr", lr) for lr in (0.01, 0.05)]
    both = sweep([Request(dataclasses.replace(SECOND, origin=one), (0,)) for one in origins])
    assert both[0]["loss"].values[0, 0] > both[1]["loss"].values[0, 0]


def test_a_model_of_another_shape_is_refused():
    model = dataclasses.replace(FIRST.model, heads=1)
    wrong = dataclasses.replace(SECOND, model=model)
    message = "the model must have the blocks of the one it continues: 'query' is (1, 4, 2) here and (2, 4, 2) there"
    with pytest.raises(ValueError, match=re.escape(message)):
        check(wrong)


def test_an_origin_that_does_not_fit_together_is_refused():
    wrong = dataclasses.replace(SECOND, origin=dataclasses.replace(FIRST, trained=("valu",), optimizer=Momentum()))
    with pytest.raises(ValueError, match="there is no parameter 'valu' here"):
        check(wrong)


def test_kernels_may_differ_in_their_floats():
    third = dataclasses.replace(SECOND, model=dataclasses.replace(FIRST.model, attention=Gaussian(0.7)))
    assert np.all(np.isfinite(train(third)["loss"].values))


def test_a_store_changes_no_batch_and_no_bits(tmp_path):
    rates = [replace_at(FIRST, "optimizer.lr", lr) for lr in (0.05, 0.3, 0.7)]
    requests = [Request(SECOND, (0, 1)), *(Request(one, (0, 1)) for one in rates)]
    kept = sweep(requests, store=Store(tmp_path / "store"))
    for one, other in zip(kept, sweep(requests), strict=True):
        assert one["loss"].values.tobytes() == other["loss"].values.tobytes()
        assert all(one.final[name].tobytes() == block.tobytes() for name, block in other.final.items())


def test_an_origin_is_a_lane_of_the_batch_of_its_structure(monkeypatch, tmp_path):
    batches = []
    compute = sweep_module._compute

    def watched(batch, *rest):
        batches.append([(lane.experiment.optimizer.lr, lane.experiment.origin is None) for lane in batch])
        return compute(batch, *rest)

    monkeypatch.setattr(sweep_module, "_compute", watched)
    requests = [Request(SECOND, (0,)), Request(replace_at(FIRST, "optimizer.lr", 0.3), (0,)), Request(FIRST, (0,))]
    for store in (None, Store(tmp_path / "store")):
        batches.clear()
        sweep(requests, store=store)
        assert batches == [[(0.05, True), (0.3, True)], [(0.05, False)]]

"""Sweeps: what is kept is not computed again, batches respect their bound, a broken run ends in the same bits."""

import dataclasses
import functools
import logging
import tempfile
import threading

import filelock
import numpy as np
import pytest

from descentlab import Experiment, FullBatch, Status, checkpoint, parts, sweep, train
from descentlab._describe import structure
from descentlab.attention import Gaussian, Softmax
from descentlab.lanes import Lanes
from descentlab.optim import GD
from descentlab.probes import Loss
from descentlab.schedule import AtEnd
from descentlab.stopping import LossBelow
from descentlab.store import Store
from descentlab.sweep import Request, grid, lanes_within, run
from descentlab.tasks import TokenRegression
from descentlab.trajectory import Trajectory
from support.changed import flipped

BASE = Experiment(task=TokenRegression(tokens=3, dim=4), data=FullBatch(2), optimizer=GD(lr=0.05), steps=40)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def batches(monkeypatch) -> list[list[tuple[str, int]]]:
    """The batches that are computed, each as digests with seeds."""
    found = []
    compute = sweep._compute

    def watched(batch, *rest):
        found.append([(lane.experiment.digest, lane.seed) for lane in batch])
        return compute(batch, *rest)

    monkeypatch.setattr(sweep, "_compute", watched)
    return found


def test_the_grid_has_every_combination_the_last_axis_fastest():
    found = grid(BASE, {"model.attention": [Softmax(), Gaussian()], "optimizer.lr": [0.1, 0.2]})
    assert [(type(e.model.attention).__name__, e.optimizer.lr) for e in found] == [
        ("Softmax", 0.1),
        ("Softmax", 0.2),
        ("Gaussian", 0.1),
        ("Gaussian", 0.2),
    ]
    with pytest.raises(ValueError, match="no field 'rate'"):
        grid(BASE, {"optimizer.rate": [1.0]})
    with pytest.raises(ValueError, match="lr must be a finite number above 0"):
        grid(BASE, {"optimizer.lr": [0.1, -1.0]})


def test_floats_and_seeds_run_as_one_program_and_structures_apart(batches):
    experiments = grid(BASE, {"steps": [3, 4], "optimizer.lr": [0.1, 0.2]})
    results = run([Request(one, (0, 1)) for one in experiments])
    assert sorted(len(batch) for batch in batches) == [4, 4]
    for experiment, result in zip(experiments, results, strict=True):
        assert result.seeds == (0, 1)
        assert np.allclose(result["loss"].values, train(experiment, seeds=2)["loss"].values, rtol=1e-10)


def test_more_seeds_add_lanes_and_recompute_none(store, batches):
    (first,) = run([Request(BASE, (0, 1))], store=store)
    (second,) = run([Request(BASE, (0, 1, 2, 3))], store=store)
    (third,) = run([Request(BASE, (3, 1))], store=store)
    assert batches == [[(BASE.digest, 0), (BASE.digest, 1)], [(BASE.digest, 2), (BASE.digest, 3)]]
    assert second.seeds == (0, 1, 2, 3)
    assert second["loss"].values[:2].tobytes() == first["loss"].values.tobytes()
    assert np.array_equal(third["loss"].values, second["loss"].values[[3, 1]])


def test_a_run_of_another_version_is_computed_again(store, batches, monkeypatch):
    run([Request(BASE, (0,))], store=store)
    run([Request(BASE, (0,))], store=store)
    assert len(batches) == 1
    monkeypatch.setattr(parts, "NUMERICS", parts.NUMERICS + 1)
    run([Request(BASE, (0,))], store=store)
    assert len(batches) == 2


@pytest.mark.parametrize("fit", [1, 2, 5])
def test_lane_batches_respect_the_memory_bound(store, batches, fit):
    one = sweep._intermediates(sweep.trace_iteration(BASE).jaxpr)
    memory = fit * one + one // 2
    assert lanes_within(BASE, memory) == fit
    (found,) = run([Request(BASE, tuple(range(5)))], store=store, memory=memory)
    assert {len(batch) for batch in batches} == {fit}
    assert {seed for batch in batches for _, seed in batch} == set(range(5))
    assert found.seeds == (0, 1, 2, 3, 4)
    assert np.allclose(found["loss"].values, train(BASE, seeds=5)["loss"].values, rtol=1e-10)


def test_at_least_one_lane_fits():
    assert lanes_within(BASE, 1) == 1


class Stop(Exception):
    """Ends a run from inside, as a machine does that loses power."""


LONG = grid(BASE, {"steps": [300]})[0]


@functools.cache
def whole() -> Trajectory:
    """Three lanes in one undisturbed batch."""
    with tempfile.TemporaryDirectory() as folder:
        return run([Request(LONG, (0, 1, 2))], store=Store(folder))[0]


def break_off(request: Request, store: Store) -> None:
    """Start a run and end it half way."""

    def broken(done: int, total: int, note: str) -> None:
        if done > total // 2:
            raise Stop

    with pytest.raises(Stop):
        run([request], store=store, progress=broken)


def test_a_broken_run_continues_from_its_checkpoint_to_the_same_bits(store, monkeypatch):
    monkeypatch.setattr(sweep, "SEGMENT_SECONDS", 0.0)
    request = Request(LONG, (0, 1, 2))
    break_off(request, store)
    assert store.has(LONG) == frozenset()
    assert list((store.root / ".progress").glob("*/batch-0.safetensors"))
    assert [part.state.value for part in checkpoint.unfinished(store)] == ["whole"]

    seen = []
    (continued,) = run([request], store=store, progress=lambda done, total, note: seen.append(done / total))
    assert seen[0] > 0.4
    assert continued["loss"].values.tobytes() == whole()["loss"].values.tobytes()
    assert continued["gradient"].values.tobytes() == whole()["gradient"].values.tobytes()
    assert all(continued.final[name].tobytes() == array.tobytes() for name, array in whole().final.items())
    assert not list((store.root / ".progress").iterdir())


def test_a_broken_run_with_a_stopping_rule_ends_where_it_would_have_ended(store, monkeypatch):
    """One lane has reached its rule before the run breaks, another after; probes of the end look at those points."""
    ends = np.sort([lane[-1] for lane in whole()["loss"].values])
    rule = LossBelow(float(ends[1]) * 1.001)
    ending = dataclasses.replace(LONG, until=rule, probes=LONG.probes | {"end": Loss(AtEnd())})
    undisturbed = train(ending, (0, 1, 2))
    assert undisturbed.reached.any()
    assert not undisturbed.reached.all()
    monkeypatch.setattr(sweep, "SEGMENT_SECONDS", 0.0)
    request = Request(ending, (0, 1, 2))
    break_off(request, store)
    (continued,) = run([request], store=store)
    assert continued.ended == undisturbed.ended
    assert continued.status == undisturbed.status
    for name in ("loss", "end"):
        assert continued[name].values.tobytes() == undisturbed[name].values.tobytes()


@pytest.mark.parametrize("name", ["plan.json", "batch-0.safetensors"])
@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "foreign", "folder"])
def test_a_damaged_plan_or_checkpoint_is_named_and_the_same_bits_are_computed(store, monkeypatch, caplog, name, damage):
    monkeypatch.setattr(sweep, "SEGMENT_SECONDS", 0.0)
    request = Request(LONG, (0, 1, 2))
    break_off(request, store)
    (path,) = (store.root / ".progress").glob(f"*/{name}")
    content = path.read_bytes()
    if damage == "foreign":  # another sweep's file in this one's folder
        other = Store(store.root / "other")
        break_off(Request(LONG, (5, 6, 7)), other)
        ((content),) = [one.read_bytes() for one in (other.root / ".progress").glob(f"*/{name}")]
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes({"empty": b"", "cut": content[:-9], "bit": flipped(content, -9)}.get(damage, content))
    seen = "whole" if damage == "foreign" and name != "plan.json" else "damaged"  # a checkpoint knows its lanes only
    assert [part.state.value for part in checkpoint.unfinished(store)] == [seen]

    (found,) = run([request], store=store)
    assert f"{name}.damaged-" in caplog.text
    assert found["loss"].values.tobytes() == whole()["loss"].values.tobytes()
    assert not list((store.root / ".progress").iterdir())


def test_what_was_planned_with_other_lanes_kept_is_planned_again_for_those_damaged_since(store, monkeypatch, batches):
    """A plan lacks the lanes that were kept when it was made."""
    monkeypatch.setattr(sweep, "SEGMENT_SECONDS", 0.0)
    request = Request(LONG, (0, 1, 2))
    run([Request(LONG, (0,))], store=store)
    break_off(request, store)
    (part,) = store.parts([LONG])
    (part.path / "series.parquet").write_bytes(b"")
    (found,) = run([request], store=store)
    assert [{seed for _, seed in batch} for batch in batches[1:]] == [{1, 2}, {1, 2}, {0}]
    assert np.allclose(found["loss"].values, whole()["loss"].values, rtol=1e-10)


def test_the_progress_of_a_sweep_whose_lanes_are_all_kept_is_removed(store, monkeypatch):
    """A process that is killed between its last lane and the end leaves a plan that nobody asks for again."""
    monkeypatch.setattr(sweep, "SEGMENT_SECONDS", 0.0)
    for seeds in ((0, 1, 2), (5, 6)):
        break_off(Request(LONG, seeds), store)
    for seed in (0, 1, 2):
        run([Request(LONG, (seed,))], store=store)
    run([Request(BASE, (0,))], store=store)
    ((path),) = (store.root / ".progress").iterdir()
    assert "/5" in (path / "plan.json").read_text()
    with store.lock(structure(LONG)).acquire(timeout=0):
        checkpoint.clean(store)  # another process works on it
    assert path.exists()


def test_a_lane_that_diverges_says_so_and_the_others_go_on(store):
    experiments = grid(BASE, {"optimizer.lr": [0.05, 1e30]})
    good, bad = run([Request(one, (0,)) for one in experiments], store=store)
    assert good.status == (Status.FINISHED,)
    assert good.ended == (-1,)
    assert np.all(np.isfinite(good["loss"].values))
    assert bad.status == (Status.DIVERGED,)
    (ended,) = bad.ended
    assert 0 < ended < BASE.steps
    loss = bad["loss"]
    assert np.all(np.isfinite(loss.values[:, loss.steps < ended]))
    assert np.all(np.isnan(loss.values[:, loss.steps > ended]))
    assert not np.isfinite(loss.at(ended))[0]


def test_nothing_is_written_when_an_experiment_does_not_fit_together(store):
    bad = grid(BASE, {"model.heads": [3]})[0]
    with pytest.raises(ValueError, match="heads must divide the token width"):
        run([Request(BASE, (0,)), Request(bad, (0,))], store=store)
    assert not store.root.exists()


def test_a_run_waits_for_the_one_that_holds_the_lock_and_says_so(store, caplog):
    name = structure(BASE)
    lock = filelock.FileLock(store.lock(name).lock_file, thread_local=False)
    lock.acquire()
    timer = threading.Timer(1.0, lock.release)
    timer.start()
    with caplog.at_level(logging.WARNING, "descentlab"):
        (found,) = run([Request(BASE, (0,))], store=store)
    timer.join()
    assert "waiting for another process" in caplog.text
    assert found.finished.all()


def test_lanes_of_one_program_have_one_structure():
    with pytest.raises(ValueError, match="may differ in their floats only"):
        Lanes(tuple(grid(BASE, {"steps": [1, 2]})), (0, 0))

"""The store: what comes out is what went in, bit by bit; a folder is whole or absent; a damaged one harms no other."""

import json
import os

import numpy as np
import pytest

import descentlab.store as store_module
from descentlab import Experiment, FullBatch, Given, train
from descentlab.models import AttentionLayer, Fixed
from descentlab.probes import FeatureSpectrum, GradientNorm, Loss, Parameters
from descentlab.schedule import At, Every
from descentlab.store import Store, StoreError
from descentlab.tasks import Arrays, TokenRegression
from descentlab.trajectory import Trajectory


def experiment(**changes) -> Experiment:
    settings = {
        "task": TokenRegression(tokens=3, dim=4),
        "data": FullBatch(2),
        "steps": 6,
        "trained": ("query", "value"),
        "probes": {
            "loss": Loss(),
            "gradient": GradientNorm(when=Every(2)),
            "features": FeatureSpectrum(),
            "never": Loss(when=At((50,))),
        },
    }
    return Experiment(**settings | changes)


def same(first: Trajectory, second: Trajectory) -> None:
    """Assert that nothing differs, not a bit."""
    assert first.seeds == second.seeds
    assert first.status == second.status
    assert first.ended == second.ended
    assert first.series.keys() == second.series.keys()
    for name, series in first.series.items():
        other = second.series[name]
        assert series.labels == other.labels
        assert np.array_equal(series.steps, other.steps)
        assert series.values.dtype == other.values.dtype
        assert series.values.shape == other.values.shape
        assert series.values.tobytes() == other.values.tobytes()
    assert first.final.keys() == second.final.keys()
    for name, array in first.final.items():
        assert array.dtype == second.final[name].dtype
        assert array.tobytes() == second.final[name].tobytes()


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "runs")


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_trajectory_comes_back_bit_by_bit(store, precision):
    one = experiment(precision=precision)
    trajectory = train(one, seeds=3)
    store.put(one, trajectory, wall_time=1.0)
    assert store.has(one) == {0, 1, 2}
    same(store.get(one, (0, 1, 2)), trajectory)
    same(store.get(one, (2, 0)), trajectory.lanes(np.asarray([2, 0])))


def test_the_records_of_whole_matrices_come_back(store):
    one = experiment(probes={"weights": Parameters(when=Every(3))})
    trajectory = train(one)
    store.put(one, trajectory, wall_time=1.0)
    same(store.get(one, (0,)), trajectory)


def test_what_was_not_run_is_not_there(store):
    one = experiment()
    assert store.has(one) == frozenset()
    with pytest.raises(StoreError, match="seeds \\[0\\].*run it first"):
        store.get(one, (0,))
    with pytest.raises(StoreError, match="no run"):
        store.experiment(one.digest)
    assert store.table().is_empty()
    assert not store.root.exists()


def test_a_definition_with_given_arrays_comes_back(store):
    rng = np.random.default_rng(0)
    inputs, targets = Given("inputs", rng.normal(size=(2, 3, 4))), Given("targets", rng.normal(size=(2, 3)))
    value = Given("v.npy", rng.normal(size=(2, 4, 2)).astype(np.float32))
    one = experiment(task=Arrays(inputs, targets), model=AttentionLayer(value=Fixed(value)))
    store.put(one, train(one), wall_time=1.0)
    back = store.experiment(one.digest)
    assert back.digest == one.digest
    assert back.task.given_inputs.value.tobytes() == inputs.value.tobytes()
    assert back.model.value.array.value.dtype == np.float32
    same(train(back), store.get(one, (0,)))


@pytest.mark.parametrize("failing", ["series.parquet", "experiment.json", "rename"])
def test_a_folder_is_whole_or_absent(store, monkeypatch, failing):
    one = experiment()
    trajectory = train(one)

    def refuse(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    if failing == "rename":
        monkeypatch.setattr(type(store.root), "rename", refuse)
    else:
        opened = open

        def selective(path, *arguments):
            return refuse() if os.path.basename(path) == failing else opened(path, *arguments)

        monkeypatch.setattr(store_module, "open", selective, raising=False)
    with pytest.raises(StoreError, match="No space left on device.*choose another --store"):
        store.put(one, trajectory, wall_time=1.0)
    assert store.has(one) == frozenset()
    assert not [path for path in store.root.rglob("*") if path.is_file()]
    monkeypatch.undo()
    store.put(one, trajectory, wall_time=1.0)
    same(store.get(one, (0,)), trajectory)


def test_a_file_is_replaced_whole_or_stays(store, monkeypatch):
    path = store.root / "reports" / "page.html"
    store.replace_file(path, b"first")
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError):
        store.replace_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert not list((store.root / ".partial").iterdir())


def test_a_store_must_be_a_folder(tmp_path):
    file = tmp_path / "file"
    file.write_text("no folder")
    for place in (file, file / "below", file / "far" / "below"):
        with pytest.raises(StoreError, match=f"{file} is a file"):
            Store(place)


@pytest.mark.parametrize("name", ["series.parquet", "arrays.safetensors", "experiment.json"])
@pytest.mark.parametrize("content", [b"", b"not what it should be"])
def test_a_damaged_folder_is_named_and_set_aside_and_the_others_are_read(store, name, content):
    good, bad = experiment(), experiment(steps=7)
    for one in (good, bad):
        store.put(one, train(one), wall_time=1.0)
    (folder,) = (store.root / bad.digest).iterdir()
    (folder / name).write_bytes(content)

    assert [path for path, _ in store.damaged()] == [folder]
    with pytest.raises(StoreError):
        store.get(bad, (0,))
    same(store.get(good, (0,)), train(good))
    assert store.table()["digest"].unique().to_list() == [good.digest]

    ((aside, reason),) = store.set_aside_damaged()
    assert reason
    assert aside.is_dir()
    assert not folder.exists()
    assert store.damaged() == []
    assert store.has(bad) == frozenset()
    store.put(bad, train(bad), wall_time=1.0)
    same(store.get(bad, (0,)), train(bad))


def test_a_missing_file_is_damage(store):
    one = experiment()
    store.put(one, train(one), wall_time=1.0)
    (folder,) = (store.root / one.digest).iterdir()
    (folder / "arrays.safetensors").unlink()
    assert store.has(one) == frozenset()
    assert [path for path, _ in store.set_aside_damaged()] != []


def test_other_folders_beside_the_runs_are_left_alone(store):
    (store.root / "notes" / "today").mkdir(parents=True)
    (store.root / "notes" / "today" / "text").write_text("mine")
    assert store.damaged() == []
    assert store.set_aside_damaged() == []
    assert (store.root / "notes" / "today" / "text").exists()


def test_runs_of_another_version_are_not_taken_and_not_lost(store, monkeypatch):
    one = experiment()
    trajectory = train(one)
    store.put(one, trajectory, wall_time=1.0)
    monkeypatch.setattr(store_module, "NUMERICS", store_module.NUMERICS + 1)
    assert store.has(one) == frozenset()
    store.put(one, trajectory, wall_time=1.0)
    assert store.has(one) == {0}
    names = sorted(path.name for path in (store.root / one.digest).iterdir())
    assert len(names) == 2
    assert ".superseded-" in names[1]


def test_the_table_holds_every_recorded_number(store):
    first, second = experiment(), experiment(steps=7)
    runs = {one.digest: train(one, seeds=2) for one in (first, second)}
    for one in (first, second):
        store.put(one, runs[one.digest], wall_time=1.0)
    table = store.table()
    assert table.columns == ["digest", "seed", "step", "probe", "index", "value"]
    for digest, run in runs.items():
        for seed in (0, 1):
            rows = table.filter(digest=digest, seed=seed, probe="gradient", index="value").sort("step")
            assert rows["step"].to_list() == run["gradient"].steps.tolist()
            assert np.array_equal(rows["value"], run["gradient"]["value"][seed])


def test_the_header_says_what_was_run_and_how_it_ended(store):
    one = experiment()
    store.put(one, train(one), wall_time=1.5)
    header = json.loads(next((store.root / one.digest).glob("*/experiment.json")).read_text())
    assert header["digest"] == one.digest
    assert header["status"] == ["FINISHED"]
    assert header["wall_time"] == 1.5
    assert {"descentlab", "numerics", "jax"} <= header["versions"].keys()

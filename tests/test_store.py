"""The store: what comes out is what went in, bit by bit; a folder is whole or absent; a damaged one harms no other."""

import dataclasses
import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from descentlab import Experiment, FullBatch, Given, checkpoint, parts, train
from descentlab import _files as files
from descentlab._definition import Definition, DefinitionError
from descentlab._describe import digest
from descentlab.models import AttentionLayer, Fixed
from descentlab.parts import State
from descentlab.probes import AbstractProbe, Axis, FeatureSpectrum, GradientNorm, Loss, Parameters
from descentlab.schedule import AbstractSchedule, At, Every
from descentlab.store import Store, StoreError
from descentlab.sweep import Request, run
from descentlab.tasks import Arrays, TokenRegression
from descentlab.trajectory import Trajectory
from support.changed import flipped, overwritten


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


_known: dict[tuple[str, int], Trajectory] = {}


def trained(one: Experiment, seeds: int = 1) -> Trajectory:
    """The trajectory, computed once."""
    key = (one.digest, seeds)
    if key not in _known:
        _known[key] = train(one, seeds)
    return _known[key]


def same(first: Trajectory, second: Trajectory) -> None:
    """Assert that nothing differs, not a bit."""
    assert first.seeds == second.seeds
    assert first.status == second.status
    assert first.ended == second.ended
    assert first.series.keys() == second.series.keys()
    for name, series in first.series.items():
        other = second.series[name]
        assert series.axes == other.axes
        assert np.array_equal(series.steps, other.steps)
        assert series.values.dtype == other.values.dtype
        assert series.values.shape == other.values.shape
        assert series.values.tobytes() == other.values.tobytes()
    assert list(first.final) == list(second.final)
    for name, array in first.final.items():
        assert array.dtype == second.final[name].dtype
        assert array.tobytes() == second.final[name].tobytes()


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "runs")


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_trajectory_comes_back_bit_by_bit(store, precision):
    one = experiment(precision=precision)
    trajectory = trained(one, 4)
    store.put(one, trajectory, wall_time=1.0)
    assert store.has(one) == {0, 1, 2, 3}
    same(store.get(one, (0, 1, 2, 3)), trajectory)
    same(store.get(one, (2, 0)), trajectory.lanes(np.asarray([2, 0])))


def test_the_records_of_whole_matrices_come_back(store):
    one = experiment(probes={"weights": Parameters(when=Every(3))})
    trajectory = train(one)
    store.put(one, trajectory, wall_time=1.0)
    same(store.get(one, (0,)), trajectory)


def test_numbers_of_every_axis_are_in_the_table(store):
    """Of one probe the layers are numbered, and of the other they have names."""

    class Cube(AbstractProbe):
        """A number for each of three layers and two quantities."""

        when: AbstractSchedule = Every(3)

        def __call__(self, point):
            return jnp.arange(6.0).reshape(3, 2) + 10.0 * point.step

        def axes(self, params):
            return Axis("layer"), Axis("quantity", ("a", "b"))

    class Row(AbstractProbe):
        """A number for each of two layers."""

        when: AbstractSchedule = At((0,))

        def __call__(self, point):
            return jnp.asarray([7.0, 8.0])

        def axes(self, params):
            return (Axis("layer", ("first", "last")),)

    def table(**probes):
        one = experiment(probes=probes)
        trajectory = train(one, 2)
        store.put(one, trajectory, wall_time=1.0)
        same(store.get(one, (0, 1)), trajectory)
        return store.table().filter(digest=one.digest)

    found = table(cube=Cube()).filter(seed=1)
    assert found.columns == ["digest", "seed", "step", "probe", "layer", "quantity", "value"]
    assert found.schema["layer"] == pl.Int64
    expected = [(step, i, q) for step in (0, 3, 6) for i in range(3) for q in ("a", "b")]
    assert found.select("step", "layer", "quantity").rows() == expected
    assert found["value"].to_list() == [x + 10 * step for step in (0, 3, 6) for x in range(6)]
    for rows in (table(cube=Cube(), row=Row(), loss=Loss(At((0,)))), table(row=Row())):
        assert rows.schema["layer"] == pl.String
        assert rows.filter(probe="row", seed=0).select("layer", "quantity", "value").rows() == [
            ("first", None, 7.0),
            ("last", None, 8.0),
        ]
    mixed = store.table().filter(probe="cube", seed=0, step=0, quantity="b")
    assert mixed["layer"].to_list() == ["0", "1", "2"] * 2
    assert store.table().filter(probe="loss")["layer"].null_count() == 2


def test_a_long_record_lies_among_the_arrays(store, monkeypatch):
    one = experiment(probes={"weights": Parameters(when=Every(3)), "loss": Loss()})
    trajectory = train(one)
    size = trajectory["weights"].values.shape[2]
    for limit, listed in ((size, True), (size - 1, False)):
        monkeypatch.setattr(parts, "LISTED", limit)
        kept = Store(store.root / str(limit))
        kept.put(one, trajectory, wall_time=1.0)
        assert ("parameter" in kept.table().columns) == listed
        same(kept.get(one, (0,)), trajectory)


def test_records_from_before_axes_had_names_are_read(store):
    one = experiment(probes={"loss": Loss(), "gradient": GradientNorm(when=Every(2)), "weights": Parameters()})
    trajectory = trained(one, 2)
    store.put(one, trajectory, wall_time=1.0)
    (folder,) = (store.root / one.digest).iterdir()
    numbers = {name: series.values for name, series in trajectory.series.items() if name != "weights"}
    rows = [
        {"seed": seed, "step": int(step), "index": label, "value": float(value), "probe": name}
        for name, values in numbers.items()
        for i, seed in enumerate((0, 1))
        for step, record in zip(trajectory[name].steps, values[i], strict=True)
        for label, value in zip(("query", "value") if name == "gradient" else ("",), np.atleast_1d(record), strict=True)
    ]
    pl.DataFrame(rows).write_parquet(folder / parts.SERIES)
    arrays = {f"final/{name}": array for name, array in trajectory.final.items()}
    save_file(arrays | {"series/weights": trajectory["weights"].values}, folder / parts.ARRAYS)
    header = json.loads((folder / parts.HEADER).read_bytes())
    for name in ("sha256", "files", "axes"):
        del header[name]
    header["labels"] = {"loss": [], "gradient": ["query", "value"], "weights": []}
    (folder / parts.HEADER).write_text(json.dumps(header))

    found = store.get(one, (0, 1))
    for name, series in trajectory.series.items():
        assert found[name].values.tobytes() == series.values.tobytes()
    np.testing.assert_array_equal(
        found["gradient"].sel(entry="value").values, trajectory["gradient"].sel(block="value").values
    )
    np.testing.assert_array_equal(found["weights"].sel(entry_0=3).values, trajectory["weights"].sel(parameter=3).values)
    rows = store.table().filter(probe="gradient", seed=1, entry="value")
    np.testing.assert_array_equal(rows["value"], trajectory["gradient"].sel(block="value").values[1])
    assert store.table().filter(probe="loss")["entry"].null_count() == 2 * len(trajectory["loss"].steps)


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


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_a_folder_is_whole_or_absent(store, monkeypatch, failing):
    one = experiment()
    trajectory = trained(one)

    def refuse(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, refuse)
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


def folder_of(store: Store, one: Experiment) -> Path:
    """The one folder of lanes of an experiment."""
    (folder,) = [path for path in (store.root / one.digest).iterdir() if "." not in path.name]
    return folder


def without_checksums(folder: Path) -> None:
    """Make a folder what it was before there were checksums."""
    header = json.loads((folder / "experiment.json").read_text())
    del header["sha256"], header["files"]
    (folder / "experiment.json").write_text(json.dumps(header))


def states(store: Store) -> list[str]:
    return [part.state.value for part in store.inspect()]


NAMES = ["series.parquet", "arrays.safetensors", "experiment.json"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"", b"not what it should be", None, "folder", "fifo"])
@pytest.mark.parametrize("old", [False, True], ids=["checksums", "none"])
def test_a_damaged_folder_is_named_and_set_aside_and_the_others_are_read(store, name, content, old):
    good, bad = experiment(), experiment(steps=7)
    for one in (good, bad):
        store.put(one, trained(one), wall_time=1.0)
        if old:
            without_checksums(folder_of(store, one))
    folder = folder_of(store, bad)
    (folder / name).unlink()
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    elif content is not None:
        (os.mkfifo if content == "fifo" else os.mkdir)(folder / name)

    (part,) = [part for part in store.inspect() if part.state == State.DAMAGED]
    assert part.path == folder
    assert name in part.reason
    assert store.has(bad) == frozenset()
    with pytest.raises(StoreError, match=rf"seeds \[0\].*{folder.name} is damaged: .*run it first"):
        store.get(bad, (0,))
    same(store.get(good, (0,)), trained(good))
    assert store.table()["digest"].unique().to_list() == [good.digest]
    assert good.digest in store.digests()
    assert [entry.digest for entry in store.entries()] == sorted([good.digest, bad.digest])

    found = {part.state: part for part in store.mend([good, bad])}
    aside = found[State.DAMAGED]
    assert aside.reason == part.reason
    assert aside.path.is_dir()
    assert (State.UNVERIFIED in found) == old
    assert not folder.exists()
    assert states(store) == ["unverified" if old else "whole"]
    store.put(bad, trained(bad), wall_time=1.0)
    same(store.get(bad, (0,)), trained(bad))


@pytest.mark.parametrize("name", NAMES)
def test_a_change_of_one_bit_or_block_is_seen(store, name):
    """At 60 places of each file a bit and a block of 64 bytes; nothing that has changed is read."""
    one = experiment()
    store.put(one, trained(one, 2), wall_time=1.0)
    path = folder_of(store, one) / name
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 60).astype(int):
        for changed in (flipped(content, int(place)), overwritten(content, int(place))):
            path.write_bytes(changed)
            files._checksums.clear()  # files that are written within a tick of the clock may have the same times
            assert store.has(one) == frozenset(), (place, changed[place])
    path.write_bytes(content)
    files._checksums.clear()
    same(store.get(one, (0, 1)), trained(one, 2))


def test_a_change_after_the_first_look_is_seen(store):
    one = experiment()
    store.put(one, trained(one), wall_time=1.0)
    assert store.has(one) == {0}
    path = folder_of(store, one) / "arrays.safetensors"
    time.sleep(0.02)  # longer than a tick of the file system's clock
    path.write_bytes(flipped(path.read_bytes(), -1))
    assert store.has(one) == frozenset()


def test_a_file_is_verified_once_a_process(store, monkeypatch):
    one = experiment()
    store.put(one, trained(one), wall_time=1.0)
    hashed = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, kind: hashed.append(file.name) or digest(file, kind))
    files._checksums.clear()
    for _ in range(3):
        store.get(one, (0,))
        store.inspect()
    assert len(hashed) == 2


def test_a_run_from_before_there_were_checksums_is_read_and_called_unverified(store, caplog):
    one = experiment()
    store.put(one, trained(one, 2), wall_time=1.0)
    without_checksums(folder_of(store, one))
    same(store.get(one, (0, 1)), trained(one, 2))
    assert states(store) == ["unverified"]
    run([Request(one, (0, 1))], store=store)
    assert "1 folders of wanted runs in" in caplog.text
    assert "not verified" in caplog.text


def test_a_reader_that_panics_hinders_nothing(store, monkeypatch):
    good, bad = experiment(), experiment(steps=7)
    for one in (good, bad):
        store.put(one, trained(one), wall_time=1.0)
    without_checksums(folder_of(store, bad))

    class PanicException(BaseException):
        """What polars raises where its Rust code gives up; no Exception."""

    def panic(content: bytes) -> None:
        raise PanicException("assertion failed: offset + length <= self.length")

    monkeypatch.setattr(parts, "_table", panic)
    monkeypatch.setattr(parts, "_decoded", set())
    ((part,), _) = (store.parts([one]) for one in (bad, good))
    assert part.state == State.DAMAGED
    assert "series.parquet cannot be read: PanicException: assertion failed" in part.reason
    assert store.digests()


def test_a_folder_of_another_run_is_not_taken_for_this_one(store):
    one, other = experiment(), experiment(steps=7)
    store.put(one, trained(one), wall_time=1.0)
    shutil.copytree(store.root / one.digest, store.root / other.digest)
    assert store.has(other) == frozenset()
    assert f"it is of the experiment {one.digest}" in store.parts([other])[0].reason


@pytest.mark.parametrize("name", ["g[1]", "all*", "what?", "[!a]", "a{b,c}", "x=1"])
def test_every_path_is_literal(tmp_path, name):
    """Beside each store lies one that its name would match as a pattern."""
    one = experiment()
    wanted, other = trained(one, 2), trained(one, 2).lanes(np.asarray([1, 0]))
    store = Store(tmp_path / name)
    store.put(one, wanted, wall_time=1.0)
    for beside in ("g1", "all of it", "whats", "b", "ab"):
        Store(tmp_path / beside).put(one, dataclasses.replace(other, seeds=(0, 1)), wall_time=1.0)
    same(store.get(one, (0, 1)), wanted)
    losses = store.table().filter(probe="loss").sort("seed", "step")["value"].to_numpy()
    assert losses.tobytes() == wanted["loss"].values.ravel().tobytes()
    assert states(store) == ["whole"]


def test_a_file_that_the_system_refuses_to_show_is_named_and_not_set_aside(store, monkeypatch):
    good, bad = experiment(), experiment(steps=7)
    for one in (good, bad):
        store.put(one, trained(one), wall_time=1.0)
    folder, read = folder_of(store, bad), Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.parent == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert sorted(states(store)) == ["unreadable", "whole"]
    same(store.get(good, (0,)), trained(good))
    assert [entry.digest for entry in store.entries() if entry.seeds] == [good.digest]
    with pytest.raises(StoreError, match="Permission denied.*make it readable"):
        store.has(bad)
    assert store.mend([good, bad]) == []
    assert folder.is_dir()


def test_other_folders_beside_the_runs_are_left_alone(store):
    (store.root / "notes" / "seeds-0-0-1").mkdir(parents=True)
    (store.root / "notes" / "seeds-0-0-1" / "text").write_text("mine")
    assert store.inspect() == []
    assert store.mend([experiment()]) == []
    assert (store.root / "notes" / "seeds-0-0-1" / "text").exists()


def test_runs_of_another_version_are_not_taken_and_not_lost_and_the_reason_is_said(store, monkeypatch):
    one = experiment()
    store.put(one, trained(one), wall_time=1.0)
    said = f"made with numerics {parts.NUMERICS}, here it is {parts.NUMERICS + 1}"
    monkeypatch.setattr(parts, "NUMERICS", parts.NUMERICS + 1)
    assert store.has(one) == frozenset()
    (entry,) = store.entries()
    assert (entry.digest, entry.seeds) == (one.digest, ())
    assert entry.reasons == (f"superseded: {said}",)
    assert store.experiment(one.digest).digest == one.digest
    same(store.read(one.digest), trained(one))
    with pytest.raises(StoreError, match=said):
        store.get(one, (0,))
    store.put(one, trained(one), wall_time=1.0)
    assert store.has(one) == {0}
    names = sorted(path.name for path in (store.root / one.digest).iterdir())
    assert len(names) == 2
    assert ".superseded-" in names[1]


def test_sets_of_seeds_of_one_name_are_both_kept(store):
    """First, last and number of the seeds name a folder; other seeds between them need another name."""
    one = experiment()
    whole = trained(one, 4)
    for chosen in ([0, 1, 3], [0, 2, 3], [0, 1, 3]):
        store.put(one, whole.lanes(np.asarray(chosen)), wall_time=1.0)
    assert len(list((store.root / one.digest).iterdir())) == 2
    assert store.has(one) == {0, 1, 2, 3}
    same(store.get(one, (2, 0, 3, 1)), whole.lanes(np.asarray([2, 0, 3, 1])))


# --- definitions that cannot be made here ----------------------------------------------------------------


def test_a_run_of_a_class_that_is_not_known_here_is_listed_and_hinders_none(store):
    good, bad = experiment(), experiment(steps=7)
    for one in (good, bad):
        store.put(one, trained(one), wall_time=1.0)
    path = folder_of(store, bad) / "experiment.json"
    header = json.loads(path.read_text())
    header["definition"]["model"]["attention"]["class"] = "nowhere:Copy"
    path.write_bytes(files.seal(json.dumps(header | {"sha256": files.BLANK}).encode()))
    assert sorted(store.digests()) == sorted([good.digest, bad.digest])
    assert store.experiment(good.digest).digest == good.digest
    with pytest.raises(DefinitionError, match="needs the class Copy of the module nowhere"):
        store.experiment(bad.digest)


def test_a_run_whose_definition_is_another_one_today_says_so(store):
    one = experiment()
    store.put(one, trained(one), wall_time=1.0)
    path = folder_of(store, one) / "experiment.json"
    header = json.loads(path.read_text())
    del header["definition"]["optimizer"]  # as if that field had not existed, with another default
    header["definition"]["steps"] = 9
    path.write_bytes(files.seal(json.dumps(header | {"sha256": files.BLANK}).encode()))
    with pytest.raises(DefinitionError, match="has the field 'optimizer' only here"):
        store.experiment(one.digest)


# --- what is no experiment ---------------------------------------------------------------------------------


class Elsewhere(Definition):
    """Something that was trained by another program."""

    program: str = "somebody's"
    rate: float = 0.5
    weights: Given | None = None


def test_the_subject_of_a_run_need_not_be_an_experiment(store):
    one = Elsewhere(weights=Given("weights", np.arange(3.0)))
    lanes = trained(experiment(), 2)
    store.put(one, lanes, wall_time=1.0)
    name = digest(one)
    assert store.seeds(name) == {0, 1}
    assert digest(store.subject(name)) == name
    assert store.subject(name).weights.value.tolist() == [0.0, 1.0, 2.0]
    (entry,) = store.entries()
    assert (entry.digest, entry.seeds, entry.definition["rate"]) == (name, (0, 1), 0.5)
    assert store.obstacle(entry) == ""
    losses = store.table().filter(digest=name, probe="loss").sort("seed", "step")["value"].to_numpy()
    assert losses.tobytes() == lanes["loss"].values.ravel().tobytes()
    with pytest.raises(StoreError, match="is of the class Elsewhere, which is no experiment"):
        store.experiment(name)


# --- given arrays ----------------------------------------------------------------------------------------


def with_given() -> Experiment:
    rng = np.random.default_rng(0)
    inputs, targets = Given("inputs", rng.normal(size=(2, 3, 4))), Given("targets", rng.normal(size=(2, 3)))
    return experiment(task=Arrays(inputs, targets))


@pytest.mark.parametrize("damage", ["bit", "empty", "gone"])
def test_a_damaged_given_array_is_named_and_written_anew(store, damage):
    one = with_given()
    store.put(one, trained(one), wall_time=1.0)
    folder = store.root / "given" / one.task.given_inputs.sha256
    path = folder / "array.safetensors"
    content = path.read_bytes()
    if damage == "gone":
        shutil.rmtree(folder)
    else:
        path.write_bytes(flipped(content, -1) if damage == "bit" else b"")
    fresh = Store(store.root)
    with pytest.raises(StoreError, match=f"run {one.digest}: a given array cannot be used .*{folder.name}"):
        fresh.experiment(one.digest)
    assert sorted(states(fresh)) == (["whole"] * 2 if damage == "gone" else ["damaged", "whole", "whole"])
    assert len(fresh.mend([one])) == (damage != "gone")
    assert path.read_bytes() == content
    assert fresh.experiment(one.digest).digest == one.digest
    assert sorted(states(fresh)) == ["whole"] * 3


def test_two_processes_may_write_the_same_given_array_at_once(store, monkeypatch):
    """Between a look and the rename another process puts the same folder there."""
    one, rename = with_given(), os.rename

    def late(source, target):
        if target.parent.name == "given":
            shutil.copytree(source, target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    store.put(one, trained(one), wall_time=1.0)
    assert store.experiment(one.digest).digest == one.digest
    assert not list((store.root / ".partial").iterdir())


# --- what processes leave and how they meet --------------------------------------------------------------


def test_leftovers_of_killed_processes_are_removed_and_what_is_being_written_stays(store):
    for path in (".partial/0123/0/series.parquet", ".partial/4567", ".writable-89ab"):
        (store.root / path).parent.mkdir(parents=True, exist_ok=True)
        (store.root / path).write_text("half")
    store.lock("writing-cdef").acquire(timeout=0)  # no process holds it once this one lets it go
    with store._scratch() as beside:
        beside.write_text("half")
        store.clean()
        assert [path.name for path in (store.root / ".partial").iterdir()] == [beside.name]
        assert beside.read_text() == "half"
        beside.unlink()
    store.clean()
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_a_store_that_may_not_be_listed_says_so_and_one_that_may_not_be_cleaned_is_used(store, monkeypatch):
    one = experiment()
    store.put(one, trained(one), wall_time=1.0)

    def refuse(path: Path, **options: bool) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    store.clean()
    checkpoint.clean(store)
    with pytest.raises(StoreError, match="cannot be read .Permission denied.; make it readable"):
        store.digests()
    monkeypatch.undo()
    (store.root / ".progress" / "0-1").mkdir(parents=True)
    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(files, "remove", refuse)
    run([Request(one, (0,))], store=store)


def test_renames_are_flushed_to_the_disk(store, monkeypatch):
    """A loss of power takes back a rename whose folder was not flushed after it."""
    events, fsync, rename, replace = [], os.fsync, os.rename, os.replace

    def flushed(number: int) -> None:
        events.append(os.fstat(number).st_ino)
        fsync(number)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "rename", lambda *places: (rename(*places), events.append("renamed"))[0])
    monkeypatch.setattr(os, "replace", lambda *places: (replace(*places), events.append("renamed"))[0])
    one = experiment()
    store.put(one, trained(one), wall_time=1.0)
    folder = folder_of(store, one)
    first = events.index("renamed")
    before, after = set(events[:first]), set(events[first:])
    assert {path.stat().st_ino for path in (folder, *folder.iterdir())} <= before
    assert folder.parent.stat().st_ino in after
    assert store.root.stat().st_ino in before | after

    events.clear()
    page = store.root / "reports" / "page.html"
    store.replace_file(page, b"page")
    assert events.index(page.stat().st_ino) < events.index("renamed")
    assert page.parent.stat().st_ino in events[events.index("renamed") :]


def test_the_table_holds_every_recorded_number(store):
    first, second = experiment(), experiment(steps=7)
    runs = {one.digest: trained(one, 2) for one in (first, second)}
    for one in (first, second):
        store.put(one, runs[one.digest], wall_time=1.0)
    table = store.table()
    assert table.columns == ["digest", "seed", "step", "probe", "block", "quantity", "value"]
    for name, found in runs.items():
        for seed in (0, 1):
            rows = table.filter(digest=name, seed=seed, probe="gradient", block="value").sort("step")
            assert rows["step"].to_list() == found["gradient"].steps.tolist()
            assert np.array_equal(rows["value"], found["gradient"].sel(block="value").values[seed])


def test_the_header_says_what_was_run_and_how_it_ended(store):
    one = experiment()
    store.put(one, trained(one), wall_time=1.5)
    header = json.loads(next((store.root / one.digest).glob("*/experiment.json")).read_text())
    assert header["digest"] == one.digest
    assert header["status"] == ["FINISHED"]
    assert header["wall_time"] == 1.5
    assert {"descentlab", "numerics", "jax"} <= header["versions"].keys()

"""What earlier versions have stored: `tests/stores` has a store of numerics 2 and the names of its classes."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from descentlab import attention, cli, models, probes
from descentlab._classes import class_at, public_name
from descentlab._describe import restore
from descentlab._moved import MOVED, VALUES
from descentlab.store import Store, StoreError
from descentlab.sweep import Request, run
from descentlab.trajectory import Trajectory

OLD = Path(__file__).parent / "stores"

NAMES = (OLD / "names_of_numerics_2.txt").read_text().split()

FIRST, SECOND, THIRD = (
    "ee210add69b38275c9e92bf7730a8e30",
    "3a5625562ca6c54cbf4d1919c583f08a",
    "7bcb4882ea2e3a8644c3debdf1735b3a",
)
"""An attention layer, another one that starts at its end, and a Transformer."""


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(shutil.copytree(OLD / "numerics_2", tmp_path / "old"))


@pytest.mark.parametrize("name", NAMES)
def test_a_class_is_found_by_the_name_that_it_had(name):
    assert class_at(name).__name__ == MOVED.get(name, name).partition(":")[2]


def test_names_of_today_are_written_down_where_a_class_has_moved():
    for new in MOVED.values():
        assert public_name(class_at(new)) == new
        assert new not in MOVED


def test_values_of_today_are_written_down_where_a_field_has_changed():
    for (name, field), forms in VALUES.items():
        kind = class_at(name)
        assert public_name(kind) == name
        for form in forms.values():
            dataclasses.replace(kind(), **{field: restore(form, {})})


def test_runs_of_an_earlier_version_are_listed_with_the_reason_and_not_reused(store):
    entries = {entry.digest: entry for entry in store.entries()}
    assert entries.keys() == {FIRST, SECOND, THIRD}
    for entry in entries.values():
        assert entry.seeds == ()
        assert store.obstacle(entry) == ""
        assert entry.reasons[0].startswith("superseded: made with numerics 2, here it is 3")
        assert entry.definition["class"] == "descentlab.experiment:Experiment"
    assert store.digests() == []


def test_a_definition_of_an_earlier_version_is_restored_with_what_was_done_then(store):
    second = store.experiment(SECOND)
    assert second.digest != SECOND
    assert second.origin.digest == store.experiment(FIRST).digest
    assert second.model == models.AttentionLayer(attention.Softmax(0.5), heads=1, head_dim=2)
    assert second.model.attention.scaling == attention.InverseSqrt()
    assert (second.steps, list(second.probes)) == (4, ["loss"])
    third = store.experiment(THIRD)
    assert third.model.positions == models.LearnedPositions()
    assert isinstance(third.probes["step"], probes.StepSize)


def test_lanes_of_an_earlier_version_are_read_and_kept_apart(store):
    old = store.read(FIRST)
    assert old.seeds == (0, 1)
    assert old["loss"].values.shape == (2, 7)
    np.testing.assert_array_equal(old["weights"].values[:, -1], last_parameters(old))
    experiment = store.experiment(FIRST)
    with pytest.raises(StoreError, match="run it first"):
        store.get(experiment, (0, 1))
    (new,) = run([Request(experiment, (0, 1))], store=store)
    assert new["loss"].values.shape == old["loss"].values.shape
    assert store.has(experiment) == {0, 1}
    assert store.read(FIRST).seeds == (0, 1)


def last_parameters(old: Trajectory) -> np.ndarray:
    """All numbers of the final blocks of each lane, in the order of the recorded ones."""
    return np.concatenate([array.reshape(2, -1) for array in old.final.values()], axis=1)


@pytest.mark.parametrize("command", ["landscape", "curvature", "check"])
def test_commands_take_a_store_of_an_earlier_version(store, capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main([command, "--store", str(store.root)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "made with numerics 2" in said
    assert command == "check" or "Addition" in said


def test_the_store_has_no_paths_of_the_machine_that_made_it():
    for path in (OLD / "numerics_2").rglob("*"):
        assert path.is_dir() or not any(mark in path.read_bytes() for mark in (b"/home", b"/work", b"/tmp", b"C:\\"))
    header = json.loads((OLD / "numerics_2" / THIRD / "seeds-0-0-1" / "experiment.json").read_text())
    assert header["versions"]["numerics"] == "2"

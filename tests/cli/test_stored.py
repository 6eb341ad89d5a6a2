"""Runs of a store as commands list, choose and verify them, whatever lies in it."""

import json
import shutil
from pathlib import Path

import pytest

from descentlab import Experiment, FullBatch, cli, parts, train
from descentlab import _files as files
from descentlab._definition import Definition
from descentlab._describe import digest
from descentlab.store import Store
from descentlab.tasks import TokenRegression
from support.changed import flipped


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A terminal in which a row is one line."""
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A store with two runs, whose name a pattern or a terminal's markup would misread."""
    root = tmp_path_factory.mktemp("stored") / "g[1] [/b]"
    for steps in (3, 4):
        one = Experiment(task=TokenRegression(tokens=3, dim=4), data=FullBatch(2), steps=steps)
        Store(root).put(one, train(one, 2), wall_time=1.0)
    return root


@pytest.fixture
def root(filled, tmp_path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / filled.name))


def folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if len(path.name) == 32)


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and error of a command, spaces and lines run together."""
    capsys.readouterr()
    try:
        code = cli.main(list(arguments))
    except SystemExit as ended:
        code = int(ended.code or 0)
    out, err = capsys.readouterr()
    return code, " ".join(out.split()), " ".join(err.split())


def rewrite(folder: Path, change) -> None:
    """Change the header of a run and seal it again, as another program could have written it."""
    (part,) = folder.iterdir()
    header = json.loads((part / "experiment.json").read_text())
    change(header)
    (part / "experiment.json").write_bytes(files.seal(json.dumps(header | {"sha256": files.BLANK}).encode()))


def test_check_without_a_study_verifies_every_file(root, capsys):
    code, out, err = call(capsys, "check", "--store", str(root))
    assert (code, out, err) == (0, f"2 folders in {root}: 2 whole", "")
    first, second = folders(root)
    (part,) = first.iterdir()
    path = part / "arrays.safetensors"
    path.write_bytes(flipped(path.read_bytes(), -3))
    code, out, err = call(capsys, "check", f"--store={root}")
    assert (code, err) == (1, "")
    assert out.startswith(f"damaged: {part}: arrays.safetensors has changed since it was written: SHA-256")
    assert f"2 folders in {root}: 1 whole, 1 damaged" in out
    assert part.is_dir()


def test_check_says_what_it_cannot_verify_or_use_and_why(root, capsys, monkeypatch):
    first, second = folders(root)
    (part,) = first.iterdir()
    header = json.loads((part / "experiment.json").read_text())
    (part / "experiment.json").write_text(json.dumps({k: v for k, v in header.items() if k not in ("sha256", "files")}))
    code, out, _ = call(capsys, "check", "--store", str(root))
    assert code == 0
    assert "unverified: 1 folder: stored before there were checksums" in out
    said = f"made with numerics {parts.NUMERICS}, here it is 99"
    monkeypatch.setattr(parts, "NUMERICS", 99)
    code, out, _ = call(capsys, "check", "--store", str(root))
    assert code == 0
    assert out == f"superseded: 2 folders: {said} 2 folders in {root}: 2 superseded"


@pytest.mark.parametrize("command", ["check", "landscape", "curvature"])
def test_no_store_is_said(tmp_path, capsys, command):
    code, _, err = call(capsys, command, "--store", str(tmp_path / "no [such]"))
    assert code == 2
    assert f"there is no store at {tmp_path / 'no [such]'}" in err


@pytest.mark.parametrize("command", ["landscape", "curvature"])
def test_a_file_of_classes_that_is_none_is_said(root, capsys, command):
    code, _, err = call(capsys, command, "--store", str(root), "--classes", "no.py")
    assert code == 2
    assert "--classes wants a Python file (.py) that is there, got no.py" in err


@pytest.mark.parametrize("command", ["landscape", "curvature"])
def test_one_bad_folder_hinders_no_listing_and_the_reason_is_said(root, capsys, command):
    first, second = folders(root)
    (part,) = first.iterdir()
    (part / "experiment.json").write_bytes(b"")
    code, out, err = call(capsys, command, "--store", str(root))
    assert (code, err) == (0, "")
    assert f"1 runs in {root}" in out
    assert second.name[:12] in out
    assert first.name[:12] in out
    assert "damaged" in out
    code, _, err = call(capsys, command, first.name[:8], "--store", str(root))
    assert code == 2
    assert f"run {first.name[:12]} in {root} cannot be used: damaged: experiment.json cannot be read" in err


def test_a_run_of_a_class_that_is_not_known_here_is_listed(root, capsys):
    first, second = folders(root)

    def foreign(header: dict) -> None:
        header["definition"]["model"]["attention"]["class"] = "somebody.elses:Kernel"

    rewrite(first, foreign)
    code, out, err = call(capsys, "landscape", "--store", str(root))
    assert (code, err) == (0, "")
    assert f"{first.name[:12]} TokenRegression kernel all" in out
    assert "the definition needs the class Kernel of the module somebody.elses" in out
    code, out, _ = call(capsys, "check", "--store", str(root))
    assert code == 0
    assert "shown as data: 1 run: the definition needs the class Kernel of the module somebody.elses" in out
    code, _, err = call(capsys, "landscape", first.name[:8], "--store", str(root))
    assert code == 2
    assert "somebody" in err


def unmakeable(header: dict, change: str) -> None:
    """Make of a definition one that cannot be made here."""
    model = header["definition"]["model"]
    if change == "script":
        model["attention"]["class"] = "__main__:Copy"
    elif change == "field":
        model["gone"] = 1
    elif change == "value":
        model["heads"] = -1
    else:
        model["readout"]["class"] = "descentlab.models:Gone"


REASONS = {
    "script": "needs the class Copy of the module __main__, a script that is not this one",
    "field": "AttentionLayer has the field 'gone' only in the kept definition",
    "value": "the definition cannot be made here (AttentionLayer.heads must be",
    "class": "needs the class Gone of the module descentlab.models, which this version of descentlab does not have",
}


@pytest.mark.parametrize("change", REASONS)
def test_a_definition_that_cannot_be_made_is_shown_as_data_with_the_reason(root, capsys, change):
    first, second = folders(root)
    rewrite(first, lambda header: unmakeable(header, change))
    for command in ("landscape", "curvature"):
        code, out, err = call(capsys, command, "--store", str(root))
        assert (code, err) == (0, "")
        assert f"{first.name[:12]} TokenRegression" in out
        assert f"{second.name[:12]} TokenRegression softmax" in out
        code, _, err = call(capsys, command, first.name[:8], "--store", str(root))
        assert code == 2
        assert REASONS[change] in err
    code, out, _ = call(capsys, "check", "--store", str(root))
    assert code == 0
    assert f"shown as data: 1 run: {'the definition ' * REASONS[change].startswith('needs')}{REASONS[change]}" in out
    table = Store(root).table()
    assert set(table["digest"]) == {first.name, second.name}
    assert Store(root).experiment(second.name).digest == second.name


class Elsewhere(Definition):
    """Something that was trained by another program."""

    steps: int = 3


@pytest.mark.parametrize("command", ["landscape", "curvature"])
def test_what_is_no_experiment_is_listed_and_refused(root, capsys, command):
    lanes = Store(root).read(folders(root)[0].name)
    Store(root).put(Elsewhere(), lanes, wall_time=1.0)
    name = digest(Elsewhere())
    code, out, err = call(capsys, command, "--store", str(root))
    assert (code, err) == (0, "")
    assert f"{name[:12]} Elsewhere" in out
    code, _, err = call(capsys, command, name[:8], "--store", str(root))
    assert code == 2
    assert "is of the class Elsewhere, which is no experiment" in err
    assert call(capsys, "check", "--store", str(root))[:2] == (0, f"3 folders in {root}: 3 whole")


@pytest.mark.parametrize("definition", [{}, {"probes": [1], "trained": 3, "model": "x", "task": None, "steps": {}}])
def test_a_definition_of_any_shape_is_listed(root, capsys, definition):
    first, second = folders(root)
    rewrite(first, lambda header: header.update(definition=definition))
    code, out, err = call(capsys, "landscape", "--store", str(root))
    assert (code, err) == (0, "")
    assert first.name[:12] in out
    assert f"{second.name[:12]} TokenRegression softmax" in out

"""`certify`: a user's arrays, text or sizes become an experiment; bad files are refused with a sentence."""

import dataclasses
import json
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from descentlab import cli
from descentlab.attention import Gaussian
from descentlab.experiment import Experiment
from descentlab.models import Fixed, MeanPool
from descentlab.tasks import Arrays, TextWindows, TokenRegression


@dataclasses.dataclass
class Row:
    name: str = "Theorem A"
    source: str = "docs/theory/theorem_a.md"
    applies: bool = False
    obstacle: str = "rank(B) is below Nn"
    factor: float | None = 2.0
    step: float | None = 0.125
    steps: float | None = None
    detail: str = "rank 4 of 8"


@dataclasses.dataclass
class Answer:
    ending: str = ""
    sentence = "No certificate applies."
    rows = (Row(), Row(name="Theorem B", applies=True, obstacle="", steps=1234.0))
    advice = ("use more heads",)

    def as_data(self) -> dict:
        return {"sentence": self.sentence}


@pytest.fixture
def asked(monkeypatch, tmp_path) -> list[tuple[Experiment, int, float]]:
    """What the certificates are asked; the answer is made up."""
    found = []

    def certify(experiment: Experiment, *, seed: int, tolerance: float, steps: int) -> Answer:
        found.append((experiment, seed, tolerance))
        return Answer(ending=f"After {steps} steps: a saddle." if steps else "")

    monkeypatch.setitem(sys.modules, "descentlab.measures.certification", types.SimpleNamespace(certify=certify))
    monkeypatch.chdir(tmp_path)
    return found


def call(*arguments: str) -> int:
    try:
        return cli.main(["certify", *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


def save(**changes) -> str:
    rng = np.random.default_rng(0)
    arrays = {"inputs": rng.normal(size=(3, 5, 4)), "targets": rng.normal(size=(3, 5))} | changes
    np.savez("data.npz", **{name: array for name, array in arrays.items() if array is not None})
    return "data.npz"


def test_without_data_sizes_are_certified(asked, capsys):
    flags = ["--task.tokens", "4", "--samples", "2", "--model.attention", "gaussian", "--trained", "value"]
    assert call(*flags, "--seed", "3", "--tolerance", "1e-6", "--json", "answer.json") == 0
    ((experiment, seed, tolerance),) = asked
    assert isinstance(experiment.task, TokenRegression)
    assert (experiment.task.tokens, experiment.data.samples, experiment.trained) == (4, 2, ("value",))
    assert experiment.model.attention == Gaussian()
    assert (seed, tolerance) == (3, 1e-6)
    out = capsys.readouterr().out
    assert out.startswith("No certificate applies.")
    assert "steps:" not in out
    for part in ("Theorem B", "0.125", "1234", "rank 4 of 8", "What to change:", "- use more heads"):
        assert part in out
    assert json.loads(Path("answer.json").read_text()) == {"sentence": "No certificate applies."}


def test_the_end_of_a_run_is_shown_where_steps_are_asked_for(asked, capsys):
    assert call("--steps", "7") == 0
    assert "After 7 steps: a saddle." in capsys.readouterr().out


def test_arrays_bring_their_samples_and_shapes(asked):
    assert call("--arrays", save(), "--model.heads", "1") == 0
    assert call("--arrays", save(targets=np.ones((3, 5, 2))), "--samples", "2") == 0
    assert call("--arrays", save(targets=np.ones((3, 2)))) == 0
    (plain, _, _), (wide, _, _), (pooled, _, _) = asked
    assert isinstance(plain.task, Arrays)
    assert (plain.data.samples, plain.model.heads, plain.model.output_dim) == (3, 1, 1)
    assert (wide.data.samples, wide.model.output_dim) == (2, 2)
    assert (pooled.model.output_dim, pooled.model.readout) == (2, MeanPool())


def test_given_blocks_are_where_the_run_starts(asked):
    rng = np.random.default_rng(1)
    query, output = rng.normal(size=(3, 4, 2)), rng.normal(size=(3, 2, 1))
    assert call("--arrays", save(query=query, output=output)) == 0
    ((experiment, _, _),) = asked
    assert (experiment.model.heads, experiment.model.head_dim) == (3, 2)
    assert isinstance(experiment.model.query, Fixed)
    assert np.array_equal(experiment.model.query.array.value, query)
    assert np.array_equal(experiment.model.output.array.value, output)


def test_a_text_in_any_encoding_is_read(asked):
    Path("text").write_bytes("Größe und Maß, völlig egal.".encode("utf-16") + b"\xff\x00\x80")
    assert call("--text", "text", "--task.window", "4", "--samples", "3") == 0
    ((experiment, _, _),) = asked
    assert isinstance(experiment.task, TextWindows)
    assert experiment.task.text.value.tobytes() == Path("text").read_bytes()
    assert (experiment.task.window, experiment.data.samples) == (4, 3)


def refused(arguments: list[str], said: str, capsys) -> None:
    before = sorted(Path().iterdir())
    assert call(*arguments, "--json", "answer.json") == 2
    captured = capsys.readouterr()
    text = " ".join(captured.err.replace("│", " ").split())
    assert said in text
    assert "Traceback" not in text
    assert captured.out == ""
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inputs": None}, "holds targets; inputs missing"),
        ({"targets": None}, "holds inputs; targets missing"),
        ({"target": np.ones(3)}, "holds an unknown array 'target'; did you mean targets"),
        ({"inputs": np.ones((3, 5))}, "inputs must have shape (samples, tokens, dim)"),
        ({"inputs": np.ones((0, 5, 4))}, "none of them 0, got (0, 5, 4)"),
        ({"targets": np.ones((2, 5))}, "to go with inputs (3, 5, 4), got (2, 5)"),
        ({"targets": np.ones((3, 7, 1))}, "targets must have the shape of the model's outputs"),
        ({"inputs": np.full((3, 5, 4), np.nan)}, "inputs must be finite, got nan at index (0, 0, 0)"),
        ({"targets": np.full((3, 5), np.inf)}, "targets must be finite, got inf at index (0, 0)"),
        ({"query": np.full((2, 4, 2), np.nan)}, "query must be finite, got nan"),
        ({"inputs": np.full((3, 5, 4), "x")}, "inputs must hold real numbers, got dtype <U1"),
        ({"targets": np.full((3, 5), None)}, "data.npz: targets holds pickled objects, plain numbers were wanted"),
        ({"query": np.ones((2, 3, 2))}, "'query' must have the block's shape (2, 4, 2), got (2, 3, 2)"),
        ({"query": np.ones((4, 2))}, "the block query must have shape (heads, dim, head_dim), got (4, 2)"),
    ],
)
def test_bad_arrays_are_refused(asked, changes, said, capsys):
    refused(["--arrays", save(**changes)], said, capsys)
    assert not asked


def test_files_that_are_no_npz_are_refused(asked, capsys):
    Path("text.npz").write_text("not an archive")
    refused(["--arrays", "text.npz"], "text.npz is not an .npz file that numpy.savez wrote (File is", capsys)
    refused(["--arrays", "nowhere.npz"], "nowhere.npz cannot be read: No such file", capsys)
    np.save("one.npy", np.ones(3))
    refused(["--arrays", "one.npy"], "one.npy holds a single array", capsys)
    Path("empty.npz").write_bytes(b"")
    refused(["--arrays", "empty.npz"], "empty.npz is not an .npz file", capsys)
    whole = Path(save()).read_bytes()
    Path("short.npz").write_bytes(whole[: len(whole) // 2])
    refused(["--arrays", "short.npz"], "short.npz", capsys)
    with zipfile.ZipFile("none.npz", "w"):
        pass
    refused(["--arrays", "none.npz"], "none.npz is empty; inputs and targets missing", capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--text", "empty"], "the text 'empty' must have at least"),
        (["--text", "short"], "the text 'short' must have at least"),
        (["--text", "nowhere"], "nowhere cannot be read: No such file"),
        (["--text", "short", "--arrays", "data.npz"], "got both --arrays and --text"),
        (["--samples", "0"], "samples must be a finite number above 0, got 0"),
        (["--samples", "9", "--arrays", "data.npz"], "the given arrays hold 3 samples, 9 were asked for"),
        (["--tolerance", "2"], "--tolerance must lie between 0 and 1, got 2.0"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
        (["--steps", "-1"], "--steps must be at least 0, got -1"),
        (["--model.heads", "3"], "heads must divide the token width, got heads=3"),
        (["--trained", "valu"], "there is no parameter 'valu' here; did you mean value"),
        (["--model.hads", "3"], "AttentionLayer has no field 'hads'"),
    ],
)
def test_bad_flags_are_refused(asked, arguments, said, capsys):
    Path("empty").write_bytes(b"")
    Path("short").write_bytes(b"abc")
    save()
    refused(arguments, said, capsys)
    assert not asked

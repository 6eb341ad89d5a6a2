"""`run`, `check`, `report`, `list`: what they print, write and refuse, in this process."""

import io
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from descentlab import Mistake, cli
from descentlab._definition import DefinitionError
from descentlab._describe import describe
from descentlab._memory import TooLarge
from descentlab.attention import Gaussian
from descentlab.cli import commands, discovery
from descentlab.cost.fields import Refused
from descentlab.formats import DataError
from descentlab.landscape import NoPlane
from descentlab.store import Store, StoreError

TINY = str(Path(__file__).parents[1] / "studies" / "tiny.py")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Relative paths, such as the default store, lie in a folder of the test."""
    monkeypatch.chdir(tmp_path)


def call(*arguments: str) -> int:
    """One command with the smallest size; tyro's exits are codes too."""
    try:
        return cli.main(list(arguments))
    except SystemExit as ended:
        return int(ended.code or 0)


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def runs() -> list[Path]:
    return sorted(Path("runs").glob("*/seeds-*"))


def test_run_trains_judges_and_writes_the_page(capsys):
    assert call("run", TINY, "--size", "smoke", "--json", "out/claims.json") == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 120 for line in out.splitlines())
    for part in ("verdict", "measured", "expected", "margin", "below [the", "Softmax · a test", "2 claims: 2 hold"):
        assert part in out
    assert "page: runs/reports/tiny-smoke.html" in out
    page = Path("runs/reports/tiny-smoke.html").read_text()
    for part in ("Does the loss fall?", "Loss against step", "One line a kernel.", "descentlab run", "AttentionLayer"):
        assert part in page

    data = json.loads(Path("out/claims.json").read_text())
    assert data.keys() == {"study", "size", "versions", "findings", "claims", "report"}
    assert (data["study"], data["size"], data["report"]) == ("tiny", "smoke", "runs/reports/tiny-smoke.html")
    assert [claim["id"] for claim in data["claims"]] == ["falls-softmax", "falls-gaussian"]
    assert {claim["verdict"] for claim in data["claims"]} == {"holds"}
    assert len(runs()) == 2


def test_check_and_report_need_no_training(capsys, monkeypatch):
    assert call("check", TINY, "--size", "smoke") == 2
    said = words(capsys.readouterr().err)
    assert "needs 2 runs, but 2 of them are not in runs (of fall/fall)" in said
    assert f"run it first: descentlab run {TINY} --size smoke" in said
    assert not Path("runs").exists()

    assert call("run", TINY, "--size", "smoke") == 0
    monkeypatch.setattr(commands, "run_study", None)
    Path("runs/reports/tiny-smoke.html").unlink()
    assert call("check", TINY, "--size", "smoke", "--json", "claims.json") == 0
    assert json.loads(Path("claims.json").read_text())["report"] is None
    assert not Path("runs/reports/tiny-smoke.html").exists()
    assert call("report", TINY, "--size", "smoke") == 0
    assert Path("runs/reports/tiny-smoke.html").exists()
    assert call("check", TINY, "--size", "smoke", "--seeds", "2") == 2


def test_overrides_seeds_and_store_reach_the_runs():
    flags = ["--size", "smoke", "--seeds", "2", "--store", "mine", "--model.attention", "gaussian"]
    assert call("run", TINY, *flags, "--model.attention.c", "0.3", "--steps", "5", "--model.heads", "4") == 0
    (part,) = Path("mine").glob("*/seeds-*")
    header = json.loads((part / "experiment.json").read_text())
    assert header["seeds"] == [0, 1]
    assert header["definition"]["steps"] == 5
    assert header["definition"]["model"]["heads"] == 4
    assert header["definition"]["model"]["attention"] == describe(Gaussian(0.3))


def test_a_lane_that_diverges_leaves_its_claim_not_applicable(capsys):
    flags = ["--size", "smoke", "--model.attention", "softmax", "--optimizer.lr", "1e30", "--json", "claims.json"]
    assert call("run", TINY, *flags) == 0
    assert "not applicable" in words(capsys.readouterr().out)
    (part,) = runs()
    header = json.loads((part / "experiment.json").read_text())
    assert header["status"] == ["DIVERGED"]
    assert 0 < header["ended"][0] < 20
    claims = json.loads(Path("claims.json").read_text())["claims"]
    assert [claim["measured"] for claim in claims] == [None]


def test_a_damaged_folder_is_named_and_computed_again(capsys):
    assert call("run", TINY, "--size", "smoke") == 0
    bad, good = runs()
    (bad / "series.parquet").write_bytes(b"PAR1 but not really")
    capsys.readouterr()
    for command in ("check", "report"):
        assert call(command, TINY, "--size", "smoke") == 2
        said = words(capsys.readouterr().err)
        assert f"damaged: {bad}" in said
        assert "1 of them are not in runs" in said
        assert runs() == [bad, good]
    assert call("run", TINY, "--size", "smoke") == 0
    assert f"damaged, set aside as {bad}.damaged-" in capsys.readouterr().err
    assert {part.state.value for part in Store("runs").inspect()} == {"whole"}
    assert call("check", TINY, "--size", "smoke") == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "there is no command 'rnu'; did you mean run"),
        (["run", "--size", "smoke"], "wanted a study after 'run', got '--size'"),
        (["run", "song2024_convergense"], "there is no study 'song2024_convergense'"),
        (["run", "no/such/file.py"], "there is no file no/such/file.py"),
        (["check", TINY, "--probes.los.when.k", "3"], "no probe 'los'; did you mean loss"),
        (["run", TINY, "--trained", "valu"], "there is no parameter 'valu' here; did you mean value"),
        (["run", TINY, "--model.heads", "3"], "heads must divide the token width, got heads=3 and dim=4"),
        (["run", TINY, "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["run", TINY, "--steps", "-1"], "Experiment.steps must be a finite number, at least 0, got -1"),
        (["run", TINY, "--size", "large"], "invalid choice 'large'"),
        (["run", TINY, "--text", TINY], "tiny has no experiment on windows of a text"),
        (["run", TINY, "--store", TINY], "a store is a folder, but"),
        (["run", TINY, "--store", f"{TINY}/below"], "a store is a folder, but"),
        (["run", TINY, "--json", "/"], "--json wants the name of a file, but / is a folder"),
        (["run", TINY, "--json", f"{TINY}/out.json"], "is not a folder"),
        (["run", TINY, "--fancy", "1"], "there is no flag --fancy"),
        (["list", "--fancy"], "unrecognized arguments: --fancy"),
    ],
)
def test_a_mistake_is_said_in_one_sentence_and_nothing_is_written(arguments, said, capsys):
    assert call(*arguments) == 2
    captured = capsys.readouterr()
    assert said in words(captured.err)
    assert "Traceback" not in captured.err
    assert list(Path().iterdir()) == []


def test_a_file_without_a_study_is_refused(capsys):
    Path("empty.py").write_text("x = 1\n")
    assert call("run", "empty.py") == 2
    assert "must have an attribute `study` that is a Study, got NoneType" in capsys.readouterr().err


def refused(*arguments: object) -> None:
    raise ValueError("raised by no check")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda *_: int("not a number"), "invalid literal"),
        (lambda *_: np.zeros(2) + np.zeros(3), "could not be broadcast"),
        (refused, "raised by no check"),
    ],
)
def test_a_bug_keeps_its_traceback(monkeypatch, broken, said):
    monkeypatch.setattr(commands, "_run", broken)
    with pytest.raises(ValueError, match=said):
        call("run", TINY, "--size", "smoke")


def test_whatever_the_package_refuses_is_a_mistake(monkeypatch, capsys):
    def broken(*arguments: object) -> None:
        raise Mistake("wanted this, got that; do so")

    monkeypatch.setattr(commands, "_run", broken)
    assert call("run", TINY, "--size", "smoke") == 2
    assert capsys.readouterr().err == "error: wanted this, got that; do so\n"
    classes = DataError, DefinitionError, NoPlane, Refused, StoreError, TooLarge, discovery.UsageError
    assert all(issubclass(one, Mistake) for one in classes)


def test_studies_are_listed_by_the_first_line_of_their_docstring(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "studies"
    (folder / "package").mkdir(parents=True)
    (folder / "one.py").write_text('"""What is one?\n\nMore."""\nraise SystemExit("imported")\nstudy = 1\n')
    (folder / "helper.py").write_text('"""No study."""\n')
    (folder / "package" / "__init__.py").write_text('"""What is a package?"""\nfrom somewhere import it as study\n')
    monkeypatch.setattr(discovery.resources, "files", lambda name: tmp_path)
    assert call("list") == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines == [["one", "What is one?"], ["package", "What is a package?"]]
    assert discovery.find("package") == "package"
    with pytest.raises(discovery.UsageError, match="no study 'on'; did you mean one"):
        discovery.find("on")


def test_a_number_is_shown_with_three_digits():
    assert [commands.display.number(x) for x in (None, np.nan, 1.0, 1234567.0, -1.25e-7)] == [
        "–",
        "–",
        "1",
        "1.23e+06",
        "-1.25e-07",
    ]


def test_a_terminal_of_eighty_columns_has_room_for_what_is_known_and_for_the_time_left():
    bar = commands.display.Bar("song2024_tasks, quick size")
    bar._first = (time.monotonic() - 10, 0)
    for done in (100, 150, 195):
        bar(done, 9006, "loss 0.521, accuracy 0.574")
        time.sleep(0.02)
    screen = Console(width=80, file=io.StringIO())
    screen.print(bar._bar.get_renderable())
    assert re.search(r"2% 19\.\d steps/s, loss 0\.521, accuracy 0\.574 \d\d:\d\d$", screen.file.getvalue().strip())

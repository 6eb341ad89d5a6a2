"""Whole processes: what they import, and how they end when they are killed, stopped, run twice, or out of space."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from safetensors.numpy import load

TINY = str(Path(__file__).parents[1] / "studies" / "tiny.py")
MAIN = "import sys; from descentlab.__main__ import program; sys.exit(program())"
SHORT_SEGMENTS = "import descentlab.sweep; descentlab.sweep.SEGMENT_SECONDS = 0.1; " + MAIN
"""The same with checkpoints and the chance to stop so often that a signal finds most of a run still to come."""

LONG = ("run", TINY, "--model.attention", "softmax", "--steps", "400000")
"""A run of several seconds on any machine, in one structure."""


def begin(place: Path, *arguments: str, code: str = MAIN, before: Callable[[], None] | None = None) -> subprocess.Popen:
    place.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )


def end(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def wait_for(process: subprocess.Popen, place: Path, pattern: str) -> None:
    """Until a process has made a file."""
    while not list(place.glob(pattern)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def series(place: Path) -> pl.DataFrame:
    """What the one run of a store recorded."""
    (path,) = place.glob("runs/*/seeds-*/series.parquet")
    return pl.read_parquet(path)


def bits(frame: pl.DataFrame) -> bytes:
    return frame["value"].to_numpy().tobytes()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["list"], ["run", "--help"], ["run", "nothing"]])
def test_help_and_list_import_no_jax(tmp_path, arguments):
    code = (
        "import sys; from descentlab.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit(sorted({'jax', 'equinox', 'numpy', 'polars', 'plotly'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_run_killed_or_stopped_goes_on_to_the_same_bits_and_a_second_process_waits(tmp_path):
    """One uninterrupted run is the measure of three others, and the first of them shares a store with it."""
    whole = tmp_path / "whole"
    first = begin(whole, *LONG)
    wait_for(first, whole, "runs/.progress/*/plan.json")
    second = begin(whole, *LONG)
    killed, stopped = tmp_path / "killed", tmp_path / "stopped"
    code, out, err = end(second)
    assert code == 0, err
    assert "waiting for another process" in err
    code, first_out, err = end(first)
    assert code == 0, err
    assert "waiting" not in err
    assert out.split("page:")[0] == first_out.split("page:")[0]
    measure = bits(series(whole))

    for place, how in ((killed, signal.SIGKILL), (stopped, signal.SIGINT)):
        process = begin(place, *LONG, code=SHORT_SEGMENTS)
        wait_for(process, place, "runs/.progress/*/batch-0.safetensors")
        process.send_signal(how)
        code, _, err = end(process)
        assert code == (-signal.SIGKILL if how == signal.SIGKILL else 130)
        assert "Traceback" not in err
        assert ("the same command goes on" in err) == (how == signal.SIGINT)
        assert not list(place.glob("runs/*/seeds-*"))
        code, _, err = end(begin(place, *LONG))
        assert code == 0, err
        assert bits(series(place)) == measure
        assert not list(place.glob("runs/.progress/*"))


# A limit is set between fork and exec, of which JAX warns where it has been imported before.
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_a_full_store_is_said_leaves_nothing_half_written_and_the_run_can_be_repeated(tmp_path):
    run = ("run", TINY, "--size", "smoke")
    warm, place = tmp_path / "warm", tmp_path / "full"
    assert end(begin(warm, *run))[0] == 0

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    code, out, err = end(begin(place, *run, before=limit))
    assert code == 2
    assert out == ""
    assert "the store runs cannot be written (File too large); free space or choose another --store" in err
    assert "Traceback" not in err
    left = [path for path in place.rglob("*") if path.is_file() and path.suffix != ".lock"]
    whole = [path for path in left if path.suffix == ".safetensors" and load(path.read_bytes())]
    assert all(path.name == "plan.json" or path in whole for path in left), left

    code, _, err = end(begin(place, *run))
    assert code == 0, err
    tables = [
        sorted(pl.read_parquet(p)["value"].to_list() for p in at.glob("runs/*/*/*.parquet")) for at in (warm, place)
    ]
    assert tables[0] == tables[1]


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_claims_are_shown_where_there_is_no_room_for_the_page(tmp_path):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    code, out, err = end(begin(tmp_path, "run", TINY, "--size", "smoke", "--json", "claims.json", before=limit))
    assert code == 2
    assert "2 claims: 2 hold" in out
    assert "page:" not in out
    assert "the page runs/reports/tiny-smoke.html cannot be written: File too large" in err
    assert "Traceback" not in err
    said = json.loads((tmp_path / "claims.json").read_text())
    assert [claim["verdict"] for claim in said["claims"]] == ["holds", "holds"]
    assert said["report"] is None
    assert not list((tmp_path / "runs" / "reports").iterdir())


def test_a_store_that_may_not_be_written_is_said(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; tests/test_store.py has a store below a file")
    tmp_path.chmod(0o500)
    code, _, err = end(begin(tmp_path, "run", TINY, "--size", "smoke"))
    tmp_path.chmod(0o700)
    assert code == 2
    assert "cannot be written (Permission denied)" in err

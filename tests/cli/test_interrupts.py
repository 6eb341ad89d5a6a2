"""Ctrl-C at random moments: exit code 130 and one true sentence, in every command, twice in a row too."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TINY = str(Path(__file__).parents[1] / "studies" / "tiny.py")
MOMENTS = int(os.environ.get("DESCENTLAB_MOMENTS", "1"))
"""Random moments a command; `make soak` asks for more."""

WATCHED = (
    "import descentlab.__main__ as program, sys\n"
    "watch = program.interrupts.watch\n"
    "program.interrupts.watch = lambda: (watch(), print('watching', flush=True))\n"
    "sys.exit(program.program())"
)
"""The program, which says when it begins to notice: what comes before is the start of Python itself."""

COMMANDS = {
    "list": ["list"],
    "cost": ["cost", "bert-base", "--page", "cost.html"],
    "certify": ["certify", "--model.heads", "2", "--task.tokens", "3", "--task.dim", "4"],
    "run": ["run", TINY, "--size", "smoke", "--store", "fresh", "--steps", "20000"],
    "check": ["check", TINY, "--size", "smoke"],
    "report": ["report", TINY, "--size", "smoke"],
    "landscape": ["landscape", "{run}", "--points", "5"],
    "curvature": ["curvature", "{run}", "--top", "1", "--probes", "2", "--steps", "4"],
}

SECONDS = 4.0
"""Interrupts come within this time after the start; by then some commands are done, others not."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a store that holds the runs of a small study."""
    folder = tmp_path_factory.mktemp("interrupts")
    subprocess.run(
        [sys.executable, "-m", "descentlab", "run", TINY, "--size", "smoke"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


def answer(place: Path, arguments: list[str], delay: float, again: float | None) -> tuple[int, str, str]:
    """Exit code and output of a command that is interrupted after a delay, and once more."""
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHED, *arguments],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "watching\n"
    for wait in (delay, again):
        if wait is not None:
            time.sleep(wait)
            process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


# A signal's handling is set between fork and exec, of which JAX warns where it has been imported before.
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
@pytest.mark.parametrize("command", COMMANDS)
def test_an_interrupt_at_any_moment_is_answered_by_one_sentence(place, command):
    rng = random.Random(f"{command} {MOMENTS}")
    run = next(path.name for path in (place / "runs").iterdir() if len(path.name) == 32)
    arguments = [word.format(run=run) for word in COMMANDS[command]]
    for _ in range(MOMENTS):
        delay, again = SECONDS * rng.random() ** 2, rng.choice([None, 0.0, 0.2 * rng.random()])
        before = set(place.rglob("*.html"))
        code, out, err = answer(place, arguments, delay, again)
        said = [line for line in err.splitlines() if line.startswith("stopped")]
        written = set(place.rglob("*.html")) - before
        assert "Traceback" not in err, (delay, err)
        if code == 0:
            assert not said, (delay, err)
            continue
        assert code == 130, (delay, again, code, err)
        assert len(said) == 1, (delay, again, err)
        if "nothing was written" in said[0] or "before anything" in said[0]:
            assert not written, (delay, said, written)
        if command == "run":
            shutil.rmtree(place / "fresh", ignore_errors=True)


def test_an_interrupt_during_a_compiled_program_is_noticed_before_that_program_ends(tmp_path):
    code = (
        "from descentlab import interrupts\n"
        "interrupts.watch()\n"
        "import jax\n"
        "count = jax.jit(lambda n: jax.lax.fori_loop(0, n, lambda i, x: x * 1.0000001 + i, 0.0)).lower(1).compile()\n"
        "print('computing', flush=True)\n"
        "count(2_000_000_000).block_until_ready()\n"
        "print('computed', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "computing\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "stopped before anything was computed"
    assert "computed" not in out


def test_a_background_job_that_ignores_interrupts_goes_on_ignoring_them():
    code = (
        "import os, signal\n"
        "from descentlab import interrupts\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "interrupts.watch()\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('still here')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "still here\n"), done.stderr

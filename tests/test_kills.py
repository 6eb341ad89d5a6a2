"""A sweep is killed at random moments: its store can always be read, and ends with the bits of an undisturbed one."""

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from descentlab.cli import stored
from descentlab.parts import State
from descentlab.store import Store
from support import killed

KILLS = int(os.environ.get("DESCENTLAB_KILLS", "20"))
"""How often the sweep is killed; `make soak` asks for more."""

TESTS = Path(killed.__file__).parents[1]


@contextlib.contextmanager
def helper() -> Iterator[Callable[..., Any]]:
    """A process of `support.killed`, as a function that asks it."""
    command = [sys.executable, killed.__file__, str(jax.config.jax_compilation_cache_dir)]
    paths = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}
    ) as process:

        def ask(root: Path, *arguments: float) -> Any:
            process.stdin.write(json.dumps([str(root), *arguments]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


def test_a_killed_sweep_can_be_read_and_goes_on_to_the_same_bits(tmp_path):
    with helper() as finish, helper() as kill:
        undisturbed = finish(tmp_path / "undisturbed")
        begun = time.monotonic()
        code, operations = kill(tmp_path / "whole", 0, 600.0)
        seconds = time.monotonic() - begun
        assert (code, finish(tmp_path / "whole")) == (0, undisturbed)
        rng = random.Random(KILLS)
        places = (tmp_path / str(number) for number in itertools.count())
        place, killed_so_far = next(places), 0
        while killed_so_far < KILLS:
            at = (rng.randint(1, operations), 600.0) if rng.random() < 0.7 else (0, rng.uniform(0.0, seconds))
            code, _ = kill(place, *at)
            assert code in (0, -signal.SIGKILL), at
            killed_so_far += code != 0
            copy = tmp_path / "copy"
            read(place)
            if place.exists():
                shutil.copytree(place, copy)
            assert finish(copy) == undisturbed, (killed_so_far, at)
            left = {path.name for path in copy.iterdir() if any(path.iterdir())}
            assert left == {"given", ".locks"} | {one.experiment.digest for one in killed.requests()}
            assert not list((copy / ".locks").glob("writing-*"))
            shutil.rmtree(copy)
            if code == 0 or rng.random() < 0.3:  # else it is killed again on its way
                place = next(places)


def read(place: Path) -> None:
    """Everything that lies in a store can be listed and is whole."""
    store = Store(place)
    stored.listing(store)
    assert {part.state for part in store.inspect()} <= {State.WHOLE}
    assert store.table()["digest"].n_unique() == len(store.digests())

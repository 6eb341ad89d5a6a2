"""A small sweep in a process that is killed, at a random operation on the disk or after a random time.

As a program it imports what a sweep needs, and then makes a child for each sweep that is to be killed: no child pays
for the imports, and the parent starts no JAX. Another process of it finishes sweeps, and compiles once.
"""

import hashlib
import json
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from descentlab import Experiment, FullBatch, Given, sweep
from descentlab.optim import GD
from descentlab.probes import Loss, Parameters
from descentlab.store import Store
from descentlab.sweep import Request, grid
from descentlab.tasks import Arrays

OPERATIONS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")
"""What changes a folder, by the name of Python's audit event, which comes before the operation."""


def requests() -> list[Request]:
    """Three experiments of one structure on a given array, two lanes each."""
    rng = np.random.default_rng(0)
    task = Arrays(Given("inputs", rng.normal(size=(2, 3, 4))), Given("targets", rng.normal(size=(2, 3))))
    settings = {"trained": ("value",), "probes": {"loss": Loss(), "value": Parameters()}, "steps": 80}
    base = Experiment(task=task, data=FullBatch(2), optimizer=GD(lr=0.05), **settings)
    return [Request(one, (0, 1)) for one in grid(base, {"optimizer.lr": [0.05, 0.1, 0.2]})]


def sweep_all(root: Path) -> str:
    """The whole sweep in two batches, each of lanes of several experiments, with many checkpoints.

    Returns:
        A hash of all its numbers.
    """
    wanted = requests()
    sweep.SEGMENT_SECONDS = 0.0
    lane = sweep._intermediates(sweep.trace_iteration(wanted[0].experiment).jaxpr)
    found = sweep.run(wanted, store=Store(root), memory=4 * lane + lane // 2)
    arrays = [series.values for one in found for series in one.series.values()]
    arrays += [block for one in found for block in one.final.values()]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def watch(root: Path, operation: int, seconds: float) -> list[str]:
    """Kill this process before its n-th operation in a folder, or so long after the first one.

    Returns:
        A list that the operations are added to.
    """
    seen: list[str] = []

    def end() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in OPERATIONS or not str(arguments[0]).startswith(str(root)):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if not seen:
            timer = threading.Timer(seconds, end)
            timer.daemon = True
            timer.start()
        seen.append(event)
        if len(seen) == operation:
            end()

    sys.addaudithook(look)
    return seen


def killing(root: str, operation: int, seconds: float) -> tuple[int, int]:
    """Exit code of a child with the sweep, and how many operations it made if it was not killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        seen = watch(Path(root), operation, seconds)
        sweep_all(Path(root))
        os.write(writing, str(len(seen)).encode())
        os._exit(0)
    os.close(writing)
    count = os.read(reading, 99).decode()
    os.close(reading)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), int(count or 0)


def main() -> None:
    """Answer each line of input: three arguments of `killing`, or one of `sweep_all`, which then runs in here."""
    jax.config.update("jax_compilation_cache_dir", sys.argv[1])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    warnings.simplefilter("ignore")  # a child may start JAX because its parent never did
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(killing(*asked) if len(asked) > 1 else sweep_all(Path(asked[0]))), flush=True)


if __name__ == "__main__":
    main()

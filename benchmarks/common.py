"""What the benchmark scripts share: the problem, pinned processes, and clocks.

Every measurement runs in a process of its own that may use a given number of cores. It is confined to them before
JAX or PyTorch is imported, because both size their thread pools from what they may use.
"""

import dataclasses
import functools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata, util

AGREEMENT = {"float64": 1e-10, "float32": 1e-4}
"""Relative difference of losses up to which two contenders count as computing the same."""

LEARNING_RATE = 0.01


@dataclasses.dataclass(frozen=True)
class Size:
    """A layer on N samples of n tokens of width D with H heads, so many lanes at once."""

    samples: int
    tokens: int
    dim: int
    heads: int
    lanes: int

    def __str__(self):
        return f"N={self.samples} n={self.tokens} D={self.dim} H={self.heads} lanes={self.lanes}"

    @property
    def operations(self) -> int:
        """Floating-point operations of the matrix products in one step of all lanes, forward and backward.

        The four projections go forward once; backward each needs the product for its weights, and the output
        projection also that for its input. Scores and mixing go forward once and backward twice.
        """
        tokens = self.samples * self.tokens
        projection = 2 * tokens * self.dim**2
        attention = 2 * tokens * self.tokens * self.dim
        return self.lanes * ((4 + 5) * projection + (2 + 4) * attention)

    @property
    def exponentials(self) -> int:
        """Exponentials in one step of all lanes."""
        return self.lanes * self.samples * self.heads * self.tokens**2


SMALL, SMALL_LANES = Size(16, 8, 16, 2, 1), Size(16, 8, 16, 2, 32)
LARGE, LARGE_8, LARGE_LANES = Size(64, 16, 64, 4, 1), Size(64, 16, 64, 4, 8), Size(64, 16, 64, 4, 32)
LARGE_64, LARGE_512 = Size(64, 16, 64, 4, 64), Size(64, 16, 64, 4, 512)


def lanes_of(size: Size, precision: str, steps: int):
    """The package's lanes for a size: all four blocks trained, loss and gradient norm recorded at every step."""
    from descentlab.data import FullBatch
    from descentlab.experiment import Experiment
    from descentlab.lanes import Lanes
    from descentlab.models import AttentionLayer, Normal
    from descentlab.optim import GD
    from descentlab.probes import GradientNorm, Loss
    from descentlab.schedule import Every
    from descentlab.tasks import TokenRegression

    start = Normal(0.5)
    experiment = Experiment(
        task=TokenRegression(tokens=size.tokens, dim=size.dim),
        data=FullBatch(size.samples),
        model=AttentionLayer(heads=size.heads, output_dim=size.dim, query=start, key=start, value=start, output=start),
        optimizer=GD(LEARNING_RATE),
        probes={"loss": Loss(Every(1)), "gradient": GradientNorm(Every(1))},
        steps=steps,
        precision=precision,
    )
    return Lanes((experiment,) * size.lanes, tuple(range(size.lanes)))


def compete(contenders: dict[str, Callable[[], object]], *, seconds: float, least: int = 7) -> dict[str, dict]:
    """Minimum wall and CPU time of each contender; they take turns, so that a busy machine hits all of them.

    Args:
        contenders: calls that return when their result is there; each is called once before the clock starts.
        seconds: for so long all turns together go on.
        least: and for at least so many turns.
    """
    best = {name: {"wall": float("inf"), "cpu": float("inf")} for name in contenders}
    for call in contenders.values():
        call()
    begun, turns = time.monotonic(), 0
    while turns < least or time.monotonic() - begun < seconds:
        for name, call in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            best[name] = {"wall": min(best[name]["wall"], wall), "cpu": min(best[name]["cpu"], cpu)}
        turns += 1
    return best | {"turns": turns}


def agree(one, other, precision: str) -> float:
    """The largest relative difference of two arrays of losses.

    Raises:
        SystemExit: if it is too large for a comparison of times to mean anything.
    """
    import numpy as np

    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    gap = float(np.max(np.abs(one - other) / np.abs(other)))
    if one.shape != other.shape or not gap <= AGREEMENT[precision]:
        raise SystemExit(f"the contenders disagree: losses differ by {gap:.1e} relative; no ratio is printed")
    return gap


def in_process(script: str, threads: int | str, **arguments) -> dict:
    """What `measure(**arguments)` of a script prints, run in a process that may use so many cores, or `"gpu"`."""
    code = json.dumps(arguments)
    done = subprocess.run(
        [sys.executable, script, "--measure", str(threads), code], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{script} {code} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def serve(measure: Callable[..., dict]) -> bool:
    """Whether this process is one that measures; if so the result was printed."""
    if sys.argv[1:2] != ["--measure"]:
        return False
    if sys.argv[2] == "gpu":
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # the contender needs memory of the same card
    else:
        _confine(int(sys.argv[2]))
    print(json.dumps(measure(**json.loads(sys.argv[3]))))
    return True


def _confine(threads: int) -> None:
    """Leave this process so many cores, and its libraries so many threads."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[-threads:]))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    if has_torch():
        import torch

        torch.set_num_threads(threads)


@functools.cache
def gpu() -> str:
    """The name of the GPU that JAX finds, or nothing; asked in a process of its own, which lets go of the card."""
    code = "import jax; print(jax.devices()[0].device_kind if jax.default_backend() == 'gpu' else '')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def torch_device() -> str:
    """Where PyTorch computes: on the GPU in processes in which JAX does."""
    import jax

    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def finished(call: Callable[[], object]) -> Callable[[], object]:
    """The call, which returns when a GPU has done its work and not before."""
    import torch

    if torch_device() == "cpu":
        return call

    def done():
        result = call()
        torch.cuda.synchronize()
        return result

    return done


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return util.find_spec("torch") is not None


def thread_counts() -> list[int]:
    """One thread, and two where there are two cores."""
    return [1, 2] if (os.cpu_count() or 1) > 1 else [1]


def machine() -> str:
    """The machine and the versions in words."""
    words = [f"Python {platform.python_version()}"]
    for name in ("jax", "jaxlib", "numpy", "torch"):
        if name != "torch" or has_torch():
            words.append(f"{name} {metadata.version(name)}")
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{model}, {os.cpu_count()} cores{load}{f', {gpu()}' if gpu() else ''}; {', '.join(words)}"

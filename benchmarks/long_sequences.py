"""What does exact attention of long sequences take: memory as length grows, and time against all queries at once?

A step of Adam on the two-layer encoder of the study `song2024_tasks`, on 16 sequences of random bytes. The workspace is
what the compiler plans for loss and gradient; the peak is that of the process above what it held before the first step,
compilation included. *whole* takes all queries at once, and is planned only where it would not fit. Losses of the steps
are compared before times are.

    python benchmarks/long_sequences.py
"""

import resource
import sys

import common

BATCH, CHUNK = 16, 128
LENGTHS = (1024, 2048, 4096)
CHUNKS = (32, 64, 128, 256)
COMPARED, STEPS = 1024, 2
"""Length at which chunks and whole are timed, and steps of a call."""

WANTED = {"peak": 2.0, "ratio": 1.2}
"""GiB at length 4096, and the time of a step with chunks over that without at length 1024."""


def lanes_of(kernel, length, chunk):
    """One lane of the study, its reviews replaced by random bytes."""
    import numpy as np

    from descentlab._describe import replace_at
    from descentlab.attention import Gaussian, Softmax
    from descentlab.data import Minibatch
    from descentlab.datasets import AbstractDataset
    from descentlab.lanes import Lanes
    from descentlab.objective import Examples, Splits
    from descentlab.probes import Loss
    from descentlab.schedule import Every
    from descentlab.studies.song2024_tasks.experiments import BASE
    from descentlab.tasks import Classification

    class Bytes(AbstractDataset):
        """Random bytes with random classes."""

        length: int
        examples: int = 64

        def load(self):
            random = np.random.default_rng(0)
            tokens = random.integers(1, 257, (self.examples, self.length)).astype(np.int32)
            part = Examples(tokens, random.integers(0, 2, self.examples).astype(np.int32))
            return Splits(part, part, part)

        @property
        def classes(self):
            return ("zero", "one")

        @property
        def vocabulary(self):
            return 257

    changes = {
        "task": Classification(Bytes(length)),
        "data": Minibatch(BATCH),
        "model.attention": {"softmax": Softmax(), "gaussian": Gaussian()}[kernel],
        "model.chunk": chunk,
        "probes": {"loss": Loss(Every(1))},
    }
    experiment = BASE
    for path, value in changes.items():
        experiment = replace_at(experiment, path, value)
    return Lanes((experiment,), (0,))


def planned(lanes):
    """GiB of workspace of loss and gradient."""
    import jax

    from descentlab.experiment import begin

    experiment, key = lanes.first, jax.random.key(0)
    lane = begin(experiment, key=key, stored=lanes.stored)
    params = lane.start
    objective = experiment.data.at(lane.objective, experiment.task, lane.source(lanes.stored), 0, key=key)
    program = jax.jit(jax.value_and_grad(objective.loss)).lower(params).compile()
    return program.memory_analysis().temp_size_in_bytes / 2**30


def peak():
    """The largest memory that this process had so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def stepping(lanes):
    """A call that makes some steps and returns their losses, and the peak before the first."""
    import jax

    from descentlab.training import advance, prepare

    constants, carry = prepare(lanes)
    jax.block_until_ready((constants, carry, lanes.stored))
    return lambda: advance(lanes, constants, carry, 0, STEPS).records["loss"][0, :STEPS].block_until_ready(), peak()


def measure(kernel, length, chunks, seconds):
    """Times and peak of the chunks that are run; where nothing is, the planned workspace alone."""
    if not seconds:
        return {"planned": planned(lanes_of(kernel, length, chunks[0]))}
    calls, before = {}, None
    for chunk in chunks:
        calls[str(chunk)], held = stepping(lanes_of(kernel, length, chunk))
        before = held if before is None else before
    first, *others = (call() for call in calls.values())
    for losses in others:
        common.agree(losses, first, "float32")
    return {"times": common.compete(calls, seconds=seconds, least=2), "peak": peak() - before}


def memory_row(kernel, length, threads, seconds):
    whole, parts = (
        common.in_process(__file__, threads, kernel=kernel, length=length, chunks=[one], seconds=0)
        for one in (None, CHUNK)
    )
    found = common.in_process(__file__, threads, kernel=kernel, length=length, chunks=[CHUNK], seconds=seconds)
    step = found["times"][str(CHUNK)]
    cells = [kernel, length, f"{whole['planned']:.2f}", f"{parts['planned']:.2f}", f"{found['peak']:.2f}"]
    cells += [
        WANTED["peak"] if length == max(LENGTHS) else "",
        f"{step['wall'] / STEPS:.2f}",
        f"{step['cpu'] / STEPS:.2f}",
    ]
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def time_rows(kernel, threads, seconds):
    chunks = [None, *CHUNKS]
    times = common.in_process(__file__, threads, kernel=kernel, length=COMPARED, chunks=chunks, seconds=seconds)[
        "times"
    ]
    for chunk in chunks:
        ratios = [times[str(chunk)][clock] / times["None"][clock] for clock in ("wall", "cpu")]
        cells = [
            kernel,
            threads,
            chunk or "whole",
            f"{times[str(chunk)]['wall'] / STEPS:.3f}",
            f"{times[str(chunk)]['cpu'] / STEPS:.3f}",
        ]
        cells += [*(f"{ratio:.2f}" for ratio in ratios), "" if chunk is None else WANTED["ratio"]]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def main(seconds):
    print(f"# Long sequences\n\n{common.machine()}\n\n## Memory, GiB: {BATCH} sequences, {CHUNK} queries at a time\n")
    print("| kernel | length | workspace, whole | workspace, chunks | peak, chunks | wanted | s a step, wall | CPU |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    threads = common.thread_counts()
    for kernel in ("softmax", "gaussian"):
        for length in LENGTHS:
            memory_row(kernel, length, threads[-1], seconds)
    print(f"\n## Time of a step at length {COMPARED}, {BATCH} sequences\n")
    print("| kernel | threads | queries at a time | s a step, wall | CPU | over whole, wall | CPU | wanted |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for kernel in ("softmax", "gaussian"):
        for count in threads:
            time_rows(kernel, count, seconds)


if __name__ == "__main__":
    common.serve(measure) or main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)

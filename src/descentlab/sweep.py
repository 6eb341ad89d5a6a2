"""Many experiments under many seeds: grouped by structure, in lane batches, resumable.

Experiments equal up to floats run as one program. Their lanes are cut into batches that respect a memory bound; the
plan of batches is written down before the first step, because the size of a batch decides bits, and a plan that is
found again is continued. One thread computes: two programs that are compiled or run at once can wait for each other's
threads for ever (seen with JAX 0.10 on two cores).
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import equinox as eqx
import filelock
import jax
import numpy as np
from jax.extend.core import Jaxpr
from safetensors.numpy import load, save

from descentlab._describe import replace_at, structure
from descentlab._memory import inner_programs
from descentlab.experiment import Experiment, check
from descentlab.probes import HeldOut, Loss
from descentlab.store import Store, versions
from descentlab.train import Carry, Lanes, check_lanes, prepare, segments, trace_iteration, trajectories
from descentlab.trajectory import Trajectory, joined

__all__ = ["Request", "grid", "run"]

_log = logging.getLogger(__name__)

MEMORY = 2 * 1024**3
"""Bytes that the lanes of one batch may take; fixed, not read off the machine, since bits depend on the batch."""

SEGMENT_SECONDS = 1.0
"""A segment of steps takes about this long: so often come progress, checkpoints and the chance to stop."""

SIGNAL_SECONDS = 0.2
"""Ctrl-C is noticed within this time."""

Progress = Callable[[int, int, str], None]
"""Called with lane-steps done, lane-steps in all, and what was recorded last, in words."""


@dataclasses.dataclass(frozen=True)
class Request:
    """An experiment and the seeds under which it is wanted."""

    experiment: Experiment
    seeds: tuple[int, ...]


def grid(base: Experiment, axes: dict[str, Sequence[Any]]) -> list[Experiment]:
    """Every combination of the given field values, the last axis fastest.

    Args:
        base: the experiment whose fields are replaced.
        axes: values by dotted path, such as `{"optimizer.lr": [0.1, 0.2]}`.

    Returns:
        One experiment a combination.

    Raises:
        ValueError: if a path names no field, or a value is refused.
    """
    experiments = []
    for values in product(*axes.values()):
        experiment = base
        for path, value in zip(axes, values, strict=True):
            experiment = replace_at(experiment, path, value)
        experiments.append(experiment)
    return experiments


def _bytes(kind: Any) -> int:
    return kind.size * kind.dtype.itemsize if hasattr(kind, "size") else 0


def _intermediates(jaxpr: Jaxpr) -> int:
    """Bytes of everything a program computes on the way, each loop body counted once: a bound on its workspace."""
    total = 0
    for equation in jaxpr.eqns:
        total += sum(_bytes(var.aval) for var in equation.outvars)
        total += sum(map(_intermediates, inner_programs(equation)))
    return total


def lanes_within(experiment: Experiment, memory: int) -> int:
    """How many lanes of an experiment fit in so many bytes; at least one."""
    return int(np.clip(memory // max(1, _intermediates(trace_iteration(experiment).jaxpr)), 1, 4096))


@dataclasses.dataclass(frozen=True)
class _Lane:
    experiment: Experiment
    seed: int

    @property
    def name(self) -> str:
        return f"{self.experiment.digest}/{self.seed}"

    @property
    def origin(self) -> "_Lane | None":
        """The lane from whose end this one starts."""
        before = self.experiment.origin
        return None if before is None else _Lane(before, self.seed)

    @property
    def stage(self) -> int:
        """How many lanes come before this one, each the origin of the next."""
        return 0 if self.origin is None else 1 + self.origin.stage


Ends = tuple[Mapping[str, np.ndarray], ...]
"""The blocks at the end of the origin of each lane; empty where lanes have none."""


@dataclasses.dataclass
class _Work:
    """What the workers share."""

    store: Store | None
    memory: int
    progress: Progress | None
    total: int
    results: dict[str, Trajectory] = dataclasses.field(default_factory=dict)
    done: int = 0
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)
    guard: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def advance(self, steps: int, note: str = "") -> None:
        with self.guard:
            self.done += steps
            if self.progress is not None:
                self.progress(self.done, self.total, note)


def _latest(experiment: Experiment, carry: Carry) -> str:
    """Loss and held-out accuracy where they were last recorded, the mean over the lanes of a batch."""
    said = []
    for name, probe in experiment.probes.items():
        if isinstance(probe, Loss | HeldOut):
            label, part = ("accuracy", np.s_[:, :, 1]) if isinstance(probe, HeldOut) else ("loss", np.s_[:])
            values = np.asarray(carry.records[name])[part]
            known = np.flatnonzero(np.isfinite(values).any(axis=0))
            said += [f"{label} {np.nanmean(values[:, known[-1]]):.3g}"] if known.size else []
    return ", ".join(said)


def _grouped(requests: Iterable[Request]) -> list[list[_Lane]]:
    """The distinct lanes of the requests and of all their origins, one list a structure, origins first.

    An origin that is asked for as well is one lane, in the batch of its structure: where results are kept does not
    change which lanes are batched together, and so no bits.
    """
    groups: dict[str, dict[str, _Lane]] = {}
    for request in requests:
        experiment: Experiment | None = request.experiment
        while experiment is not None:
            group = groups.setdefault(structure(experiment), {})
            for seed in request.seeds:
                lane = _Lane(experiment, seed)
                group.setdefault(lane.name, lane)
            experiment = experiment.origin
    return sorted((list(group.values()) for group in groups.values()), key=lambda group: group[0].stage)


def _absent(lanes: list[_Lane], store: Store | None) -> list[_Lane]:
    if store is None:
        return lanes
    kept = {lane.experiment.digest: lane.experiment for lane in lanes}
    seeds = {digest: store.has(experiment) for digest, experiment in kept.items()}
    return [lane for lane in lanes if lane.seed not in seeds[lane.experiment.digest]]


def _plan(lanes: list[_Lane], work: _Work) -> tuple[str, list[list[_Lane]]]:
    """The batches of a group: those written down by an earlier run of the same request, or new ones.

    All batches have one size; the last repeats its first lane to fill it.
    """
    identity = json.dumps([versions(), work.memory, sorted(lane.name for lane in lanes)]).encode()
    name = hashlib.sha256(identity).hexdigest()[:32]
    by_name = {lane.name: lane for lane in lanes}
    path = None if work.store is None else work.store.root / ".progress" / name / "plan.json"
    if path is not None and path.exists():
        return name, [[by_name[one] for one in batch] for batch in json.loads(path.read_text())]
    absent = list({lane.name: lane for lane in _absent(lanes, work.store)}.values())
    size = min(len(absent), lanes_within(absent[0].experiment, work.memory))
    batches = [absent[i : i + size] for i in range(0, len(absent), size)]
    batches[-1] += [batches[-1][0]] * (size - len(batches[-1]))
    if work.store is not None:
        text = json.dumps([[lane.name for lane in batch] for batch in batches])
        work.store.write(work.store.root / ".progress" / name, {"plan.json": text.encode()})
    return name, batches


def _checkpoint(work: _Work, plan: str, index: int) -> Path | None:
    return None if work.store is None else work.store.root / ".progress" / plan / f"batch-{index}.safetensors"


def _save(store: Store, path: Path, step: int, carry: Carry) -> None:
    """Write a checkpoint beside and move it over the last one."""
    leaves = jax.tree.leaves(eqx.filter(carry, eqx.is_array))
    arrays = {f"{i:04d}": np.ascontiguousarray(leaf) for i, leaf in enumerate(leaves)}
    store.replace_file(path, save(arrays | {"step": np.asarray(step)}))


def _resume(path: Path | None, carry: Carry) -> tuple[int, Carry]:
    """The step and carry of a checkpoint, or the start where there is none."""
    if path is None or not path.exists():
        return 0, carry
    arrays = load(path.read_bytes())
    step = int(arrays.pop("step"))
    dynamic, static = eqx.partition(carry, eqx.is_array)
    kept = jax.tree.unflatten(jax.tree.structure(dynamic), [arrays[name] for name in sorted(arrays)])
    return step, eqx.combine(kept, static)


def _compute(batch: list[_Lane], ends: Ends, checkpoint: Path | None, work: _Work) -> list[Trajectory]:
    """All steps of a batch, in segments; a stopped one leaves its checkpoint."""
    lanes = Lanes(tuple(lane.experiment for lane in batch), tuple(lane.seed for lane in batch), ends)
    stop = lanes.first.steps + 1
    constants, fresh = prepare(lanes)
    step, begun = _resume(checkpoint, fresh)
    carry = begun
    work.advance(step * len(batch))
    saved = time.monotonic()
    for until, carry in segments(lanes, constants, begun, step, SEGMENT_SECONDS):
        work.advance((until - step) * len(batch), _latest(lanes.first, carry))
        step = until
        stopping = work.stop.is_set() and step < stop
        due = step < stop and (stopping or time.monotonic() - saved > SEGMENT_SECONDS)
        if work.store is not None and checkpoint is not None and due:
            _save(work.store, checkpoint, step, carry)
            saved = time.monotonic()
        if stopping:
            raise KeyboardInterrupt
    return trajectories(lanes, constants, carry)


@contextlib.contextmanager
def _alone(lanes: list[_Lane], work: _Work) -> Iterator[None]:
    """Hold the lock of a structure; while another process has it, say so, wait, and let the user stop."""
    if work.store is None:
        yield
        return
    lock = work.store.lock(structure(lanes[0].experiment))
    told = False
    while True:
        try:
            lock.acquire(timeout=0.2 if told else 0)
            break
        except filelock.Timeout:
            if not told:
                _log.warning("waiting for another process that computes the same structure in %s", work.store.root)
            told = True
        if work.stop.is_set():
            raise KeyboardInterrupt
    try:
        yield
    finally:
        lock.release()


def _run_group(group: list[_Lane], work: _Work) -> None:
    """All lanes of one structure; they end in the store, or without one among the results."""
    with _alone(group, work):
        if not _absent(group, work.store):
            return
        plan, batches = _plan(group, work)
        for index, batch in enumerate(batches):
            if not _absent(batch, work.store):
                continue
            begun = time.monotonic()
            found = _compute(batch, _ends(batch, work), _checkpoint(work, plan, index), work)
            results = {lane.name: result for lane, result in zip(batch, found, strict=True)}
            if work.store is None:
                work.results |= results
            else:
                _keep(batch, results, work.store, time.monotonic() - begun)
        if work.store is not None:
            work.store.remove(work.store.root / ".progress" / plan)


def _by_experiment(lanes: Iterable[_Lane]) -> list[Request]:
    """The distinct lanes, those of one experiment together."""
    found: dict[str, tuple[Experiment, dict[int, None]]] = {}
    for lane in lanes:
        found.setdefault(lane.experiment.digest, (lane.experiment, {}))[1][lane.seed] = None
    return [Request(experiment, tuple(seeds)) for experiment, seeds in found.values()]


def _ends(batch: list[_Lane], work: _Work) -> Ends:
    """Where the lanes of a batch start, which an earlier group of this call or a stored run has found."""
    origins = [lane.origin for lane in batch if lane.origin is not None]
    found: dict[str, Mapping[str, np.ndarray]] = {}
    for one in _by_experiment(origins):
        ends = _result(one, work).ends()
        found |= {_Lane(one.experiment, seed).name: end for seed, end in zip(one.seeds, ends, strict=True)}
    return tuple(found[lane.name] for lane in origins)


def _keep(batch: list[_Lane], results: Mapping[str, Trajectory], store: Store, seconds: float) -> None:
    """Put a batch's lanes in the store, the seeds of one experiment together."""
    for one in _by_experiment(_absent(batch, store)):
        lanes = [results[_Lane(one.experiment, seed).name] for seed in one.seeds]
        store.put(one.experiment, joined(lanes), wall_time=seconds)


def run(
    requests: Sequence[Request],
    *,
    store: Store | None = None,
    progress: Progress | None = None,
    memory: int = MEMORY,
) -> list[Trajectory]:
    """Train what is asked for and not yet kept.

    Args:
        requests: experiments with their seeds.
        store: where finished lanes are looked up and kept; without one nothing outlives the call.
        progress: told how far the work is.
        memory: bytes that the lanes of one batch may take.

    Returns:
        One trajectory a request, its lanes in the order of its seeds.

    Raises:
        ValueError: if an experiment does not fit together; nothing has been computed or written then.
        StoreError: if the store cannot be written.
        KeyboardInterrupt: if the user stops; checkpoints are written, and the same call continues from them.
    """
    for request in requests:
        check_lanes([request.experiment], len(request.seeds))
    for experiment in {structure(r.experiment): r.experiment for r in requests}.values():
        check(experiment)
    groups = _grouped(requests)
    absent = [group for group in groups if _absent(group, store)]
    if store is not None and absent:
        store.check_writable()
    total = sum((lane.experiment.steps + 1) for group in absent for lane in _absent(group, store))
    work = _Work(store, memory, progress, total)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        futures = [pool.submit(_run_group, group, work) for group in absent]
        try:
            for future in _finished(futures):
                future.result()
        except BaseException:
            work.stop.set()
            for future in futures:
                future.cancel()
            raise
    return [_result(request, work) for request in requests]


def _finished(futures: list[concurrent.futures.Future[None]]) -> Iterator[concurrent.futures.Future]:
    """The futures as they end.

    The wait is short and repeated, because a signal that the system hands to another thread wakes no long one.
    """
    waiting = set(futures)
    while waiting:
        done, waiting = concurrent.futures.wait(
            waiting, timeout=SIGNAL_SECONDS, return_when=concurrent.futures.FIRST_COMPLETED
        )
        yield from done


def _result(request: Request, work: _Work) -> Trajectory:
    if work.store is not None:
        return work.store.get(request.experiment, request.seeds)
    return joined([work.results[_Lane(request.experiment, seed).name] for seed in request.seeds])

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
from typing import Any

import filelock
import numpy as np
from jax.extend.core import Jaxpr

from descentlab import checkpoint
from descentlab._describe import replace_at, structure
from descentlab._memory import inner_programs
from descentlab.checkpoint import Checkpoint, SweepPlan
from descentlab.experiment import Experiment, check
from descentlab.lanes import Lanes
from descentlab.parts import State, versions
from descentlab.probes import HeldOut, Loss
from descentlab.step import Carry
from descentlab.store import Store
from descentlab.training import check_lanes, prepare, segments, trace_iteration, trajectories
from descentlab.trajectory import Series, Trajectory, joined

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
        Mistake: if a path names no field, or a value is refused.
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
class _SweepLane:
    experiment: Experiment
    seed: int
    digest: str
    origin: "_SweepLane | None" = None
    """The lane from whose end this one starts."""

    @property
    def name(self) -> str:
        return f"{self.digest}/{self.seed}"

    @property
    def stage(self) -> int:
        """How many lanes come before this one, each the origin of the next."""
        return 0 if self.origin is None else 1 + self.origin.stage


def _lanes(experiment: Experiment, seeds: Sequence[int]) -> list[_SweepLane]:
    """The lanes of an experiment, and through them those of its origins."""
    digest, before = experiment.digest, experiment.origin
    origins = [None] * len(seeds) if before is None else _lanes(before, seeds)
    return [_SweepLane(experiment, seed, digest, origin) for seed, origin in zip(seeds, origins, strict=True)]


Ends = tuple[Mapping[str, np.ndarray], ...]
"""The blocks at the end of the origin of each lane; empty where lanes have none."""


@dataclasses.dataclass
class _Shared:
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
            series = Series(
                probe.when.steps(experiment.steps), np.asarray(carry.records[name]), probe.axes(carry.params)
            )
            label = "accuracy" if isinstance(probe, HeldOut) else "loss"
            values = series.sel(quantity=label).values if series.axes else series.values
            known = np.flatnonzero(np.isfinite(values).any(axis=0))
            said += [f"{label} {np.nanmean(values[:, known[-1]]):.3g}"] if known.size else []
    return ", ".join(said)


def _grouped(requests: Iterable[Request]) -> list[list[_SweepLane]]:
    """The distinct lanes of the requests and of all their origins, one list a structure, origins first.

    An origin that is asked for as well is one lane, in the batch of its structure: where results are kept does not
    change which lanes are batched together, and so no bits.
    """
    groups: dict[str, dict[str, _SweepLane]] = {}
    for request in requests:
        lanes = _lanes(request.experiment, request.seeds)
        while lanes:
            group = groups.setdefault(structure(lanes[0].experiment), {})
            for lane in lanes:
                group.setdefault(lane.name, lane)
            lanes = [lane.origin for lane in lanes if lane.origin is not None]
    return sorted((list(group.values()) for group in groups.values()), key=lambda group: group[0].stage)


def _absent(lanes: list[_SweepLane], store: Store | None) -> list[_SweepLane]:
    if store is None:
        return lanes
    seeds = {digest: store.seeds(digest) for digest in dict.fromkeys(lane.digest for lane in lanes)}
    return [lane for lane in lanes if lane.seed not in seeds[lane.digest]]


def _batches(lanes: list[_SweepLane], memory: int) -> list[list[_SweepLane]]:
    """Lanes in batches of one size; the last repeats its first lane to fill it."""
    size = min(len(lanes), lanes_within(lanes[0].experiment, memory))
    batches = [lanes[i : i + size] for i in range(0, len(lanes), size)]
    batches[-1] += [batches[-1][0]] * (size - len(batches[-1]))
    return batches


def _compute(batch: list[_SweepLane], ends: Ends, checkpoint: Checkpoint | None, work: _Shared) -> list[Trajectory]:
    """All steps of a batch, in segments; a stopped one leaves its checkpoint."""
    lanes = Lanes(tuple(lane.experiment for lane in batch), tuple(lane.seed for lane in batch), ends)
    stop = lanes.first.steps + 1
    constants, fresh = prepare(lanes)
    step, begun = (0, fresh) if checkpoint is None else checkpoint.resume(fresh)
    carry = begun
    work.advance(step * len(batch))
    saved = time.monotonic()
    for until, carry in segments(lanes, constants, begun, step, SEGMENT_SECONDS):
        work.advance((until - step) * len(batch), _latest(lanes.first, carry))
        step = until
        stopping = work.stop.is_set() and step < stop
        due = step < stop and (stopping or time.monotonic() - saved > SEGMENT_SECONDS)
        if checkpoint is not None and due:
            checkpoint.save(step, carry, lanes.first)
            saved = time.monotonic()
        if stopping:
            raise KeyboardInterrupt
    return trajectories(lanes, constants, carry)


@contextlib.contextmanager
def _alone(name: str, store: Store, stop: threading.Event) -> Iterator[None]:
    """Hold the lock of a structure; while another process has it, say so, wait, and let the user stop."""
    lock = store.lock(name)
    told = False
    while True:
        try:
            lock.acquire(timeout=0.2 if told else 0)
            break
        except filelock.Timeout:
            if not told:
                _log.warning("waiting for another process that computes the same structure in %s", store.root)
            told = True
        if stop.is_set():
            raise KeyboardInterrupt
    try:
        yield
    finally:
        lock.release()


def _run_group(group: list[_SweepLane], work: _Shared) -> None:
    """All lanes of one structure; they end in the store, or without one among the results."""
    if work.store is not None:
        _fill(group, work, work.store)
        return
    for batch in _batches(group, work.memory):
        found = _compute(batch, _ends(batch, work), None, work)
        work.results |= dict(zip([lane.name for lane in batch], found, strict=True))


def _ends(batch: list[_SweepLane], work: _Shared) -> Ends:
    """Where the lanes of a batch start, which an earlier group of this call or a stored run has found."""
    origins = [lane.origin for lane in batch if lane.origin is not None]
    together: dict[str, dict[str, _SweepLane]] = {}
    for lane in origins:
        together.setdefault(lane.digest, {})[lane.name] = lane
    found: dict[str, Mapping[str, np.ndarray]] = {}
    for lanes in together.values():
        found |= dict(zip(lanes, _result(list(lanes.values()), work).ends(), strict=True))
    return tuple(found[lane.name] for lane in origins)


def _fill(group: list[_SweepLane], work: _Shared, store: Store) -> None:
    """Compute the lanes of a structure that the store lacks, as an earlier run of the same request has planned it."""
    name = structure(group[0].experiment)
    identity = json.dumps([versions(), work.memory, sorted(lane.name for lane in group)]).encode()
    plan = SweepPlan(store, name, hashlib.sha256(identity).hexdigest()[:32])
    by_name = {lane.name: lane for lane in group}
    with _alone(name, store, work.stop):
        for _ in range(2):  # a plan lacks the lanes that were kept when it was made and have been damaged since
            absent = _absent(group, store)
            if not absent:
                return
            batches = plan.found()
            if batches is None:
                batches = [[lane.name for lane in batch] for batch in _batches(absent, work.memory)]
                plan.write(batches, {lane.digest: lane.experiment for lane in group})
            left = {lane.name for lane in absent}
            for number, names in enumerate(batches):
                if left.intersection(names):
                    _compute_and_keep([by_name[one] for one in names], left, plan.checkpoint(number, names), work)
            plan.forget()


def _compute_and_keep(batch: list[_SweepLane], left: set[str], checkpoint: Checkpoint, work: _Shared) -> None:
    """Compute a batch and put those of its lanes in the store that are left, and no longer are then."""
    begun = time.monotonic()
    results = zip(batch, _compute(batch, _ends(batch, work), checkpoint, work), strict=True)
    found = {lane.name: (lane.experiment, result) for lane, result in results if lane.name in left}
    checkpoint.store.put_all(found.values(), wall_time=time.monotonic() - begun)
    left -= found.keys()


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
        Mistake: if an experiment does not fit together; nothing has been computed or written then.
        StoreError: if the store cannot be written.
        KeyboardInterrupt: if the user stops; checkpoints are written, and the same call continues from them.
    """
    for request in requests:
        check_lanes([request.experiment], len(request.seeds))
    for experiment in {structure(r.experiment): r.experiment for r in requests}.values():
        check(experiment)
    groups = _grouped(requests)
    if store is not None:
        store.clean()
        checkpoint.clean(store)
        _mend({lane.digest: lane.experiment for group in groups for lane in group}.values(), store)
    lacking = [(group, lanes) for group in groups if (lanes := _absent(group, store))]
    if store is not None and lacking:
        store.check_writable()
    work = _Shared(store, memory, progress, sum(lane.experiment.steps + 1 for _, lanes in lacking for lane in lanes))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        futures = [pool.submit(_run_group, group, work) for group, _ in lacking]
        try:
            for future in _finished(futures):
                future.result()
        except BaseException:
            work.stop.set()
            for future in futures:
                future.cancel()
            raise
    return [_result(_lanes(request.experiment, request.seeds), work) for request in requests]


def _mend(experiments: Iterable[Experiment], store: Store) -> None:
    """Set aside what is damaged of the wanted runs, and say so; say which are not verified."""
    found = store.mend(list(experiments))
    for part in found:
        if part.state == State.DAMAGED:
            _log.warning("damaged, set aside as %s (%s); it is computed again", part.path, part.reason)
    unverified = sum(part.state == State.UNVERIFIED for part in found)
    if unverified:
        said = "%d folders of wanted runs in %s were stored before there were checksums: they are not verified"
        _log.warning(said, unverified, store.root)


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


def _result(lanes: list[_SweepLane], work: _Shared) -> Trajectory:
    """The trajectory of lanes of one experiment."""
    if work.store is not None:
        return work.store.get(lanes[0].experiment, [lane.seed for lane in lanes])
    return joined([work.results[lane.name] for lane in lanes])

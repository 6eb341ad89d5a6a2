"""The one training loop: many lanes of one structure as one compiled program.

A lane is an experiment with a seed. Lanes whose experiments are equal up to their floats share a program, in which
floats and seeds are the mapped axis. A run is made in segments of steps with traced bounds; the carry between two
segments is all that a continued run needs, and cutting a run into segments does not change its bits.
"""

import functools
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from descentlab._arithmetic import arithmetic
from descentlab._memory import TooLarge, explained, in_words, machine
from descentlab._tree import named
from descentlab._types import Array, PyTree
from descentlab.axis import check_axes
from descentlab.experiment import Experiment, Lane, begin, check, record_bytes, stored
from descentlab.lanes import Lanes, experiment_of
from descentlab.objective import Splits
from descentlab.status import Status
from descentlab.step import Carry, initial_carry, moved, one_step
from descentlab.trajectory import Series, Trajectory, joined

__all__ = [
    "advance",
    "begun",
    "check_lanes",
    "prepare",
    "segments",
    "trace_iteration",
    "train",
    "trajectories",
]

_log = logging.getLogger(__name__)

Bounds = tuple[Array | np.ndarray, Array | np.ndarray]
"""The first step of a segment, and the one it stops before."""

TOGETHER_BYTES = 2**18
"""Data and start of lanes that step together on a processor; what a step computes takes about twenty times as much."""

LANE_BYTES = 2048
"""What a lane takes beside its records and blocks: its name, its definition's floats, how it ended."""

LONG = 30 * 24 * 3600
"""Seconds from which on it is said how long a run takes."""

MAPS_SHARE = 0.5
"""Share of the memory maps that Linux gives a process from which compiled programs are dropped."""


# A start is made once and is mostly random numbers, which compile six times faster unoptimised.
# Equinox passes further arguments on to `jax.jit`; its overloads name none of them.
@eqx.filter_jit(compiler_options={"xla_backend_optimization_level": 0})  # pyright: ignore[reportCallIssue]
def _prepare(varying: PyTree, rest: PyTree, held: Splits | None) -> tuple[Lane, Carry]:
    return eqx.filter_vmap(functools.partial(_begin, rest, held))(*varying)


def _begin(rest: PyTree, held: Splits | None, floats: PyTree, seed: Array, end: PyTree) -> tuple[Lane, Carry]:
    """One lane before its first step."""
    lane = _lane(rest, held, floats, seed, end)
    return lane, initial_carry(experiment_of(floats, rest), lane, held)


@eqx.filter_jit(compiler_options={"xla_backend_optimization_level": 0})  # pyright: ignore[reportCallIssue]
def _begun(varying: PyTree, rest: PyTree, held: Splits | None) -> Lane:
    return eqx.filter_vmap(functools.partial(_lane, rest, held))(*varying)


def _lane(rest: PyTree, held: Splits | None, floats: PyTree, seed: Array, end: PyTree) -> Lane:
    """What stays the same along the run of one lane."""
    return begin(experiment_of(floats, rest), key=jax.random.key(seed), stored=held, end=end)


@eqx.filter_jit
def _advance(varying: PyTree, shared: PyTree, carry: Carry, bounds: Bounds, together: int | None) -> Carry:
    """Lanes that step together have a common axis in their steps; one that steps by itself has none.

    A mapped axis, even of one lane, makes the compiler transpose gradients and attention matrices, a third of the step
    of an encoder. Tiny models are faster with it.
    """
    lanes = carry.status.shape[0]
    arrays, structure = eqx.partition((varying, carry), eqx.is_array)

    def some(arrays: PyTree) -> PyTree:
        return eqx.filter(_segment(shared, bounds, *eqx.combine(arrays, structure)), eqx.is_array)

    if together == lanes:
        return eqx.combine(some(arrays), structure[1])
    if together is None and lanes == 1:  # a loop over one lane would have to be compiled
        done = some(jax.tree.map(lambda array: array[0], arrays))
        return eqx.combine(jax.tree.map(lambda array: array[None], done), structure[1])
    shape = (lanes,) if together is None else (lanes // together, together)
    turns = jax.tree.map(lambda array: array.reshape(*shape, *array.shape[1:]), arrays)
    done = jax.tree.map(lambda array: array.reshape(lanes, *array.shape[len(shape) :]), jax.lax.map(some, turns))
    return eqx.combine(done, structure[1])


def _together(lane_bytes: int, lanes: int) -> int | None:
    """How many lanes, each with so many bytes of data and start, step together; the others wait for their turn.

    Lanes of one step share the dispatch of its operations, which counts for tiny models. A processor reads what does
    not fit in its cache from memory in each of these operations, which doubles the time of larger ones: `None` has
    each of them step by itself.
    """
    if jax.default_backend() != "cpu":
        return lanes
    if lane_bytes > TOGETHER_BYTES:
        return None
    most = TOGETHER_BYTES // max(1, lane_bytes)
    return max(count for count in range(1, min(lanes, most) + 1) if lanes % count == 0)


def _lane_bytes(constants: Lane) -> int:
    """Bytes of the data and the start of one lane."""
    held = jax.tree.leaves((constants.objective, constants.start))
    return sum(leaf.nbytes // leaf.shape[0] for leaf in held if eqx.is_array(leaf))


def _segment(shared: tuple[PyTree, Splits | None], bounds: Bounds, varying: tuple[PyTree, Lane], carry: Carry) -> Carry:
    """The steps between two bounds of one lane, or of some with a leading axis, until all of them have ended."""
    rest, held = shared
    arrays, structure = eqx.partition(carry, eqx.is_array)

    def iterate(varying: tuple[PyTree, Lane], arrays: PyTree, step: Array) -> PyTree:
        floats, lane = varying
        after = one_step(experiment_of(floats, rest), lane, held, step, eqx.combine(arrays, structure))
        return eqx.filter(after, eqx.is_array)

    if carry.status.ndim:  # inside the loop, so that it is one loop with one end
        iterate = eqx.filter_vmap(iterate, in_axes=(eqx.if_array(0), eqx.if_array(0), None))

    def unfinished(at: tuple[Array, PyTree]) -> Array:
        step, arrays = at
        return (step < bounds[1]) & jnp.any(arrays.ended < 0)

    def body(at: tuple[Array, PyTree]) -> tuple[Array, PyTree]:
        step, arrays = at
        return step + 1, iterate(varying, arrays, step)

    return eqx.combine(jax.lax.while_loop(unfinished, body, (jnp.asarray(bounds[0]), arrays))[1], structure)


def _drawn(lanes: Lanes) -> tuple[tuple[PyTree, np.ndarray, PyTree], PyTree]:
    """What decides the start of each lane, and what all share."""
    floats, rest = lanes.varying()
    return (floats, np.asarray(lanes.seeds, dtype=np.uint32), lanes.stacked_ends()), rest


def begun(lanes: Lanes) -> Lane:
    """What stays the same along the run of each lane, with a leading lane axis; nothing is trained."""
    with lanes.precision(), explained():
        return _begun(*_drawn(lanes), lanes.stored)


def prepare(lanes: Lanes) -> tuple[Lane, Carry]:
    """What stays the same along the run of each lane, and the carry before step 0.

    Raises:
        Mistake: if a probe does not name the axes of what it records.
    """
    _make_room()
    with lanes.precision(), explained():
        constants, carry = _prepare(*_drawn(lanes), lanes.stored)
    for name, probe in lanes.first.probes.items():  # outside of the program: labels may say what floats are
        shape = carry.records[name].shape[2:]
        check_axes(f"the probe {name!r} ({type(probe).__name__})", probe.axes(carry.params), shape)
    return constants, carry


def _make_room() -> None:
    """Drop JAX's compiled programs where they hold too many memory maps; a process that has none left crashes.

    A structure's programs hold some three hundred, and JAX keeps them: two hundred structures would be the end.
    """
    try:
        most = int(Path("/proc/sys/vm/max_map_count").read_text())
        used = Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:  # only Linux has a limit
        return
    if used > MAPS_SHARE * most:
        jax.clear_caches()


def advance(lanes: Lanes, constants: Lane, carry: Carry, first: int, stop: int) -> Carry:
    """The carry after the points of steps `first` to `stop` - 1 were recorded and moved on from.

    The point of the last step is recorded and not moved on from, so a whole run goes from 0 to `steps` + 1.
    """
    with lanes.precision(), explained():
        floats, rest = lanes.varying()
        bounds = (np.asarray(first, np.int32), np.asarray(stop, np.int32))
        together = None if lanes.stored is not None else _together(_lane_bytes(constants), len(lanes.seeds))
        return _advance((floats, constants), (rest, lanes.stored), carry, bounds, together)


def segments(
    lanes: Lanes, constants: Lane, carry: Carry, first: int, seconds: float = 1.0
) -> Iterator[tuple[int, Carry]]:
    """Every remaining segment of a run: the step that comes next, and the carry before it.

    Once all lanes have ended no step comes next, as after the last one. Segments grow until one takes as long as
    wanted. A run that will take longer than a month is announced, and goes on.

    Args:
        lanes: what is run.
        constants: of `prepare`.
        carry: before step `first`.
        first: the step to begin with.
        seconds: wanted length of a segment.
    """
    step, stop, length = first, lanes.first.steps + 1, 16
    told = True  # the first segment is compiled, and measures nothing
    while step < stop:
        until = min(stop, step + length)
        clock = time.monotonic()
        with explained():
            carry = jax.block_until_ready(advance(lanes, constants, carry, step, until))
        pace = (time.monotonic() - clock) / (until - step)
        if not told and pace * (stop - until) > LONG:
            days = pace * (stop - until) / 86400
            _log.warning(
                "%d steps are left, which at %.2g s each take %.0f days; the run goes on", stop - until, pace, days
            )
        told = step > first
        length = max(length, min(16 * length, int(seconds / pace)))
        step = stop if np.all(np.asarray(carry.ended) >= 0) else until
        yield step, carry


def trace_iteration(experiment: Experiment) -> ClosedJaxpr:
    """The program of one step of one lane, traced and not compiled."""
    with arithmetic(experiment.precision):

        def once(seed: Array, held: Splits | None) -> PyTree:
            lane, carry = _begin(experiment, held, None, seed, None)
            return eqx.filter(one_step(experiment, lane, held, jnp.asarray(0, jnp.int32), carry), eqx.is_array)

        return jax.make_jaxpr(once)(np.uint32(0), stored(experiment))


def _conclude(lanes: Lanes, constants: Lane, carry: Carry) -> Carry:
    """The carry after all steps with what is recorded at the end of each lane, where its parameters still are."""
    if not any(probe.when.at_end for probe in lanes.first.probes.values()):
        return carry
    with lanes.precision(), explained():
        floats, rest = lanes.varying()
        return _look_at_ends((floats, constants), (rest, lanes.stored), carry)


@eqx.filter_jit
def _look_at_ends(varying: PyTree, shared: PyTree, carry: Carry) -> Carry:
    rest, held = shared
    arrays, structure = eqx.partition((*varying, carry), eqx.is_array)

    def look(arrays: PyTree) -> dict[str, Array]:
        floats, lane, carry = eqx.combine(arrays, structure)
        experiment = experiment_of(floats, rest)
        step = jnp.where(carry.ended < 0, experiment.steps, carry.ended)
        point, _ = moved(experiment, lane, held, step, carry)
        probes = {name: probe for name, probe in experiment.probes.items() if probe.when.at_end}
        return {name: probe.look(point, carry.memory[name])[0][None] for name, probe in probes.items()}

    return eqx.tree_at(lambda whole: whole.records, carry, carry.records | jax.lax.map(look, arrays))


def _ended(model: PyTree, lane: int) -> dict[str, np.ndarray]:
    """The blocks of one lane, with a lane axis of length one."""
    return {name: np.asarray(array)[None] for name, array in named(jax.tree.map(lambda a: a[lane], model)).items()}


def trajectories(lanes: Lanes, constants: Lane, carry: Carry) -> list[Trajectory]:
    """The result of each lane, once all steps are made; values after a lane ended early are NaN."""
    model = jax.tree.map(np.asarray, eqx.filter(constants.objective.model(carry.params), eqx.is_array))
    carry = jax.tree.map(np.asarray, _conclude(lanes, constants, carry))
    results = []
    for i, (experiment, seed) in enumerate(zip(lanes.experiments, lanes.seeds, strict=True)):
        ended = int(carry.ended[i])
        series = {}
        for name, probe in experiment.probes.items():
            steps = probe.when.steps(experiment.steps)
            values = np.array(carry.records[name][i : i + 1])
            if ended >= 0 and not probe.when.at_end:
                values[:, steps > ended] = np.nan
            series[name] = Series(steps, values, probe.axes(carry.params))
        results.append(
            Trajectory(
                seeds=(seed,),
                series=series,
                final=_ended(model, i),
                status=(Status(int(carry.status[i])),),
                ended=(ended,),
            )
        )
    return results


def train(experiment: Experiment, seeds: int | Sequence[int] = 1) -> Trajectory:
    """Train an experiment under several seeds as lanes of one program.

    Args:
        experiment: the definition.
        seeds: their number (0, 1, ... are taken), or the seeds.

    Returns:
        The trajectory, one lane a seed.

    Raises:
        Mistake: if the experiment does not fit together, or into memory.

    Examples:
        >>> from descentlab import Experiment, train
        >>> run = train(Experiment(steps=10), seeds=2)
        >>> run["loss"].values.shape
        (2, 11)
    """
    check(experiment)
    check_lanes([experiment], seeds if isinstance(seeds, int) else len(seeds))
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    lanes = Lanes((experiment,) * len(chosen), chosen, _ends(experiment, chosen))
    constants, carry = prepare(lanes)
    *_, (_, end) = segments(lanes, constants, carry, 0)
    return joined(trajectories(lanes, constants, end))


def check_lanes(experiments: Sequence[Experiment], seeds: int) -> None:
    """Raise where the results of so many seeds of each experiment do not fit into memory.

    Raises:
        TooLarge: if they do not; says how many seeds would.
    """
    each, there = sum(LANE_BYTES + record_bytes(one) for one in experiments), machine()
    if seeds * each > there:
        raise TooLarge(
            f"the results of {seeds} seeds need {in_words(seeds * each)} or more, this machine has {in_words(there)}; "
            f"ask for at most {there // each} seeds"
        )


def _ends(experiment: Experiment, seeds: tuple[int, ...]) -> tuple[Mapping[str, np.ndarray], ...]:
    """The blocks at the end of the experiment's origin, trained now; empty where it has none."""
    return () if experiment.origin is None else train(experiment.origin, seeds).ends()

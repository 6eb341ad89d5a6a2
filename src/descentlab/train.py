"""The one training loop: many lanes of one structure as one compiled program.

A lane is an experiment with a seed. Lanes whose experiments are equal up to their floats share a program, in which
floats and seeds are the mapped axis. A run is made in segments of steps with traced bounds; the carry between two
segments is all that a continued run needs, and cutting a run into segments does not change its bits.
"""

import dataclasses
import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from descentlab._describe import structure
from descentlab._tree import blocks
from descentlab._types import Array, Int, PyTree
from descentlab.experiment import Experiment, check, start
from descentlab.objective import Objective
from descentlab.point import Point, evaluate
from descentlab.status import Status
from descentlab.trajectory import Series, Trajectory, joined

__all__ = ["Carry", "Lanes", "advance", "initial_carry", "prepare", "trace_iteration", "train", "trajectories"]

Bounds = tuple[Array | np.ndarray, Array | np.ndarray]
"""The first step of a segment, and the one it stops before."""

TOGETHER_BYTES = 2**18
"""Data and start of lanes that step together on a processor; what a step computes takes about twenty times as much."""


@dataclasses.dataclass(frozen=True)
class Lanes:
    """Experiments with their seeds, equal up to floats.

    Attributes:
        experiments: one a lane.
        seeds: one a lane.

    Raises:
        ValueError: if there are none, or their structures differ.
    """

    experiments: tuple[Experiment, ...]
    seeds: tuple[int, ...]

    def __post_init__(self):
        if not self.experiments or len(self.experiments) != len(self.seeds):
            raise ValueError(f"wanted one seed an experiment, got {len(self.experiments)} and {len(self.seeds)}")
        if len({structure(one) for one in {e.digest: e for e in self.experiments}.values()}) > 1:
            raise ValueError("experiments of one program may differ in their floats only; run the others separately")

    @property
    def first(self) -> Experiment:
        """An experiment that has the structure of all."""
        return self.experiments[0]

    def precision(self) -> AbstractContextManager:
        """The context in which everything about these lanes is computed."""
        return jax.enable_x64(self.first.precision == "float64")

    def varying(self) -> tuple[PyTree, PyTree]:
        """The floats, stacked over lanes, and the rest of the definition, shared by them."""
        return self._varying

    @functools.cached_property
    def _varying(self) -> tuple[PyTree, PyTree]:
        # Kept, because it takes 0.2 ms a lane and every segment asks for it.
        floats, rest = zip(*(eqx.partition(one, _is_float) for one in self.experiments), strict=True)
        dtype = np.float64 if self.first.precision == "float64" else np.float32
        return jax.tree.map(lambda *leaves: np.asarray(leaves, dtype=dtype), *floats), rest[0]


def _is_float(leaf: PyTree) -> bool:
    return isinstance(leaf, float)


class Carry(eqx.Module):
    """What one segment hands to the next.

    Attributes:
        params: the trained blocks.
        state: the optimizer's.
        step_size: of the last update.
        records: one buffer a probe.
        status: a `Status`.
        ended: step at which the lane stopped, -1 while it goes on.
    """

    params: PyTree
    state: PyTree
    step_size: Array
    records: dict[str, Array]
    status: Int[Array, ""]
    ended: Int[Array, ""]


def initial_carry(experiment: Experiment, objective: Objective, params: PyTree) -> Carry:
    """The carry before the first step."""
    nothing = jnp.full((), jnp.nan, dtype=jnp.result_type(float))
    point = evaluate(objective, params, jnp.asarray(0, jnp.int32), params, nothing)
    records = {}
    for name, probe in experiment.probes.items():
        value = eqx.filter_eval_shape(probe, point)
        count = probe.when.steps(experiment.steps).shape[0]
        records[name] = jnp.full((count, *value.shape), jnp.nan, dtype=value.dtype)
    state = experiment.optimizer.init(point)
    still = jnp.asarray(-1, jnp.int32)
    return Carry(params, state, nothing, records, jnp.asarray(0, jnp.int32), still)


def _record(experiment: Experiment, point: Point, records: dict[str, Array]) -> dict[str, Array]:
    """Each probe writes its value in its buffer, at the steps of its schedule and at no others."""
    written = {}
    for name, probe in experiment.probes.items():
        steps = probe.when.steps(experiment.steps)

        def write(buffer: Array, place: Array, probe: PyTree = probe) -> Array:
            return jax.lax.dynamic_update_index_in_dim(buffer, probe(point), place, axis=0)

        def skip(buffer: Array, place: Array) -> Array:
            del place
            return buffer

        if steps.shape[0] == 0:
            written[name] = records[name]
            continue
        if steps.shape[0] == experiment.steps + 1:
            written[name] = write(records[name], point.step)
            continue
        places = np.full(experiment.steps + 1, -1, dtype=np.int32)
        places[steps] = np.arange(steps.shape[0])
        place = jnp.asarray(places)[point.step]
        written[name] = jax.lax.cond(place >= 0, write, skip, records[name], place)
    return written


def _iterate(experiment: Experiment, lane: tuple[Objective, PyTree], step: Array, carry: Carry) -> Carry:
    """Record the point of one step, then move on from it, unless it is the last or the lane has ended."""
    objective, origin = lane
    point = evaluate(objective, carry.params, step, origin, carry.step_size)
    records = _record(experiment, point, carry.records)
    update = experiment.optimizer.step(point, carry.state)
    finite = jnp.isfinite(point.loss)
    running = carry.ended < 0
    now = jnp.where(finite, jnp.where(update.accurate, Status.FINISHED, Status.INACCURATE), Status.DIVERGED)
    last = step == experiment.steps
    now = jnp.where(last & finite, Status.FINISHED, now)
    status = jnp.where(running, now, carry.status).astype(jnp.int32)
    ended = jnp.where(running & (now != Status.FINISHED), step, carry.ended).astype(jnp.int32)
    moves = (ended < 0) & ~last

    def choose(new: PyTree, old: PyTree) -> PyTree:
        return jax.tree.map(lambda a, b: jnp.where(moves, a, b), new, old)

    return Carry(
        params=choose(update.params, carry.params),
        state=choose(update.state, carry.state),
        step_size=choose(update.step_size, carry.step_size),
        records=records,
        status=status,
        ended=ended,
    )


# A start is made once and is mostly random numbers, which compile six times faster unoptimised.
# Equinox passes further arguments on to `jax.jit`; its overloads name none of them.
@eqx.filter_jit(compiler_options={"xla_backend_optimization_level": 0})  # pyright: ignore[reportCallIssue]
def _prepare(floats: PyTree, rest: PyTree, seeds: Array | np.ndarray) -> tuple[tuple[Objective, PyTree], Carry]:
    def one(floats: PyTree, seed: Array) -> tuple[tuple[Objective, PyTree], Carry]:
        experiment = eqx.combine(floats, rest)
        objective, params = start(experiment, key=jax.random.key(seed))
        return (objective, params), initial_carry(experiment, objective, params)

    return eqx.filter_vmap(one)(floats, seeds)


@eqx.filter_jit
def _advance(floats: PyTree, rest: PyTree, lane: PyTree, carry: Carry, bounds: PyTree, together: int) -> Carry:
    segment = functools.partial(_segment, rest, bounds)
    if together == carry.status.shape[0]:
        return eqx.filter_vmap(segment)(floats, lane, carry)
    arrays, structure = eqx.partition((floats, lane, carry), eqx.is_array)

    def some(arrays: PyTree) -> PyTree:
        return eqx.filter(segment(*eqx.combine(arrays, structure)), eqx.is_array)

    done = jax.lax.map(some, arrays, batch_size=together if together > 1 else None)
    return eqx.combine(done, structure[2])


def _together(constants: PyTree, lanes: int) -> int:
    """How many lanes step together; the others wait their turn of the whole segment.

    Lanes of one step share the dispatch of its operations, which counts for tiny models. A processor reads what does
    not fit in its cache from memory in each of these operations, which doubles the time of larger ones.
    """
    if jax.default_backend() != "cpu":
        return lanes
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(constants) if eqx.is_array(leaf)) // lanes
    most = max(1, TOGETHER_BYTES // max(1, size))
    return max(count for count in range(1, min(lanes, most) + 1) if lanes % count == 0)


def _segment(rest: PyTree, bounds: Bounds, floats: PyTree, lane: PyTree, carry: Carry) -> Carry:
    """One lane's steps between two bounds."""
    experiment = eqx.combine(floats, rest)
    arrays, structure = eqx.partition(carry, eqx.is_array)

    def body(step: Array, arrays: PyTree) -> PyTree:
        return eqx.filter(_iterate(experiment, lane, step, eqx.combine(arrays, structure)), eqx.is_array)

    return eqx.combine(jax.lax.fori_loop(bounds[0], bounds[1], body, arrays), structure)


def prepare(lanes: Lanes) -> tuple[PyTree, Carry]:
    """What stays the same along the run (objective and start of each lane), and the carry before step 0."""
    with lanes.precision():
        floats, rest = lanes.varying()
        return _prepare(floats, rest, np.asarray(lanes.seeds, dtype=np.uint32))


def advance(lanes: Lanes, constants: PyTree, carry: Carry, first: int, stop: int) -> Carry:
    """The carry after the points of steps `first` to `stop` - 1 were recorded and moved on from.

    The point of the last step is recorded and not moved on from, so a whole run goes from 0 to `steps` + 1.
    """
    with lanes.precision():
        floats, rest = lanes.varying()
        bounds = (np.asarray(first, np.int32), np.asarray(stop, np.int32))
        return _advance(floats, rest, constants, carry, bounds, _together(constants, len(lanes.seeds)))


def trace_iteration(experiment: Experiment) -> ClosedJaxpr:
    """The program of one step of one lane, traced and not compiled."""
    with jax.enable_x64(experiment.precision == "float64"):

        def once(seed: Array) -> PyTree:
            objective, params = start(experiment, key=jax.random.key(seed))
            carry = initial_carry(experiment, objective, params)
            return eqx.filter(_iterate(experiment, (objective, params), jnp.asarray(0, jnp.int32), carry), eqx.is_array)

        return jax.make_jaxpr(once)(np.uint32(0))


def trajectories(lanes: Lanes, carry: Carry) -> list[Trajectory]:
    """The result of each lane, once all steps are made; values after a lane ended early are NaN."""
    experiment = lanes.first
    carry = jax.tree.map(np.asarray, carry)
    final = {}
    for name, arrays in blocks(carry.params).items():
        numbered = {f"{name}.{i}": array for i, array in enumerate(arrays)}
        final |= numbered if len(arrays) > 1 else {name: arrays[0]}
    results = []
    for i, seed in enumerate(lanes.seeds):
        ended = int(carry.ended[i])
        series = {}
        for name, probe in experiment.probes.items():
            steps = probe.when.steps(experiment.steps)
            values = np.array(carry.records[name][i : i + 1])
            if ended >= 0:
                values[:, steps > ended] = np.nan
            series[name] = Series(steps, values, probe.labels(carry.params))
        results.append(
            Trajectory(
                seeds=(seed,),
                series=series,
                final={name: array[i : i + 1] for name, array in final.items()},
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
        ValueError: if the experiment does not fit together.

    Example:
        >>> from descentlab import Experiment, train
        >>> run = train(Experiment(steps=10), seeds=2)
        >>> run["loss"].values.shape
        (2, 11)
    """
    check(experiment)
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    lanes = Lanes((experiment,) * len(chosen), chosen)
    constants, carry = prepare(lanes)
    return joined(trajectories(lanes, advance(lanes, constants, carry, 0, experiment.steps + 1)))

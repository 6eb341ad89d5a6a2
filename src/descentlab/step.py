"""One step of one lane: what is known there, what probes record of it, and the move on from it."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._definition import DefinitionError
from descentlab._types import Array, Int, PyTree
from descentlab.experiment import Experiment, Lane
from descentlab.objective import Splits
from descentlab.optim import Update
from descentlab.point import Point, evaluate
from descentlab.status import Status
from descentlab.stopping import AbstractStop

__all__ = ["Carry", "initial_carry", "one_step", "moved", "point_at"]

LISTED_STEPS = 2**22
"""Up to so many steps, where a step is recorded is looked up in a table of all steps; beyond, it is searched."""


class Carry(eqx.Module):
    """What one segment hands to the next.

    Attributes:
        params: the trained blocks.
        state: the optimizer's.
        step_size: of the last update.
        records: one buffer a probe.
        memory: what each probe keeps between looks.
        status: a `Status`.
        ended: step at which the lane stopped, -1 while it goes on.
    """

    params: PyTree
    state: PyTree
    step_size: Array
    records: dict[str, Array]
    memory: dict[str, PyTree]
    status: Int[Array, ""]
    ended: Int[Array, ""]


def point_at(
    experiment: Experiment, lane: Lane, held: Splits | None, step: Array, carry: tuple[PyTree, Array]
) -> Point:
    """What is known at a step: loss and gradient on the examples of that step.

    Args:
        experiment: the definition.
        lane: what stays the same along the run.
        held: the data set, where there is one.
        step: which.
        carry: the trained blocks there, and the step size of the update that led there.
    """
    objective = experiment.data.at(lane.objective, experiment.task, lane.source(held), step, key=lane.key)
    if experiment.model.stochastic:
        objective = objective.on(objective.examples, key=jax.random.fold_in(jax.random.fold_in(lane.key, step), 1))
    params, step_size = carry
    point = evaluate(objective, params, step, lane.start, step_size)
    held_out = held.development if lane.held_out is None and held is not None else lane.held_out
    of_run = {"stored": held, "world": lane.world, "held_out": held_out, "task": experiment.task}
    return dataclasses.replace(point, **of_run, data=experiment.data)


def initial_carry(experiment: Experiment, lane: Lane, held: Splits | None) -> Carry:
    """The carry before the first step.

    Raises:
        DefinitionError: if the stopping rule does not answer with one truth value.
    """
    nothing = jnp.full((), jnp.nan, dtype=jnp.result_type(float))
    params = lane.start
    point = point_at(experiment, lane, held, jnp.asarray(0, jnp.int32), (params, nothing))
    point = dataclasses.replace(point, change=params, next_step_size=nothing)  # only their shapes matter here
    if experiment.until is not None:
        _check_rule(experiment.until, point)
    records, memory = {}, {}
    for name, probe in experiment.probes.items():
        value = eqx.filter_eval_shape(probe, point)
        memory[name] = probe.begin(point)
        count = probe.when.steps(experiment.steps).shape[0]
        records[name] = jnp.full((count, *value.shape), jnp.nan, dtype=value.dtype)
    state = experiment.optimizer.init(point)
    still = jnp.asarray(-1, jnp.int32)
    return Carry(params, state, nothing, records, memory, jnp.asarray(0, jnp.int32), still)


def _check_rule(rule: AbstractStop, point: Point) -> None:
    """Raise unless a stopping rule answers with one truth value.

    Raises:
        DefinitionError: if it does not.
    """
    answer = eqx.filter_eval_shape(rule.reached, point)
    if getattr(answer, "shape", None) != () or answer.dtype != bool:
        raise DefinitionError(
            f"{type(rule).__name__}.reached must give one truth value, such as point.loss < 0.01, got {answer}"
        )


def _record(experiment: Experiment, point: Point, carry: Carry) -> tuple[dict[str, Array], dict[str, PyTree]]:
    """Each probe writes its value in its buffer, at the steps of its schedule and at no others."""
    records, memory = dict(carry.records), dict(carry.memory)
    for name, probe in experiment.probes.items():
        steps = probe.when.steps(experiment.steps)

        def write(buffer: Array, kept: PyTree, place: Array, probe: PyTree = probe) -> tuple[Array, PyTree]:
            value, kept = probe.look(point, kept)
            return jax.lax.dynamic_update_index_in_dim(buffer, value, place, axis=0), kept

        def skip(buffer: Array, kept: PyTree, place: Array) -> tuple[Array, PyTree]:
            del place
            return buffer, kept

        if steps.shape[0] == 0 or probe.when.at_end:
            continue
        if steps.shape[0] == experiment.steps + 1:
            records[name], memory[name] = write(records[name], memory[name], point.step)
            continue
        place = _place(steps, experiment.steps, point.step)
        records[name], memory[name] = jax.lax.cond(place >= 0, write, skip, records[name], memory[name], place)
    return records, memory


def _place(steps: np.ndarray, last: int, step: Array) -> Array:
    """Which of the recorded steps a step is, -1 for none."""
    if last < LISTED_STEPS:
        places = np.full(last + 1, -1, dtype=np.int32)
        places[steps] = np.arange(steps.shape[0])
        return jnp.asarray(places)[step]
    listed = jnp.asarray(steps, jnp.int32)
    place = jnp.minimum(jnp.searchsorted(listed, step), steps.shape[0] - 1).astype(jnp.int32)
    return jnp.where(listed[place] == step, place, -1)


def moved(experiment: Experiment, lane: Lane, held: Splits | None, step: Array, carry: Carry) -> tuple[Point, Update]:
    """The point of a step, with what the optimizer adds to it next, and the update that adds it."""
    point = point_at(experiment, lane, held, step, (carry.params, carry.step_size))
    update = experiment.optimizer.step(point, carry.state)
    change = jax.tree.map(jnp.subtract, update.params, carry.params)
    preconditioner = experiment.optimizer.preconditioner(update.state)
    next_update = {"change": change, "next_step_size": update.step_size, "preconditioner": preconditioner}
    return dataclasses.replace(point, **next_update), update


def _standing(experiment: Experiment, point: Point, accurate: Array) -> Array:
    """The status of a lane at a point: `FINISHED` where it goes on, or has made all steps."""
    now = jnp.where(accurate | (point.step == experiment.steps), Status.FINISHED, Status.INACCURATE)
    if experiment.until is not None:
        now = jnp.where(experiment.until.reached(point), Status.REACHED, now)
    return jnp.where(jnp.isfinite(point.loss), now, Status.DIVERGED)


def one_step(experiment: Experiment, lane: Lane, held: Splits | None, step: Array, carry: Carry) -> Carry:
    """Record the point of one step, then move on from it, unless it is the last or the lane has ended."""
    point, update = moved(experiment, lane, held, step, carry)
    records, memory = _record(experiment, point, carry)
    running = carry.ended < 0
    now = _standing(experiment, point, update.accurate)
    status = jnp.where(running, now, carry.status).astype(jnp.int32)
    ended = jnp.where(running & (now != Status.FINISHED), step, carry.ended).astype(jnp.int32)
    moves = (ended < 0) & (step < experiment.steps)

    def choose(new: PyTree, old: PyTree) -> PyTree:
        return jax.tree.map(lambda a, b: jnp.where(moves, a, b), new, old)

    return Carry(
        params=choose(update.params, carry.params),
        state=choose(update.state, carry.state),
        step_size=choose(update.step_size, carry.step_size),
        records=records,
        memory=memory,
        status=status,
        ended=ended,
    )

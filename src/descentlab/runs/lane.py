"""One lane of a run, made again as training made it: what it started from, and where it came."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from descentlab._arithmetic import arithmetic
from descentlab._memory import explained
from descentlab._types import Array, PyTree
from descentlab.experiment import Experiment, Lane
from descentlab.mistake import Mistake
from descentlab.objective import Objective, Splits
from descentlab.point import Point
from descentlab.probes import AbstractProbe
from descentlab.step import point_at
from descentlab.trajectory import Series

__all__ = ["SAMPLES", "TrainedLane"]

SAMPLES = 512
"""Examples that stand for all, where not said otherwise."""


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedLane:
    """One lane of a run.

    Attributes:
        experiment: the definition of the run.
        seed: of the lane.
        begun: what stays the same along the run.
        stored: the data set, where the task has one.
        objective: on the examples that belong to the lane, or on those of `sampled`.
        last: the step at which it stopped.
        stopped: the trained blocks there.
        finished: whether it stopped as it should.
        steps: at which its parameters were recorded.
        path: these, as vectors in tree order, one row a step.
        step_sizes: of the update that led to a step, where they were recorded.
    """

    experiment: Experiment
    seed: int
    begun: Lane
    stored: Splits | None
    objective: Objective
    last: int
    stopped: PyTree
    finished: bool
    steps: np.ndarray
    path: np.ndarray
    step_sizes: dict[int, float]

    @property
    def start(self) -> PyTree:
        """The trained blocks at step 0."""
        return self.begun.start

    @property
    def end(self) -> PyTree:
        """The trained blocks after the last step.

        Raises:
            Mistake: if the lane stopped early.
        """
        if not self.finished:
            raise Mistake(
                f"wanted the end of a run, but seed {self.seed} stopped early at step {self.last}; leave it out"
            )
        return self.stopped

    @property
    def precision(self) -> str:
        """Of everything that is computed about it."""
        return self.experiment.precision

    def points(self) -> np.ndarray:
        """Start, recorded parameters and end, as vectors in tree order."""
        with arithmetic(self.precision):
            first, last = (np.asarray(ravel_pytree(tree)[0])[None] for tree in (self.start, self.end))
        return np.concatenate([first, self.path, last])

    def params(self, step: int) -> PyTree:
        """The trained blocks at step 0, at the last step, or where they were recorded.

        Raises:
            Mistake: if they are not known there.
        """
        if step in (0, self.last):
            return self.stopped if step == self.last else self.start
        found = np.flatnonzero(self.steps == step)
        if not found.size:
            raise Mistake(
                f"the parameters of seed {self.seed} are known at the steps 0 and {self.last}"
                f"{' and at recorded ones' if self.steps.size else ''}, got step {step}; record them there by the "
                "probe Parameters"
            )
        with arithmetic(self.precision):
            return ravel_pytree(self.stopped)[1](jnp.asarray(self.path[found[0]]))

    def at(self, step: int | None = None) -> Point:
        """What was known at a step, as training knew it; but not the update that came next.

        Args:
            step: 0, the last one, or one at which parameters were recorded; `None` takes the last.

        Raises:
            Mistake: if the parameters are not known there.
        """
        step = self.last if step is None else step
        params = self.params(step)
        with arithmetic(self.precision), explained():
            size = jnp.asarray(self.step_sizes.get(step, np.nan), jnp.result_type(float))
            return _point(self.experiment, self.begun, self.stored, jnp.asarray(step, jnp.int32), (params, size))

    def look(self, probe: AbstractProbe, step: int | None = None) -> Series:
        """What a probe says of a point of the lane, whether or not it was recorded.

        Args:
            probe: any but one that needs the next update; its schedule does not matter.
            step: as of `at`.

        Returns:
            A record of one lane at one step.

        Raises:
            Mistake: if the parameters are not known there, or the probe does not fit the run.
        """
        point = self.at(step)
        with arithmetic(self.precision), explained():
            value = np.asarray(_seen(probe, point))
        return Series(np.asarray([int(point.step)]), value[None, None], probe.axes(point.params))

    def sampled(self, most: int = SAMPLES) -> "TrainedLane":
        """The lane with its objective on a fixed subset of all examples that it trains on.

        The subset is drawn once, by the data and not by the seed: all of them, or so many where they are more.

        Args:
            most: examples that are evaluated.
        """
        with arithmetic(self.precision):
            source = self.begun.source(self.stored)
            pool = self.experiment.data.pool(self.begun.objective, self.experiment.task, source, most)
            rows = np.sort(np.random.default_rng(0).choice(pool.rows, min(most, pool.rows), replace=False))
            chosen = self.begun.objective.on(jax.tree.map(jnp.asarray, pool.at(rows)))
        return dataclasses.replace(self, objective=chosen)


# One evaluation, compiled unoptimised, which is much faster.
_point = eqx.filter_jit(point_at, compiler_options={"xla_backend_optimization_level": 0})  # pyright: ignore[reportCallIssue]


@eqx.filter_jit
def _seen(probe: AbstractProbe, point: Point) -> Array:
    return probe(point)

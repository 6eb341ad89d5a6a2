"""How a task's examples are put together for training."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import positive, real
from descentlab._definition import Definition
from descentlab._types import Array, Int, PRNGKeyArray, PyTree
from descentlab.mistake import Mistake
from descentlab.objective import Examples, Objective
from descentlab.tasks import AbstractTask

__all__ = ["AbstractData", "FullBatch", "Minibatch", "Online", "Padded"]

FRESH = 2**32 - 1
"""Folded into the key of a lane where examples are drawn anew at every step; no step has this number."""


class AbstractData(Definition):
    """Which examples a run has, and which of them a step sees."""

    @abstractmethod
    def drawn(self, task: AbstractTask, world: PyTree) -> int:
        """How many examples are drawn at the start, to belong to the run alone.

        Args:
            task: of the experiment.
            world: what its examples are drawn from: the training part of a data set, or what a lane has in common.
        """

    def kept(self, examples: Examples) -> Examples:
        """The examples of the run as their objective has them: those drawn at the start, unless said otherwise."""
        return examples

    def pool(self, objective: Objective, task: AbstractTask, world: PyTree, count: int) -> Examples:
        """Examples that stand for all that a run trains on: those of the run, unless said otherwise.

        Args:
            objective: on the examples drawn at the start.
            task: of the experiment.
            world: what its examples are drawn from.
            count: how many are enough, where there is no end of them.
        """
        del task, world, count
        return objective.examples

    @abstractmethod
    def at(
        self, objective: Objective, task: AbstractTask, world: PyTree, step: Int[Array, ""], *, key: PRNGKeyArray
    ) -> Objective:
        """The objective of one step.

        Args:
            objective: on the examples drawn at the start.
            task: of the experiment.
            world: what its examples are drawn from: the training part of a data set, or what a lane has in common.
            step: which.
            key: of the run.
        """


class FullBatch(AbstractData):
    """The same N samples at every step, at random places of the training part where the task has a data set.

    Args:
        samples: N.

    Raises:
        Mistake: if it is not above 0.
    """

    samples: int = 4

    def __check_init__(self):
        positive(self, "samples")

    def drawn(self, task: AbstractTask, world: PyTree) -> int:
        """N."""
        del task, world
        return self.samples

    def at(
        self, objective: Objective, task: AbstractTask, world: PyTree, step: Int[Array, ""], *, key: PRNGKeyArray
    ) -> Objective:
        """The objective itself."""
        del task, world, step, key
        return objective


class Padded(AbstractData):
    """The same N samples at every step, the first of `room` that are drawn; the others have weight 0.

    N is no shape here, so that runs with other N are lanes of one program; each costs as much as one with N = `room`.

    Args:
        samples: N, a whole number that may be traced.
        room: samples that there is room for.

    Raises:
        Mistake: if `room` is not above 0, or N no whole number from 1 to `room`.
    """

    samples: float = eqx.field(default=4.0, converter=real)
    room: int = 16

    def __check_init__(self):
        positive(self, "room")
        if isinstance(self.samples, float) and not (self.samples.is_integer() and 1 <= self.samples <= self.room):
            raise Mistake(f"Padded.samples must be a whole number from 1 to room={self.room}, got {self.samples:g}")

    def drawn(self, task: AbstractTask, world: PyTree) -> int:
        """The room."""
        del task, world
        return self.room

    def kept(self, examples: Examples) -> Examples:
        """The examples, all after the first N with weight 0."""
        counts = (jnp.arange(self.room) < self.samples).astype(jnp.result_type(float))
        own = examples.weights
        return examples._replace(weights=counts if own is None else (own.T * counts).T)

    def at(
        self, objective: Objective, task: AbstractTask, world: PyTree, step: Int[Array, ""], *, key: PRNGKeyArray
    ) -> Objective:
        """The objective itself."""
        del task, world, step, key
        return objective


class Minibatch(AbstractData):
    """Independent uniform draws, with replacement, at every step.

    Args:
        batch: examples of a step.
        samples: examples to draw from, chosen at the start; `None` is the whole training part of a data set.

    Raises:
        Mistake: if a number is not above 0, or there is nothing to draw from.
    """

    batch: int = 32
    samples: int | None = None

    def __check_init__(self):
        positive(self, "batch")
        positive(self, "samples")

    def drawn(self, task: AbstractTask, world: PyTree) -> int:
        """The examples to draw from; one where they are those of a data set, for the shapes."""
        del task
        if self.samples is None and not isinstance(world, Examples):
            raise Mistake(
                "Minibatch.samples must be given for a task that makes its examples; it is their number "
                "(or choose Online, which draws fresh ones)"
            )
        return self.samples or 1

    def pool(self, objective: Objective, task: AbstractTask, world: PyTree, count: int) -> Examples:
        """Those that are drawn from."""
        del task, count
        return world if self.samples is None else objective.examples

    def at(
        self, objective: Objective, task: AbstractTask, world: PyTree, step: Int[Array, ""], *, key: PRNGKeyArray
    ) -> Objective:
        """The objective on this step's draw."""
        pool = self.pool(objective, task, world, self.batch)
        return objective.on(pool.at(jax.random.randint(jax.random.fold_in(key, step), (self.batch,), 0, pool.rows)))


class Online(AbstractData):
    """Fresh examples of the task at every step, from the world of the lane; of a data set, distinct training examples.

    Args:
        batch: examples of a step.

    Raises:
        Mistake: if it is not above 0, or a task has so many examples and no more: fresh ones would be held-out ones.
    """

    batch: int = 32

    def __check_init__(self):
        positive(self, "batch")

    def drawn(self, task: AbstractTask, world: PyTree) -> int:
        """One, for the shapes."""
        if task.distinct is not None and not isinstance(world, Examples):
            raise Mistake(
                f"Online draws fresh examples, of which {type(task).__name__} has {task.distinct} in all; choose "
                f"Minibatch({self.batch}, samples={task.distinct}), less those that are held out"
            )
        return 1

    def pool(self, objective: Objective, task: AbstractTask, world: PyTree, count: int) -> Examples:
        """The training part of a data set, or as many examples as are enough, always the same ones."""
        del objective
        return world if isinstance(world, Examples) else task.sample(count, world, key=jax.random.key(FRESH))

    def at(
        self, objective: Objective, task: AbstractTask, world: PyTree, step: Int[Array, ""], *, key: PRNGKeyArray
    ) -> Objective:
        """The objective on this step's draw."""
        stream = jax.random.fold_in(key, FRESH)
        return objective.on(task.sample(self.batch, world, key=jax.random.fold_in(stream, step)))

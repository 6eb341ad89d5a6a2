"""How a task's examples are put together for training."""

from abc import abstractmethod

import jax

from descentlab._check import positive
from descentlab._definition import Untraced
from descentlab._types import Array, Int, PRNGKeyArray
from descentlab.objective import Objective, Splits

__all__ = ["AbstractData", "FullBatch", "Minibatch"]


class AbstractData(Untraced):
    """Which examples a run has, and which of them a step sees."""

    @abstractmethod
    def drawn(self, stored: Splits | None) -> int:
        """How many examples are drawn at the start, to belong to the run alone."""

    @abstractmethod
    def at(self, objective: Objective, stored: Splits | None, step: Int[Array, ""], *, key: PRNGKeyArray) -> Objective:
        """The objective of one step.

        Args:
            objective: on the examples drawn at the start.
            stored: the data set, where the task has one.
            step: which.
            key: of the run.
        """


class FullBatch(AbstractData):
    """The same N samples at every step, at random places of the training part where the task has a data set.

    Args:
        samples: N.

    Raises:
        ValueError: if it is not above 0.
    """

    samples: int = 4

    def __check_init__(self):
        positive(self, "samples")

    def drawn(self, stored: Splits | None) -> int:
        """How many examples are drawn at the start, to belong to the run alone."""
        del stored
        return self.samples

    def at(self, objective: Objective, stored: Splits | None, step: Int[Array, ""], *, key: PRNGKeyArray) -> Objective:
        """The objective itself."""
        del stored, step, key
        return objective


class Minibatch(AbstractData):
    """Independent uniform draws, with replacement, at every step.

    Args:
        batch: examples of a step.
        samples: examples to draw from, chosen at the start; `None` is the whole training part of a data set.

    Raises:
        ValueError: if a number is not above 0, or there is nothing to draw from.
    """

    batch: int = 32
    samples: int | None = None

    def __check_init__(self):
        positive(self, "batch")
        positive(self, "samples")

    def drawn(self, stored: Splits | None) -> int:
        """How many examples are drawn at the start, to belong to the run alone."""
        if self.samples is None and stored is None:
            raise ValueError("Minibatch.samples must be given for a task that makes its examples; it is their number")
        return self.samples or 1

    def at(self, objective: Objective, stored: Splits | None, step: Int[Array, ""], *, key: PRNGKeyArray) -> Objective:
        """The objective on this step's draw."""
        pool = stored.train if self.samples is None and stored is not None else objective.examples
        rows = jax.random.randint(jax.random.fold_in(key, step), (self.batch,), 0, pool.inputs.shape[0])
        return objective.on(jax.tree.map(lambda a: a[rows], pool))

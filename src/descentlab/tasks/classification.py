"""Classification of the examples of a data set."""

import jax

from descentlab._types import PRNGKeyArray
from descentlab.datasets import AbstractDataset
from descentlab.losses import CrossEntropy
from descentlab.mistake import Mistake
from descentlab.objective import Examples, Splits
from descentlab.tasks.base import AbstractTask


class Classification(AbstractTask):
    """One class for every sequence of a data set, compared by cross-entropy.

    The examples are read from disk once and shared by all lanes of a program; they are no part of the definition.

    Args:
        dataset: which data set, and how its examples are cut.
    """

    dataset: AbstractDataset

    @property
    def loss_function(self) -> CrossEntropy:
        """How outputs are compared with targets."""
        return CrossEntropy()

    @property
    def vocabulary(self) -> int | None:
        """Tokens are below this; `None` where they are vectors."""
        return self.dataset.vocabulary

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.dataset.classes)

    def load(self) -> Splits:
        """The examples as NumPy arrays.

        Raises:
            DataError: if files are missing or damaged.
        """
        return self.dataset.load()

    def sample(self, count: int, world: Examples, *, key: PRNGKeyArray) -> Examples:
        """Examples of a part of the data set, at distinct random places.

        Raises:
            Mistake: if there are not so many.
        """
        return distinct_rows(world, count, key=key)


def distinct_rows(examples: Examples, count: int, *, key: PRNGKeyArray) -> Examples:
    """Some of the examples, at distinct random places.

    Raises:
        Mistake: if there are not so many.
    """
    if count > examples.rows:
        raise Mistake(f"this part of the data set has {examples.rows} examples, {count} were asked for; ask for fewer")
    return examples.at(jax.random.choice(key, examples.rows, (count,), replace=False))

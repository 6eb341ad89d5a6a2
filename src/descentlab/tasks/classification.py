"""Classification of the examples of a data set."""

from descentlab._definition import Definition
from descentlab.datasets import AbstractDataset
from descentlab.losses import CrossEntropy
from descentlab.objective import Splits


class Classification(Definition):
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
    def width(self) -> int | None:
        """Numbers a token; `None`, since only the files of a data set say it."""
        return None

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

"""The data set interface: labelled examples on disk, as arrays."""

from abc import abstractmethod

from descentlab._definition import Untraced
from descentlab.formats import DataError
from descentlab.objective import Splits

__all__ = ["AbstractDataset", "DataError"]


class AbstractDataset(Untraced):
    """A data set: a definition says which and how its examples are cut; `load` reads them.

    Where the files lie is no part of the definition (see `descentlab.datasets.folder`), so that a run is the same run
    on every machine. A new data set is a subclass in one file.
    """

    @abstractmethod
    def load(self) -> Splits:
        """The examples as NumPy arrays.

        Raises:
            DataError: if files are missing or damaged; says which, and the ways to get them.
        """

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""

    @property
    @abstractmethod
    def vocabulary(self) -> int | None:
        """Token numbers are below this; `None` where tokens are real vectors."""

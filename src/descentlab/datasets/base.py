"""The data set interface: labelled examples on disk, as arrays."""

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import numpy as np

from descentlab._types import Array


class DataError(Exception):
    """Data cannot be used: what was wanted, what came, what to do."""


class Examples(NamedTuple):
    """Inputs with their targets.

    Attributes:
        inputs: one example a row: integer tokens of axes example and time, in which 0 is padding and stands at the end
            only, or real token vectors of axes example, time and dim.
        targets: one a row: integer classes, or real targets.
    """

    inputs: Array | np.ndarray
    targets: Array | np.ndarray


class Splits(NamedTuple):
    """The parts of a data set.

    Attributes:
        train: what a run trains on.
        development: held out from the training part, for choosing rates and stopping.
        test: looked at once, at the end.
    """

    train: Examples
    development: Examples
    test: Examples


class AbstractDataset(eqx.Module):
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

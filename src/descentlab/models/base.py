"""The architecture interface."""

from abc import abstractmethod
from typing import ClassVar

from descentlab._definition import Definition
from descentlab._types import Array, PRNGKeyArray, PyTree


class AbstractArchitecture(Definition):
    """Hyperparameters of a model. `init` draws the trainable model, a map from one example to its outputs.

    Attributes:
        embeds: whether the model takes token numbers as well as vectors.
    """

    embeds: ClassVar[bool] = True

    @property
    def stochastic(self) -> bool:
        """Whether training draws random numbers at every step, which the model then takes as `key=`."""
        return False

    @abstractmethod
    def init(self, example: Array, *, key: PRNGKeyArray) -> PyTree:
        """The model at its start.

        Args:
            example: one input without a batch axis; only its shape is used.
            key: random key of the initial weights.
        """

"""The architecture interface."""

from abc import abstractmethod
from typing import Any, ClassVar

from descentlab._definition import Definition
from descentlab._types import Array, PRNGKeyArray, PyTree
from descentlab.cost.model import Model
from descentlab.mistake import Mistake


class AbstractArchitecture(Definition):
    """Hyperparameters of a model. `init` draws the trainable model, a map from one example to its outputs.

    This is all that any architecture must offer. The trainable model is an equinox module, or any tree that can be
    called with one example; its parameters are its inexact arrays, under their paths. Hyperparameters that it needs it
    reads from a definition that it keeps, such as this one: a float in a field of its own would be trained where it
    varies by lane, and is refused. What only some models offer, and who asks for it, is in
    `descentlab.models.capabilities`.

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

    def check_vocabulary(self, tokens: int) -> None:
        """Raise where the model has no place for all token numbers below `tokens`; compiled programs would clamp them.

        Raises:
            Mistake: if it has not.
        """
        del tokens

    def cost_model(self, width: int | None) -> Model:
        """What it computes, for `descentlab cost`.

        Args:
            width: numbers a token; `None` where tokens are numbers themselves, or the task does not say.

        Raises:
            Mistake: if that is not known.
        """
        del width
        raise Mistake(
            f"the cost of the architecture {type(self).__name__} is not known; give the class a method cost_model"
        )


def at_least_tokens(model: Any, tokens: int) -> None:
    """Raise unless the field `vocabulary` is at least so large.

    Raises:
        Mistake: if it is not.
    """
    if model.vocabulary < tokens:
        name = type(model).__name__
        raise Mistake(f"{name}.vocabulary must be at least {tokens} for this task, got {model.vocabulary}")

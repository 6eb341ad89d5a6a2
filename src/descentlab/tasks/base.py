"""The task interface: where examples come from and what is wanted of them."""

from abc import abstractmethod

import equinox as eqx

from descentlab._types import Array, Float, PRNGKeyArray, PyTree
from descentlab.objective import AbstractLossFunction, SquaredError


class AbstractTask(eqx.Module):
    """A distribution over examples with targets.

    `inputs` and `targets` get the same key, so that a task whose inputs and targets come from one draw can repeat it.
    Examples that are read from disk are a `Classification`.
    """

    @property
    def loss_function(self) -> AbstractLossFunction:
        """How outputs are compared with targets: least squares, unless a task says otherwise."""
        return SquaredError()

    @abstractmethod
    def inputs(self, count: int, *, key: PRNGKeyArray) -> Float[Array, "batch time dim"]:
        """The inputs of `count` examples."""

    @abstractmethod
    def targets(
        self, inputs: Float[Array, "batch time dim"], model: PyTree, *, key: PRNGKeyArray
    ) -> Float[Array, "batch ..."]:
        """What the model should return for each input; may depend on the model at its start."""

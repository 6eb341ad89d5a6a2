"""The task interface: where examples come from and what is wanted of them."""

from abc import abstractmethod

from descentlab._definition import Definition
from descentlab._types import Array, Float, Int, PRNGKeyArray, PyTree
from descentlab.losses import AbstractLossFunction, SquaredError


class AbstractTask(Definition):
    """A distribution over examples with targets.

    `inputs` and `targets` get the same key, so that a task whose inputs and targets come from one draw can repeat it.
    Examples that are read from disk are a `Classification`.
    """

    @property
    def loss_function(self) -> AbstractLossFunction:
        """How outputs are compared with targets: least squares, unless a task says otherwise."""
        return SquaredError()

    @property
    def vocabulary(self) -> int | None:
        """Tokens are below this; `None` where they are vectors."""
        return None

    @property
    def width(self) -> int | None:
        """Numbers a token; `None` where tokens are numbers themselves."""
        return None

    @property
    def classes(self) -> int | None:
        """How many classes targets have; `None` where they are numbers."""
        return None

    @abstractmethod
    def inputs(self, count: int, *, key: PRNGKeyArray) -> Float[Array, "batch time dim"] | Int[Array, "batch time"]:
        """The inputs of `count` examples, token vectors or token numbers; number 0 is padding."""

    @abstractmethod
    def targets(
        self, inputs: Float[Array, "batch time dim"] | Int[Array, "batch time"], model: PyTree, *, key: PRNGKeyArray
    ) -> Float[Array, "batch ..."] | Int[Array, "batch ..."]:
        """What the model should return for each input; may depend on the model at its start."""

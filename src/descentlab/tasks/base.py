"""The task interface: where examples come from and what is wanted of them."""

from abc import abstractmethod

import jax
import jax.numpy as jnp

from descentlab._definition import Definition
from descentlab._types import Array, Float, PRNGKeyArray, PyTree
from descentlab.losses import AbstractLossFunction, SquaredError
from descentlab.objective import Examples, Splits

__all__ = ["AbstractTask"]


class AbstractTask(Definition):
    """A distribution over examples.

    What all examples of a lane have in common, such as a teacher, the direction of a signal or a covariance, is its
    `world`, drawn once when the lane starts; what belongs to one example is drawn by `sample`, as often as wanted. A
    data set is a task whose examples are read: `load` reads them, and they take the place of the world.
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

    @property
    def distinct(self) -> int | None:
        """How many examples there are to sample without seeing one twice; `None` where every draw is another."""
        return None

    def load(self) -> Splits | None:
        """The examples of a data set as NumPy arrays, shared by all lanes; `None` where they are drawn.

        Raises:
            DataError: if files are missing or damaged.
        """
        return None

    def world(self, model: PyTree, *, key: PRNGKeyArray) -> PyTree:
        """What the examples of a lane have in common, a tree of arrays; nothing, unless a task says otherwise.

        Args:
            model: the lane's model at its start.
            key: of the lane's data.
        """
        del model, key

    @abstractmethod
    def sample(self, count: int, world: PyTree, *, key: PRNGKeyArray) -> Examples:
        """So many examples, independent of each other, or at distinct places where `distinct` says their number.

        Args:
            count: their number.
            world: of the lane; for a data set the part of it that is drawn from.
            key: of this draw.
        """

    def example(self) -> PyTree:
        """An input of the shape that all have, of zeros; it tells a model its sizes.

        A task whose examples depend on the model has to say it; for all others it is read off `sample`.
        """

        def first() -> PyTree:
            return self.sample(1, self.world(None, key=jax.random.key(0)), key=jax.random.key(0)).inputs

        return jax.tree.map(lambda array: jnp.zeros(array.shape[1:], array.dtype), jax.eval_shape(first))

    def population_loss(self, model: PyTree, world: PyTree) -> Float[Array, ""] | None:
        """The exact mean of the loss over all examples of a world, where mathematics gives it; `None` elsewhere."""
        del model, world
        return None

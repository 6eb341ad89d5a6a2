"""Regression on random tokens, one target a token."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import not_negative, positive, real
from descentlab._definition import Definition
from descentlab._tree import select
from descentlab._types import Array, Float, PRNGKeyArray, PyTree
from descentlab.mistake import Mistake
from descentlab.models.base import AbstractArchitecture
from descentlab.models.capabilities import HeadContributions, offering
from descentlab.objective import Examples
from descentlab.tasks.base import AbstractTask

__all__ = [
    "AbstractTarget",
    "AbstractTokens",
    "GaussianTokens",
    "InRange",
    "Noise",
    "SoftmaxHull",
    "Teacher",
    "TokenRegression",
    "UnitNorm",
]


class AbstractTokens(Definition):
    """A distribution of token vectors."""

    @abstractmethod
    def __call__(self, shape: tuple[int, ...], *, key: PRNGKeyArray) -> Array:
        """Independent tokens; the last axis is their width."""


class UnitNorm(AbstractTokens):
    """Tokens uniform on the unit sphere."""

    def __call__(self, shape: tuple[int, ...], *, key: PRNGKeyArray) -> Array:
        """Independent tokens of norm 1."""
        tokens = jax.random.normal(key, shape)
        return tokens / jnp.linalg.norm(tokens, axis=-1, keepdims=True)


class GaussianTokens(AbstractTokens):
    """Tokens with independent Gaussian entries of variance `scale`^2 / dim, hence of norm about `scale`.

    Args:
        scale: root mean square of a token's norm.
    """

    scale: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        positive(self, "scale")

    def __call__(self, shape: tuple[int, ...], *, key: PRNGKeyArray) -> Array:
        """Independent tokens."""
        return self.scale * jax.random.normal(key, shape) / jnp.sqrt(1.0 * shape[-1])


class AbstractTarget(Definition):
    """What the outputs should be."""

    @abstractmethod
    def world(self, model: PyTree, example: Array, *, key: PRNGKeyArray) -> PyTree:
        """What the targets of all examples of a lane have in common.

        Args:
            model: the model at its start.
            example: an input; only its shape is used.
            key: random key.
        """

    @abstractmethod
    def __call__(self, inputs: Array, world: PyTree, *, key: PRNGKeyArray) -> Array:
        """Targets of the shape of the model's outputs.

        Args:
            inputs: some examples.
            world: what they have in common with all others.
            key: of this draw.
        """


class Noise(AbstractTarget):
    """Independent Gaussian targets.

    Args:
        scale: their standard deviation.
    """

    scale: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        positive(self, "scale")

    def world(self, model: PyTree, example: Array, *, key: PRNGKeyArray) -> PyTree:
        """An output of zeros, whose shape targets have."""
        del key
        return jnp.zeros(eqx.filter_eval_shape(model, example).shape)

    def __call__(self, inputs: Array, world: PyTree, *, key: PRNGKeyArray) -> Array:
        """Targets of the shape of the model's outputs."""
        return self.scale * jax.random.normal(key, (inputs.shape[0], *world.shape))


class Teacher(AbstractTarget):
    """The outputs of another model, drawn once from its own architecture and kernel.

    Args:
        architecture: the teacher.
    """

    architecture: AbstractArchitecture

    def world(self, model: PyTree, example: Array, *, key: PRNGKeyArray) -> PyTree:
        """The teacher."""
        del model
        return self.architecture.init(example, key=key)

    def __call__(self, inputs: Array, world: PyTree, *, key: PRNGKeyArray) -> Array:
        """Targets of the shape of the teacher's outputs."""
        del key
        return jax.vmap(world)(inputs)


class InRange(AbstractTarget):
    """Targets that the model can reach: its own outputs after `blocks` were moved by Gaussian noise.

    Args:
        blocks: names of the blocks that are moved.
        scale: standard deviation of the noise in each entry.
    """

    blocks: tuple[str, ...] = ("value",)
    scale: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        not_negative(self, "scale")

    def world(self, model: PyTree, example: Array, *, key: PRNGKeyArray) -> PyTree:
        """The model after its blocks were moved."""
        del example
        moved, fixed = select(model, self.blocks)
        leaves, tree = jax.tree.flatten(moved)
        keys = jax.random.split(key, len(leaves))
        leaves = [x + self.scale * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
        return eqx.combine(jax.tree.unflatten(tree, leaves), fixed)

    def __call__(self, inputs: Array, world: PyTree, *, key: PRNGKeyArray) -> Array:
        """Targets of the shape of the model's outputs."""
        del key
        return jax.vmap(world)(inputs)


class SoftmaxHull(AbstractTarget):
    r"""Targets at uniform places of the interval that softmax attention is confined to, or outside of it.

    Whatever the queries and keys, outputs of a sample stay between $\sum_h \min_j u_{hj}$ and $\sum_h \max_j u_{hj}$
    with $u_h = X W^V_h W^O_h$, since rows of attention sum to one.

    Args:
        lower: the lowest place; 0 is the lower end of the interval.
        upper: the highest place, at least `lower`; 1 is the upper end.

    Raises:
        Mistake: if `upper` is below `lower`.
    """

    lower: float = eqx.field(default=0.0, converter=real)
    upper: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        if isinstance(self.lower, float) and isinstance(self.upper, float) and not self.lower <= self.upper:
            raise Mistake(f"SoftmaxHull.upper must be at least lower={self.lower}, got {self.upper}")

    def world(self, model: PyTree, example: Array, *, key: PRNGKeyArray) -> PyTree:
        """The model at its start."""
        del example, key
        return model

    def __call__(self, inputs: Array, world: PyTree, *, key: PRNGKeyArray) -> Array:
        """Targets of the shape of the model's outputs."""
        least, most = self.interval(inputs, world)
        shape = (*inputs.shape[:2], least.shape[-1])
        places = jax.random.uniform(key, shape, minval=self.lower, maxval=self.upper)
        return least[:, None] + places * (most - least)[:, None]

    @staticmethod
    def interval(inputs: Array, model: PyTree) -> tuple[Array, Array]:
        """The two ends for every sample and output.

        Raises:
            Mistake: if the model is not a sum over tokens.
        """
        values = jax.vmap(offering(model, HeadContributions, "SoftmaxHull").contributions)(inputs)
        return values.min(axis=2).sum(axis=1), values.max(axis=2).sum(axis=1)


class TokenRegression(AbstractTask):
    """Samples of random tokens with a target for every output of the model.

    Args:
        tokens: tokens n of a sample.
        dim: their width D.
        distribution: how a token is drawn.
        duplicates: how many tokens of each sample repeat its first one.
        target: what the outputs should be.

    Raises:
        Mistake: if a size is not above 0, or there are at least as many duplicates as tokens.
    """

    tokens: int = 8
    dim: int = 16
    distribution: AbstractTokens = UnitNorm()
    duplicates: int = 0
    target: AbstractTarget = Noise()

    def __check_init__(self):
        positive(self, "tokens")
        positive(self, "dim")
        if not 0 <= self.duplicates < self.tokens:
            raise Mistake(
                f"TokenRegression.duplicates must be at least 0 and below tokens={self.tokens}, got {self.duplicates}"
            )

    @property
    def width(self) -> int:
        """Numbers a token."""
        return self.dim

    def example(self) -> Float[Array, "time dim"]:
        """An input of zeros."""
        return jnp.zeros((self.tokens, self.dim))

    def world(self, model: PyTree, *, key: PRNGKeyArray) -> PyTree:
        """What the targets of a lane have in common."""
        return self.target.world(model, self.example(), key=jax.random.fold_in(key, 1))

    def sample(self, count: int, world: PyTree, *, key: PRNGKeyArray) -> Examples:
        """Random tokens with their targets."""
        drawn = self.distribution((count, self.tokens, self.dim), key=jax.random.fold_in(key, 0))
        first = jnp.broadcast_to(drawn[:, :1], (count, self.duplicates, self.dim))
        inputs = drawn.at[:, 1 : 1 + self.duplicates].set(first)
        return Examples(inputs, self.target(inputs, world, key=jax.random.fold_in(key, 1)))

"""How a parameter block starts: one definition a way."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import not_negative, positive, real
from descentlab._definition import Definition
from descentlab._types import Array, PRNGKeyArray
from descentlab.given import Given
from descentlab.mistake import Mistake

__all__ = ["AbstractInit", "FanIn", "FanInUniform", "Fixed", "Normal", "Orthogonal", "Signs", "Uniform", "Zero"]


class AbstractInit(Definition):
    """A distribution over arrays of a shape."""

    @abstractmethod
    def __call__(self, shape: tuple[int, ...], *, key: PRNGKeyArray) -> Array:
        """One draw. The last two axes are those of a matrix, the ones before them count matrices."""


class Normal(AbstractInit):
    """Independent Gaussian entries with mean 0 and standard deviation `scale`.

    Args:
        scale: standard deviation of an entry (it is not divided by the width); 0 makes every entry zero.

    Raises:
        Mistake: if `scale` is below 0.
    """

    scale: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        not_negative(self, "scale")

    def __call__(self, shape: tuple[int, ...], *, key: PRNGKeyArray) -> Array:
        """One draw."""
        return self.scale * jax.random.normal(key, shape)


class FanIn(AbstractInit):
    """Independent Gaussian entries with standard deviation `scale` / sqrt(rows).

    Args:
        scale: 1 keeps the mean square of a vector.

    References:
        LeCun et al. (1998), Efficient BackProp, section 4.6.
    """

    scale: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        not_negative(self, "scale")

    def __call__(self, shape: tuple[int, ...], *, key: PRNGKeyArray) -> Array:
        """One draw."""
        return self.scale * jax.random.normal(key, shape) / jnp.sqrt(1.0 * shape[-2])


class Uniform(AbstractInit):
    """Independent entries, uniform between -`bound` and `bound`.

    Args:
        bound: the largest absolute value of an entry; the standard deviation is `bound` / sqrt(3).

    Raises:
        Mistake: if `bound` is below 0.
    """

    bound: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        not_negative(self, "bound")

    def __call__(self, shape: tuple[int, ...], *, key: PRNGKeyArray) -> Array:
        """One draw."""
        return self.bound * jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)


class FanInUniform(AbstractInit):
    """Independent entries, uniform between -`scale` / sqrt(rows) and `scale` / sqrt(rows).

    At scale 1 it is how PyTorch starts the weights of a linear layer.

    Args:
        scale: 1 makes the mean square of a vector a third of what it was; sqrt(3) keeps it.

    Raises:
        Mistake: if `scale` is below 0.
    """

    scale: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        not_negative(self, "scale")

    def __call__(self, shape: tuple[int, ...], *, key: PRNGKeyArray) -> Array:
        """One draw."""
        return self.scale * jax.random.uniform(key, shape, minval=-1.0, maxval=1.0) / jnp.sqrt(1.0 * shape[-2])


class Orthogonal(AbstractInit):
    """Matrices with orthonormal columns (or rows, where there are fewer), times `scale`.

    Args:
        scale: every singular value of a matrix.
    """

    scale: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        positive(self, "scale")

    def __call__(self, shape: tuple[int, ...], *, key: PRNGKeyArray) -> Array:
        """One draw, uniform in the Haar measure."""
        draw = jax.nn.initializers.orthogonal()
        rows, columns = shape[-2:]
        keys = jax.random.split(key, shape[:-2])
        matrices = [draw(one, (rows, columns)) for one in keys.reshape(-1)]
        return self.scale * jnp.stack(matrices).reshape(shape)


class Zero(AbstractInit):
    """All entries zero."""

    def __call__(self, shape: tuple[int, ...], *, key: PRNGKeyArray) -> Array:
        """Zeros."""
        del key
        return jnp.zeros(shape)


class Signs(AbstractInit):
    r"""One number in each matrix, with + in the first half of its rows and - in the second: $\pm 2 s / \mathrm{rows}$.

    As a fixed output block it takes the mean over the first half of a head's values less that over the second.

    Args:
        scale: s.

    Raises:
        Mistake: if `scale` is below 0, or rows cannot be halved.

    References:
        The output layer of Li et al. (2024), arXiv:2410.04870.
    """

    scale: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        not_negative(self, "scale")

    def __call__(self, shape: tuple[int, ...], *, key: PRNGKeyArray) -> Array:
        """The matrices."""
        del key
        rows, columns = shape[-2:]
        if rows % 2:
            raise Mistake(f"Signs needs an even number of rows to halve, got a block of shape {shape}")
        half = jnp.full((*shape[:-2], rows // 2, columns), 2.0 / rows)
        return self.scale * jnp.concatenate([half, -half], axis=-2)


class Fixed(AbstractInit):
    """A given array.

    Args:
        array: the block's values, in the block's shape.

    Raises:
        Mistake: if its shape is not the block's.
    """

    array: Given

    def __call__(self, shape: tuple[int, ...], *, key: PRNGKeyArray) -> Array:
        """The given values."""
        del key
        if self.array.value.shape != shape:
            raise Mistake(
                f"the given array {self.array.name!r} must have the block's shape {shape}, got {self.array.value.shape}"
            )
        return jnp.asarray(self.array.value, dtype=jnp.result_type(float))

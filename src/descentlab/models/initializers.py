"""How a parameter block starts: one definition a way."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import not_negative, positive, real
from descentlab._definition import Definition
from descentlab._types import Array, PRNGKeyArray
from descentlab.given import Given

__all__ = ["AbstractInit", "FanIn", "Fixed", "Normal", "Orthogonal", "Zero"]


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
        ValueError: if `scale` is below 0.
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


class Fixed(AbstractInit):
    """A given array.

    Args:
        array: the block's values, in the block's shape.

    Raises:
        ValueError: if its shape is not the block's.
    """

    array: Given

    def __call__(self, shape: tuple[int, ...], *, key: PRNGKeyArray) -> Array:
        """The given values."""
        del key
        if self.array.value.shape != shape:
            raise ValueError(
                f"the given array {self.array.name!r} must have the block's shape {shape}, got {self.array.value.shape}"
            )
        return jnp.asarray(self.array.value, dtype=jnp.result_type(float))

"""Gradient norms, the Polyak-Lojasiewicz ratio and the distance from the start."""

import jax
import jax.numpy as jnp

from descentlab._tree import block_names, blocks, norm_squared
from descentlab._types import Array, PyTree
from descentlab.axis import Axis
from descentlab.point import Point
from descentlab.probes.base import AbstractProbe
from descentlab.schedule import AbstractSchedule, LogSpaced

__all__ = ["Distance", "GradientNorm", "PLRatio", "RelativeDistance", "ZeroGradients"]


def _block_norms(tree: PyTree) -> Array:
    return jnp.stack([jnp.sqrt(norm_squared(arrays)) for arrays in blocks(tree).values()])


class GradientNorm(AbstractProbe):
    """The norm of the gradient in each trained block.

    Args:
        when: the steps at which it is recorded.
    """

    when: AbstractSchedule = LogSpaced()

    def __call__(self, point: Point) -> Array:
        """One norm a block."""
        return _block_norms(point.gradient)

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The trained blocks."""
        return (Axis("block", block_names(params)),)


class PLRatio(AbstractProbe):
    r"""$\|\nabla f\|^2 / (2 f)$, at least $\lambda_{\min}(K)$ everywhere; NaN where the loss is zero.

    Args:
        when: the steps at which it is recorded.

    References:
        Polyak (1963), USSR Comput. Math. Math. Phys. 3:4; `docs/theory/pl.md`.
    """

    when: AbstractSchedule = LogSpaced()

    def __call__(self, point: Point) -> Array:
        """The ratio."""
        return norm_squared(point.gradient) / (2 * point.loss)


class ZeroGradients(AbstractProbe):
    """How many entries of each trained block have a gradient of exactly zero, most often by underflow.

    A sign rule leaves such an entry where it is, whatever the step size.

    Args:
        when: the steps at which they are counted.
    """

    when: AbstractSchedule = LogSpaced()

    def __call__(self, point: Point) -> Array:
        """One number a block."""
        return jnp.stack(
            [
                sum((jnp.sum(array == 0, dtype=point.loss.dtype) for array in arrays), jnp.zeros((), point.loss.dtype))
                for arrays in blocks(point.gradient).values()
            ]
        )

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The trained blocks."""
        return (Axis("block", block_names(params)),)


class RelativeDistance(AbstractProbe):
    r"""The Frobenius distance of each trained block from its start in units of the start, $\|W_t - W_0\| / \|W_0\|$.

    It is infinite for a block that started at zero and has moved, and NaN before.

    Args:
        when: the steps at which it is recorded.
    """

    when: AbstractSchedule = LogSpaced()

    def __call__(self, point: Point) -> Array:
        """One ratio a block."""
        return _block_norms(jax.tree.map(jnp.subtract, point.params, point.start)) / _block_norms(point.start)

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The trained blocks."""
        return (Axis("block", block_names(params)),)


class Distance(AbstractProbe):
    """The Frobenius distance of each trained block from its start.

    Args:
        when: the steps at which it is recorded.
    """

    when: AbstractSchedule = LogSpaced()

    def __call__(self, point: Point) -> Array:
        """One distance a block."""
        return _block_norms(jax.tree.map(jnp.subtract, point.params, point.start))

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The trained blocks."""
        return (Axis("block", block_names(params)),)

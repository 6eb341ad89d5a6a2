"""The Hessian of a loss, known by its products, and its largest eigenvalue (the sharpness)."""

from collections.abc import Callable

import jax
from jax.flatten_util import ravel_pytree

from descentlab._types import Array, Float, PyTree
from descentlab.curvature.lanczos import extreme_pairs
from descentlab.estimate import Estimate

__all__ = ["hessian_product", "sharpness"]


def hessian_product(loss: Callable[[PyTree], Array], params: PyTree) -> Callable[[Array], Array]:
    """The map v -> H v on flat parameters, with H the Hessian of the loss: one forward pass over its gradient."""
    flat, restore = ravel_pytree(params)
    gradient = jax.grad(lambda vector: loss(restore(vector)))
    return lambda vector: jax.jvp(gradient, (flat,), (vector,))[1]


def sharpness(loss: Callable[[PyTree], Float[Array, ""]], params: PyTree, *, matvecs: int = 60) -> Estimate:
    r"""The largest eigenvalue of the Hessian, by Lanczos; its error is the residual $\lVert Hv - \lambda v\rVert$.

    Some eigenvalue lies within the error. The value is never above the largest one but for rounding.

    Args:
        loss: a function of a tree of parameters.
        params: where.
        matvecs: Lanczos steps, at most the number of parameters.

    Examples:
        >>> import jax.numpy as jnp
        >>> round(float(sharpness(lambda x: x[0] ** 2 + 3 * x[1] ** 2, jnp.ones(2)).value), 4)
        6.0
    """
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    return extreme_pairs(hessian_product(loss, params), size, matvecs=matvecs)[1]

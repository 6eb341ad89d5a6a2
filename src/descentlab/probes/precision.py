"""Measurements in double precision, whatever the precision of the run."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._types import Array, PyTree
from descentlab.point import Point

__all__ = ["double", "in_float64"]


def double(tree: PyTree) -> PyTree:
    """The tree with its floating-point arrays in double precision; to be called where that is switched on."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64) if eqx.is_inexact_array(leaf) else leaf, tree)


def in_float64(measure: Callable[..., Array], point: Point, *others: PyTree) -> Array:
    """What a function of objective and trained blocks gives at a point in double precision.

    A rank, a smallest singular value or a certificate cannot be told in single precision. The weights and data of a
    run in single precision are numbers like any others: they are taken as they are, the arithmetic is double, and only
    the result is rounded to the run's precision.

    Args:
        measure: of the objective, the blocks, and the others; it draws no random numbers, of which JAX has none in
            double precision within a program of single precision.
        point: where.
        others: what else it takes, arrays or trees of them.
    """
    if point.loss.dtype == jnp.float64:
        return measure(point.objective, point.params, *others)
    arrays, structure = eqx.partition((point.objective, point.params, *others), eqx.is_array)

    # Lanes take turns: to map over them JAX would go through the operations again, outside of double precision.
    @jax.custom_batching.sequential_vmap
    def found(arrays: PyTree) -> Array:
        with jax.enable_x64(True):
            return measure(*double(eqx.combine(arrays, structure))).astype(point.loss.dtype)

    return found(arrays)

"""Measurements in double precision, whatever the precision of the run."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._types import Array, PyTree
from descentlab.objective import Objective
from descentlab.point import Point

__all__ = ["double", "in_float64"]


def double(tree: PyTree) -> PyTree:
    """The tree with its floating-point arrays in double precision; to be called where that is switched on."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64) if eqx.is_inexact_array(leaf) else leaf, tree)


def in_float64(measure: Callable[[Objective, PyTree], Array], point: Point) -> Array:
    """What a function of objective and trained blocks gives at a point in double precision.

    A rank, a smallest singular value or a certificate cannot be told in single precision. The weights and data of a
    run in single precision are numbers like any others: they are taken as they are, the arithmetic is double, and only
    the result is rounded to the run's precision.

    Args:
        measure: of the objective and the blocks.
        point: where; it may be traced in either precision.
    """
    with jax.enable_x64(True):
        found = measure(*double((point.objective, point.params)))
    return found.astype(point.loss.dtype)

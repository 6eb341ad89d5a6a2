"""Sizes of the blocks of the Hessian and of its two parts, by random signs."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._types import Array, Float, PRNGKeyArray, PyTree
from descentlab.curvature.operators import Functional, GaussNewton
from descentlab.objective import Objective

__all__ = ["PARTS", "BlockDraws", "block_draws"]

PARTS = ("hessian", "gauss-newton", "functional")
"""H, and H_o and H_f, of which it is the sum."""


class BlockDraws(NamedTuple):
    """What random signs say of the blocks; the mean over draws is the truth for infinitely many.

    Attributes:
        squares: squared Frobenius norms, axes draw, part of `PARTS`, row block and column block.
        traces: of the diagonal blocks, axes draw, part and block.
    """

    squares: Float[Array, "draw part row column"]
    traces: Float[Array, "draw part block"]


@eqx.filter_jit
def block_draws(
    objective: Objective, params: PyTree, draws: int, batch: int | None = None, *, key: PRNGKeyArray
) -> BlockDraws:
    """Norms and traces of all blocks by Hutchinson's estimator, a block for every trained array.

    H is the sum of the other two parts, so that all three share products, and a product serves a whole column of
    blocks. A column is the whole matrix with other columns set to zero: columns then differ by an array and not by the
    program, which is compiled once for all layers.

    Args:
        objective: whose Hessian.
        params: where.
        draws: products of a column.
        batch: examples passed through at once; `None` takes all.
        key: of the signs.
    """
    outer, functional = GaussNewton(objective, params, batch), Functional(objective, params, batch)
    products, sizes = (outer.linear(), functional.linear()), list(outer.blocks.values())
    masks = jnp.asarray(np.repeat(np.eye(len(sizes)), sizes, axis=1), outer.dtype)

    def one(drawn: tuple[Array, PRNGKeyArray]) -> tuple[Array, Array]:
        mask, key = drawn
        signs = mask * jax.random.rademacher(key, mask.shape, mask.dtype)
        first, second = (product(signs) for product in products)
        parts = jnp.stack([first + second, first, second])
        return parts**2 @ masks.T, parts @ signs

    every = jnp.repeat(masks, draws, axis=0), jnp.tile(jax.random.split(key, draws), len(sizes))
    squares, traces = jax.lax.map(one, every)
    squares = squares.reshape(len(sizes), draws, len(PARTS), len(sizes)).transpose(1, 2, 3, 0)
    return BlockDraws(squares, traces.reshape(len(sizes), draws, len(PARTS)).transpose(1, 2, 0))

"""Frobenius norms of the diagonal blocks of the Hessian and of its two parts, as functions of the scale of the data."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._tree import array_names, block_names, select
from descentlab._types import Array, Float, PRNGKeyArray, PyTree
from descentlab.axis import Axis
from descentlab.curvature import block_draws
from descentlab.curvature.blocks import PARTS as ALL
from descentlab.objective import Objective
from descentlab.point import Point
from descentlab.probes.base import AbstractProbe
from descentlab.schedule import AbstractSchedule, At

__all__ = ["PARTS", "Growth", "block_norms", "key_of", "scaled"]

PARTS = ("outer", "functional", "hessian")
"""H_o, H_f and their sum H."""


class Growth(AbstractProbe):
    r"""$\lVert H(W, W) \rVert_F$ of every trained array W with its embeddings multiplied by each of several scales.

    Embeddings drawn with standard deviation 1 and multiplied by $\sigma$ are embeddings drawn with $\sigma$. The norms
    are square roots of Hutchinson means. Directions are drawn from the examples of a lane, so that they differ from
    seed to seed, and the spread over seeds holds the error of the means too.

    Args:
        scales: the factors $\sigma$.
        draws: products of a norm.
        when: the steps at which they are recorded.
    """

    scales: tuple[float, ...] = (1.0,)
    draws: int = 20
    when: AbstractSchedule = At((0,))

    def __call__(self, point: Point) -> Array:
        """The norms, axes part, array and scale."""
        key = key_of(point.objective.inputs)

        def at(scale: Array) -> Array:
            return block_norms(*scaled(point.objective, point.params, scale), self.draws, key=key)

        return jnp.moveaxis(jax.lax.map(at, jnp.asarray(self.scales, point.loss.dtype)), 0, -1)

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """Part of the Hessian, array, and number of the scale."""
        return Axis("part", PARTS), Axis("array", tuple(array_names(params))), Axis("scale")


def key_of(inputs: Array) -> PRNGKeyArray:
    """A random key that depends on all numbers of some examples."""
    bits = jax.lax.bitcast_convert_type(inputs.astype(jnp.float32), jnp.uint32).ravel()
    # The lower half of the bits of a small integer is zero.
    mixed = (bits ^ (bits >> 16)) * jax.random.bits(jax.random.key(0), bits.shape, jnp.uint32)
    return jax.random.fold_in(jax.random.key(1), jnp.sum(mixed, dtype=jnp.uint32))


def scaled(objective: Objective, params: PyTree, scale: Array | float) -> tuple[Objective, PyTree]:
    """Objective and trained blocks with the embeddings of tokens and places multiplied by a number."""
    frozen, params = (_scaled(tree, scale) for tree in (objective.frozen, params))
    return dataclasses.replace(objective, frozen=frozen), params


def _scaled(tree: PyTree, scale: Array | float) -> PyTree:
    scaled_blocks = [name for name in block_names(tree) if name in ("embed", "position")]
    if not scaled_blocks:
        return tree
    embeddings, rest = select(tree, scaled_blocks)
    return eqx.combine(jax.tree.map(lambda a: scale * a, embeddings), rest)


def block_norms(objective: Objective, params: PyTree, draws: int, *, key: PRNGKeyArray) -> Float[Array, "part array"]:
    """The norm of every diagonal block of H_o, then of H_f, then of H, estimated by so many products each."""
    squares = block_draws(objective, params, draws, key=key).squares.mean(axis=0)
    chosen = jnp.asarray([ALL.index(part) for part in ("gauss-newton", "functional", "hessian")])
    return jnp.sqrt(jnp.diagonal(squares[chosen], axis1=1, axis2=2))

r"""Directions in parameter space that are right for Transformers, and the scaling symmetry of query and key.

Kernels that see queries and keys through their products alone (softmax, linear, ReLU) leave the loss unchanged under

$$W^Q_h \to s_h W^Q_h,\qquad W^K_h \to W^K_h / s_h,\qquad s_h > 0$$

for every head h, biases included. The Gaussian kernels do not. A plane or a curvature that changes under this map says
something about the representative and not about the function. Directions of `random_direction` follow the map, so the
loss at $\theta + a d$ is the same for every representative. `balanced` picks one representative for everything else,
and `off_scaling` takes out of a direction what only moves along the symmetry.
"""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import GetAttrKey, keystr, tree_map_with_path

from descentlab._tree import block_names, block_of, named, with_named
from descentlab._types import Array, Float, PRNGKeyArray, PyTree
from descentlab.mistake import Mistake

__all__ = ["balanced", "off_scaling", "random_direction"]

QUERY, KEY = "query", "key"


def random_direction(params: PyTree, *, key: PRNGKeyArray) -> PyTree:
    r"""A Gaussian direction in which every matrix has the norm of the parameters' matrix, $d = g \|W\| / \|g\|$.

    A matrix is the last two axes of an array, so every head has its own norm; in a bias (a block whose name ends in
    `bias`) the last axis is a vector, and any other array with one axis counts as a whole. Where the norm is zero the
    direction is zero, so a bias that is zero stays there. The draw of an array depends on the key and its path in the
    tree alone: two models that differ in their kernel get the same draw.

    Args:
        params: the point, whose norms are taken.
        key: decides the draw.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> d = random_direction({"bias": jnp.zeros(3), "weight": 2 * jnp.ones((2, 2))}, key=jax.random.key(0))
        >>> round(float(jnp.linalg.norm(d["bias"])), 4), round(float(jnp.linalg.norm(d["weight"])), 4)
        (0.0, 4.0)

    References:
        Li et al. (2018), arXiv:1712.09913, section 4, with matrices in the place of convolution filters.
    """

    def drawn(path: tuple, leaf: Array) -> Array:
        draw = jax.random.normal(jax.random.fold_in(key, zlib.crc32(keystr(path).encode())), leaf.shape, leaf.dtype)
        name = str(path[-1].name) if path and isinstance(path[-1], GetAttrKey) else ""
        return draw * _norm(leaf, name) / _norm(draw, name)

    return tree_map_with_path(drawn, params)


def _norm(array: Array, name: str) -> Float[Array, "..."]:
    """The norm of every matrix of a block, or of every vector of a bias, with its axes kept."""
    return jnp.sqrt(_product(array, array, name))


def _product(one: Array, other: Array, name: str) -> Float[Array, "..."]:
    """The inner product of every matrix of a block, or of every vector of a bias, with its axes kept."""
    own = 1 if name.endswith("bias") else 2
    return jnp.sum(one * other, axis=tuple(range(max(0, one.ndim - own), one.ndim)), keepdims=True)


def _layers(params: PyTree) -> list[dict[str, str]]:
    """By layer, the names of its arrays of query and key, and of their biases where there are any.

    Raises:
        Mistake: if the parameters lack one of the two blocks.
    """
    names = list(named(params))
    wanted = (QUERY, KEY, f"{QUERY}_bias", f"{KEY}_bias")
    found = {block: [name for name in names if block_of(name) == block] for block in wanted}
    if missing := [block for block in (QUERY, KEY) if not found[block]]:
        raise Mistake(
            f"the scaling symmetry needs {QUERY} and {KEY} among the parameters, {missing[0]} is not there (they have "
            f"{', '.join(block_names(params))}); where one of them is fixed there is no symmetry"
        )
    return [{block: found[block][i] for block in wanted if found[block]} for i in range(len(found[QUERY]))]


def _by_head(factor: Array, array: Array | np.ndarray) -> Array:
    """One factor a head, with the axes of a matrix or of a bias."""
    return factor.reshape(-1, *(1,) * (array.ndim - 1))


def balanced(params: PyTree) -> PyTree:
    r"""The representative with $\|W^Q_h\| = \|W^K_h\|$ for every head; a head with a zero matrix stays as it is.

    The loss is unchanged only for kernels that have the symmetry.

    Args:
        params: parameters with both blocks.

    Raises:
        Mistake: if the parameters lack one of the blocks.
    """
    arrays = dict(named(params))
    for layer in _layers(params):
        query, key = (_norm(jnp.asarray(arrays[layer[block]]), block) for block in (QUERY, KEY))
        both = (query > 0) & (key > 0)
        scale = jnp.where(both, jnp.sqrt(jnp.where(both, key, 1.0) / jnp.where(both, query, 1.0)), 1.0)
        for block, name in layer.items():
            power = 1.0 if block.startswith(QUERY) else -1.0
            arrays[name] = arrays[name] * _by_head(scale**power, arrays[name])
    return with_named(params, arrays)


def off_scaling(direction: PyTree, params: PyTree) -> PyTree:
    r"""The direction without its part along the scaling symmetry, whose tangent is $(W^Q_h, -W^K_h)$ for every head.

    The projection is orthogonal in the norm relative to each matrix, $\sum \|D\|^2/\|W\|^2$, in which it does not
    depend on the representative.

    Args:
        direction: a tree like `params`.
        params: the point, with both blocks.

    Raises:
        Mistake: if the parameters lack one of the blocks.
    """
    at, moved = named(params), dict(named(direction))
    for layer in _layers(params):
        along, parts = jnp.zeros(()), jnp.zeros(())
        for block, name in layer.items():
            share, present = _share(jnp.asarray(moved[name]), jnp.asarray(at[name]), block)
            along = along + (share if block.startswith(QUERY) else -share)
            parts = parts + present
        for block, name in layer.items():
            factor = _by_head(along / jnp.maximum(parts, 1), at[name])
            moved[name] = moved[name] - (factor if block.startswith(QUERY) else -factor) * at[name]
    return with_named(direction, moved)


def _share(direction: Array, at: Array, block: str) -> tuple[Array, Array]:
    r"""By head, $\langle D, W\rangle / \|W\|^2$ (0 where W is zero), and 1 where it is not."""
    square = _product(at, at, block).reshape(-1)
    product = _product(direction, at, block).reshape(-1)
    return jnp.where(square > 0, product / jnp.where(square > 0, square, 1.0), 0.0), (square > 0) * 1.0

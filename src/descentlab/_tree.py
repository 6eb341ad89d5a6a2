"""Parameter blocks: the named parts of a model that are trained, frozen, measured and drawn.

A block is every array of a model whose path ends in the same field name, so `query` is one block of a layer and the
query weights of all layers of a deeper model.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import tree_flatten_with_path

from descentlab._check import nearest
from descentlab._types import Array, PyTree

__all__ = ["block_names", "blocks", "norm_squared", "split"]


def _name(path: tuple) -> str:
    return next((str(part.name) for part in reversed(path) if isinstance(part, jax.tree_util.GetAttrKey)), "")


def blocks(tree: PyTree) -> dict[str, list[Array | np.ndarray]]:
    """The inexact arrays of a model (or of a part of one, such as a gradient) by block name, in tree order."""
    found: dict[str, list[Array | np.ndarray]] = {}
    for path, leaf in tree_flatten_with_path(tree)[0]:
        if eqx.is_inexact_array(leaf):
            found.setdefault(_name(path), []).append(leaf)
    return found


def block_names(tree: PyTree) -> tuple[str, ...]:
    """Names of the blocks of a model, in tree order."""
    return tuple(blocks(tree))


def split(model: PyTree, trained: Sequence[str]) -> tuple[PyTree, PyTree]:
    """Two trees of the model's shape: the trained blocks, and everything else.

    `eqx.combine` puts them together again. Only the first is differentiated, so a frozen block costs no gradient.

    Args:
        model: the initialised model.
        trained: names of the blocks that are trained.

    Raises:
        ValueError: if no block is named, or one that the model does not have.
    """
    names = [name for name in block_names(model)]
    if not trained:
        raise ValueError(f"at least one block must be trained, got none; the model has {', '.join(names)}")
    for name in trained:
        if name not in names:
            raise ValueError(f"there is no block {name!r} to train; {nearest(name, names)}")

    def is_trained(path: tuple, leaf: PyTree) -> bool:
        return eqx.is_inexact_array(leaf) and _name(path) in trained

    return eqx.partition(model, jax.tree_util.tree_map_with_path(is_trained, model))


def norm_squared(tree: PyTree) -> Array:
    """Sum of squares of every array in the tree."""
    return sum((jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(tree)), jnp.zeros(()))

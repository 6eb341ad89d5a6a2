"""Parameter blocks: the named parts of a model that are trained, frozen, measured and drawn.

A block is every array of a model whose path ends in the same field name, so `query` is one block of a layer and the
query weights of all layers of a deeper model.
"""

from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import tree_flatten_with_path

from descentlab._check import nearest
from descentlab._types import Array, PyTree

__all__ = ["array_names", "block_names", "blocks", "chosen", "named", "norm_squared", "of_block", "split", "with_named"]


def _name(path: tuple) -> str:
    return next((str(part.name) for part in reversed(path) if isinstance(part, jax.tree_util.GetAttrKey)), "")


def _is_parameter(leaf: PyTree) -> bool:
    """Whether a leaf is an array of parameters; a number without axes is a float of a definition in a lane."""
    return eqx.is_inexact_array(leaf) and leaf.ndim > 0


def blocks(tree: PyTree) -> dict[str, list[Array | np.ndarray]]:
    """The inexact arrays of a model (or of a part of one, such as a gradient) by block name, in tree order."""
    found: dict[str, list[Array | np.ndarray]] = {}
    for path, leaf in tree_flatten_with_path(tree)[0]:
        if _is_parameter(leaf):
            found.setdefault(_name(path), []).append(leaf)
    return found


def named(tree: PyTree) -> dict[str, Array | np.ndarray]:
    """The inexact arrays of a model by name; several arrays of one block are numbered `name.0`, `name.1`."""
    found = {}
    for name, arrays in blocks(tree).items():
        numbered = {f"{name}.{i}": array for i, array in enumerate(arrays)}
        found |= numbered if len(arrays) > 1 else {name: arrays[0]}
    return found


def array_names(tree: PyTree) -> list[str]:
    """The names that `named` gives, in tree order."""
    counts = {name: len(arrays) for name, arrays in blocks(tree).items()}
    seen = dict.fromkeys(counts, -1)
    found = []
    for path, leaf in tree_flatten_with_path(tree)[0]:
        if _is_parameter(leaf):
            name = _name(path)
            seen[name] += 1
            found.append(f"{name}.{seen[name]}" if counts[name] > 1 else name)
    return found


def of_block(array: str, name: str) -> bool:
    """Whether an array is meant by a name: its own, or that of its block."""
    return name in (array, array.partition(".")[0])


def chosen(tree: PyTree, names: Sequence[str]) -> tuple[PyTree, PyTree]:
    """Two trees of the same shape: the arrays meant by any of the names, and everything else.

    Args:
        tree: a model or a part of one.
        names: of blocks, such as `query`, or of single arrays of one, such as `query.0`.

    Raises:
        ValueError: if nothing has one of the names.
    """
    every = array_names(tree)
    known = list(dict.fromkeys([*(one.partition(".")[0] for one in every), *every]))
    for name in names:
        if name not in known:
            raise ValueError(f"there is no block {name!r} here; {nearest(name, known)}")
    arrays = iter(every)

    def is_meant(leaf: PyTree) -> bool:
        if not _is_parameter(leaf):
            return False
        array = next(arrays)
        return any(of_block(array, name) for name in names)

    return eqx.partition(tree, jax.tree.map(is_meant, tree))


def with_named(model: PyTree, arrays: Mapping[str, Array | np.ndarray]) -> PyTree:
    """The model with its inexact arrays replaced by those of the same name.

    Raises:
        ValueError: if a name or a shape is not the model's.
    """
    own = {name: array.shape for name, array in named(model).items()}
    given = {name: array.shape for name, array in arrays.items()}
    if own != given:
        name = next(name for name in (own | given) if own.get(name) != given.get(name))
        raise ValueError(
            f"the model must have the blocks of the one it continues: {name!r} is {own.get(name, 'absent')} here and "
            f"{given.get(name, 'absent')} there; change only what leaves shapes as they are, such as the kernel"
        )
    left = {block: [name for name in own if name.partition(".")[0] == block] for block in blocks(model)}

    def replaced(path: tuple, leaf: PyTree) -> PyTree:
        return jnp.asarray(arrays[left[_name(path)].pop(0)], leaf.dtype) if _is_parameter(leaf) else leaf

    return jax.tree_util.tree_map_with_path(replaced, model)


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
        return _is_parameter(leaf) and _name(path) in trained

    return eqx.partition(model, jax.tree_util.tree_map_with_path(is_trained, model))


def norm_squared(tree: PyTree) -> Array:
    """Sum of squares of every array in the tree."""
    return sum((jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(tree)), jnp.zeros(()))

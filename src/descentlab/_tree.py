"""Parameters and their names: the parts of a model that are trained, frozen, measured and drawn.

A parameter is an inexact array of a model, a scalar too, that is not part of a definition: the floats of a kernel or a
normalisation that a model keeps are hyperparameters. Its name is its path, `query` in a layer and `layers.0.query` in a
deeper model. Parameters of one last name form a block: `query` is the block of the query weights of all layers.

A selector means parameters by their name, by a prefix of it (`layers.0`), by the name of their block (`query`), or by a
pattern in which `*` stands for anything, dots too, and `?` for one character (`layers.*.query_bias`).
"""

import fnmatch
from collections.abc import Collection, Iterator, Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import DictKey, GetAttrKey, SequenceKey, tree_flatten_with_path, tree_map_with_path

from descentlab._check import nearest
from descentlab._definition import Definition
from descentlab._types import Array, PyTree
from descentlab.mistake import Mistake

__all__ = [
    "array_names",
    "block_names",
    "block_of",
    "blocks",
    "is_meant",
    "named",
    "norm_squared",
    "parted",
    "select",
    "with_named",
]


def _is_definition(part: PyTree) -> bool:
    return isinstance(part, Definition)


def _is_parameter(leaf: PyTree) -> bool:
    return eqx.is_inexact_array(leaf)


def _name(path: tuple) -> str:
    """A path as a name, its parts joined by dots."""
    return ".".join(_part(key) for key in path)


def _part(key: object) -> str:
    match key:
        case GetAttrKey(name):
            return name
        case DictKey(name):
            return str(name)
        case SequenceKey(place):
            return str(place)
        case _:
            return str(getattr(key, "key", key))


def _parameters(tree: PyTree) -> Iterator[tuple[str, Array | np.ndarray]]:
    for path, leaf in tree_flatten_with_path(tree, is_leaf=_is_definition)[0]:
        if _is_parameter(leaf):
            yield _name(path), leaf


def named(tree: PyTree) -> dict[str, Array | np.ndarray]:
    """The parameters of a model, or of a part of one such as a gradient, by name, in tree order.

    Raises:
        Mistake: if two have the same name, as those of `{"a.b": x}` and `{"a": {"b": y}}` have.
    """
    found: dict[str, Array | np.ndarray] = {}
    for name, leaf in _parameters(tree):
        if name in found:
            raise Mistake(f"two parameters of the model have the path {name!r}; use names without dots")
        found[name] = leaf
    return found


def array_names(tree: PyTree) -> list[str]:
    """The names of its parameters, in tree order."""
    return list(named(tree))


def block_of(name: str) -> str:
    """The block that a parameter belongs to: the last part of its name that is no number."""
    parts = name.split(".")
    return next((part for part in reversed(parts) if not part.isdecimal()), name)


def blocks(tree: PyTree) -> dict[str, list[Array | np.ndarray]]:
    """The parameters by the name of their block, in tree order."""
    found: dict[str, list[Array | np.ndarray]] = {}
    for name, leaf in _parameters(tree):
        found.setdefault(block_of(name), []).append(leaf)
    return found


def block_names(tree: PyTree) -> tuple[str, ...]:
    """Names of the blocks of a model, in tree order."""
    return tuple(blocks(tree))


def is_meant(name: str, selector: str) -> bool:
    """Whether a parameter is meant by a selector."""
    return (
        selector in (name, block_of(name))
        or name.startswith(f"{selector}.")
        or (any(sign in selector for sign in "*?[") and fnmatch.fnmatchcase(name, selector))
    )


def select(tree: PyTree, selectors: Sequence[str] | None) -> tuple[PyTree, PyTree]:
    """Two trees of the same shape: the parameters that are meant, and everything else.

    `eqx.combine` puts them together again. Where the first alone is differentiated, the rest costs no gradient.

    Args:
        tree: a model or a part of one.
        selectors: what is meant; `None` means all parameters.

    Raises:
        Mistake: if nothing is selected, or a selector means no parameter.
    """
    every = array_names(tree)
    wanted = ["*"] if selectors is None else selectors
    if not wanted or not every:
        raise Mistake(f"at least one parameter must be selected, got none; there are {', '.join(_known(every))}")
    for selector in wanted:
        if not any(is_meant(name, selector) for name in every):
            raise Mistake(f"there is no parameter {selector!r} here; {nearest(selector, _known(every))}")

    return parted(tree, [name for name in every if any(is_meant(name, selector) for selector in wanted)])


def parted(tree: PyTree, names: Collection[str]) -> tuple[PyTree, PyTree]:
    """Two trees of the same shape: the parameters of exactly these names, and everything else."""

    def is_named(path: tuple, leaf: PyTree) -> bool:
        return _is_parameter(leaf) and _name(path) in names

    return eqx.partition(tree, tree_map_with_path(is_named, tree, is_leaf=_is_definition))


def _known(every: Sequence[str]) -> list[str]:
    """What a selector may be, blocks first."""
    return list(dict.fromkeys([*map(block_of, every), *every]))


def with_named(model: PyTree, arrays: Mapping[str, Array | np.ndarray]) -> PyTree:
    """The model with its parameters replaced by those of the same name.

    Raises:
        Mistake: if a name or a shape is not the model's.
    """
    own = {name: array.shape for name, array in _parameters(model)}
    given = {name: array.shape for name, array in arrays.items()}
    if own != given:
        name = next(name for name in (own | given) if own.get(name) != given.get(name))
        raise Mistake(
            f"the model must have the blocks of the one it continues: {name!r} is {own.get(name, 'absent')} here and "
            f"{given.get(name, 'absent')} there; change only what leaves shapes as they are, such as the kernel"
        )

    def replaced(path: tuple, leaf: PyTree) -> PyTree:
        return jnp.asarray(arrays[_name(path)], leaf.dtype) if _is_parameter(leaf) else leaf

    return tree_map_with_path(replaced, model, is_leaf=_is_definition)


def norm_squared(tree: PyTree) -> Array:
    """Sum of squares of every array in the tree."""
    return sum((jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(tree)), jnp.zeros(()))

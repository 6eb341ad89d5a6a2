r"""Directions along which the loss of an attention layer cannot change, whatever the targets.

Two kinds are known. *Translations*: $f(\theta + u) = f(\theta)$ everywhere, so that the Hessian vanishes on u at every
point. *Orbits* of a linear group, such as $(W^Q A, W^K A^{-\top})$ under softmax: the Hessian vanishes on their
tangents at every stationary point. Both say nothing about a minimum, and a second-order test is made on what is left.
Proofs: `docs/theory/stationary.md`.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from descentlab._tree import block_names
from descentlab._types import Array, Bool, Float, PyTree
from descentlab.models import MultiHeadAttention
from descentlab.objective import Objective

__all__ = ["flat_projector", "known_flat", "query_chart", "token_chart", "unmoved_tokens"]


def token_chart(objective: Objective, params: PyTree) -> tuple[Array, Callable[[Array], PyTree]] | None:
    """Coordinates in which the tokens of a trained query block do not meet: the queries themselves.

    With independent tokens any change of the queries is one of the query block, the smallest of which is taken. Steps
    that are made in these coordinates move one token's queries without disturbing those of another.

    Returns:
        The queries as a vector, and the map from such a vector to parameters; `None` where there are no such
        coordinates: another block is trained too, or there are more tokens than numbers in one.
    """
    return query_chart(objective.model(params), objective, params)


@functools.singledispatch
def query_chart(model: PyTree, objective: Objective, params: PyTree) -> tuple[Array, Callable[[Array], PyTree]] | None:
    """That of one architecture: none unless it is registered with `query_chart.register`."""
    del model, objective, params
    return None


@query_chart.register
def _(
    model: MultiHeadAttention, objective: Objective, params: PyTree
) -> tuple[Array, Callable[[Array], PyTree]] | None:
    inputs = objective.inputs
    if block_names(params) != ("query",):
        return None
    tokens = inputs.reshape(-1, inputs.shape[-1])
    if tokens.shape[0] > tokens.shape[1]:
        return None
    flat, unravel = ravel_pytree(params)
    inverse = jnp.linalg.pinv(tokens)
    queries = tokens @ model.query

    def place(vector: Array) -> PyTree:
        moved = inverse @ (vector.reshape(queries.shape) - queries)
        return unravel(flat + moved.ravel())

    return queries.ravel(), place


def flat_projector(
    objective: Objective, params: PyTree, counted: Bool[Array, "batch time"] | None = None
) -> Float[Array, "param param"]:
    """The orthogonal projector on the known flat directions, in the order of the flattened trained parameters.

    Args:
        objective: its model decides what is known; see `known_flat`.
        params: where; the frozen blocks, the tokens and the tangents of orbits matter.
        counted: the tokens on whose outputs the loss must not change, where it splits over tokens; all by default.

    Returns:
        The projector; zero where no flat direction is known.
    """
    return known_flat(objective.model(params), objective, params, counted)


@functools.singledispatch
def known_flat(
    model: PyTree, objective: Objective, params: PyTree, counted: Bool[Array, "batch time"] | None
) -> Float[Array, "param param"]:
    """The projector of one architecture: zero unless it is registered with `known_flat.register`."""
    del model, objective, counted
    size = ravel_pytree(params)[0].shape[0]
    return jnp.zeros((size, size))


@known_flat.register
def _(
    model: MultiHeadAttention, objective: Objective, params: PyTree, counted: Bool[Array, "batch time"] | None
) -> Float[Array, "param param"]:
    trained = block_names(params)
    inputs = objective.inputs
    met = inputs if counted is None else jnp.where(counted[..., None], inputs, 0.0)
    parts = [_null(_seen(model, (inputs, met), name, trained)) for name in trained]
    whole = jax.scipy.linalg.block_diag(*(matrix for part in parts for matrix in part))
    columns = _tangents(model, params, trained)
    if columns is None:
        return whole
    lengths = jnp.linalg.norm(columns, axis=0)
    columns = columns / jnp.where(lengths > 0, lengths, 1.0)
    vectors, values, _ = jnp.linalg.svd(jnp.concatenate([whole, columns], axis=1), full_matrices=False)
    # A tangent off the others by less than the root of the rounding gives a direction of less than half the digits.
    chosen = vectors * (values > jnp.sqrt(jnp.finfo(values.dtype).eps) * values[0])
    return chosen @ chosen.T


def unmoved_tokens(
    objective: Objective, params: PyTree, directions: Float[Array, "param param"]
) -> Bool[Array, "batch time"]:
    """The tokens of which no attention weight changes along some directions, with the query block alone trained.

    A change counts where it is above rounding times the most that it could be, in squares.

    Args:
        objective: of a layer of multi-head attention.
        params: where; the frozen blocks and the tokens matter.
        directions: the projector on them.
    """
    model, inputs = objective.model(params), objective.inputs
    met = _met(model, inputs, "query", ("query",))
    heads, width, part = model.query.shape
    moves = jnp.einsum("nid,hdep,nhje->nihjp", inputs, directions.reshape(heads, width, part, -1), met)
    most = jnp.sum(inputs**2, axis=-1) * jnp.sum(met**2, axis=(1, 2, 3))[:, None]
    return jnp.sum(moves**2, axis=(2, 3, 4)) <= jnp.finfo(moves.dtype).eps * most


def _null(rows: Float[Array, "heads row part"]) -> Float[Array, "heads part part"]:
    """Projectors on the null spaces of matrices, to rounding; everything where a matrix is zero."""
    _, values, basis = jnp.linalg.svd(rows, full_matrices=False)
    rounding = max(rows.shape[1:]) * jnp.finfo(rows.dtype).eps
    seen = basis * (values > rounding * values[:, :1])[..., None]
    return jnp.eye(rows.shape[2]) - jnp.swapaxes(seen, -1, -2) @ seen


def _seen(
    model: MultiHeadAttention, given: tuple[Array, Array], block: str, trained: tuple[str, ...]
) -> Float[Array, "heads row part"]:
    """By head, a matrix on whose null space a change of the block is a translation that no output sees.

    Its rows are, sample by sample, (the tokens) kron (what the block's product with them meets). A product of the two
    with their transposes would resolve singular values to the root of the rounding only.

    Args:
        model: the layer.
        given: the tokens, and those of them that count, the others zero.
        block: name of the block that moves.
        trained: names of the trained blocks.
    """
    inputs, tokens = given
    heads, width, part = getattr(model, block).shape
    if block == "output":
        return jnp.broadcast_to(jnp.eye(width * part), (heads, width * part, width * part))
    facts = model.attention.facts
    if block == "key" and facts.products_only and facts.softmax_rows:
        tokens = _centred(inputs)
    met = _met(model, inputs, block, trained)
    return jnp.einsum("nia,nhje->hnijae", tokens, met).reshape(heads, -1, width * part)


def _met(
    model: MultiHeadAttention, inputs: Array, block: str, trained: tuple[str, ...]
) -> Float[Array, "batch heads row part"]:
    """By sample and head, the rows that the product of the tokens with a block meets.

    A row of softmax sees how far keys are apart only: what of a squared distance is not the product with the query is
    the same for all keys, or does not move with the query.
    """
    facts = model.attention.facts
    samples, heads, part = inputs.shape[0], model.query.shape[0], getattr(model, block).shape[-1]
    if block == "query" and "key" not in trained and (facts.products_only or facts.softmax_rows):
        keys = jnp.einsum("nid,hde->nhie", inputs, model.key)
        return _centred(keys) if facts.softmax_rows else keys
    if block == "key" and "query" not in trained and facts.products_only:
        return jnp.einsum("nid,hde->nhie", inputs, model.query)
    met = jnp.eye(part)[None]
    if block == "value" and "output" not in trained:
        met = jnp.swapaxes(model.output, -1, -2)
    return jnp.broadcast_to(met, (samples, heads, *met.shape[-2:]))


def _centred(rows: Array) -> Array:
    """Rows minus their mean; what rounding leaves of equal ones is nothing."""
    apart = rows - rows.mean(axis=-2, keepdims=True)
    rounding = rows.shape[-2] * jnp.finfo(rows.dtype).eps * jnp.abs(rows).max(axis=-2, keepdims=True)
    return jnp.where(jnp.abs(apart) > rounding, apart, 0.0)


def _tangents(model: MultiHeadAttention, params: PyTree, trained: tuple[str, ...]) -> Array | None:
    r"""Tangents of $(W^Q A, W^K A^{-\top})$ and $(W^V A, A^{-1} W^O)$, one column each; `None` without a trained pair.

    Where queries and keys meet in their distance, A is orthogonal.
    """
    units = _units(model.query.shape[-1])
    skew = np.asarray([u - u.T for u in units if np.triu(u, 1).any()]).reshape(-1, *units.shape[1:])
    moves = []
    facts = model.attention.facts
    if {"query", "key"} <= set(trained) and (facts.products_only or facts.distances_only):
        chosen = units if facts.products_only else skew
        moves += [({"query": model.query @ a, "key": -model.key @ a.T}) for a in chosen]
    if {"value", "output"} <= set(trained):
        moves += [{"value": model.value @ a, "output": -a @ model.output} for a in _units(model.value.shape[-1])]
    heads = range(model.query.shape[0])
    columns = [_column(params, trained, move, head) for move in moves for head in heads]
    return jnp.stack(columns, axis=1) if columns else None


def _units(width: int) -> np.ndarray:
    """The square matrices with a single one."""
    return np.eye(width * width).reshape(-1, width, width)


def _column(params: PyTree, trained: tuple[str, ...], move: dict[str, Array], head: int) -> Array:
    """One head's move as a vector, the other trained blocks and heads at rest."""
    parts = []
    for name in trained:
        still = jnp.zeros_like(getattr(params, name))
        parts.append((still.at[head].set(move[name][head]) if name in move else still).ravel())
    return jnp.concatenate(parts)

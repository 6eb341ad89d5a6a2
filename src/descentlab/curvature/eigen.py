"""Eigenpairs at the ends of a spectrum, by Lanczos with full reorthogonalisation and thick restarts.

The basis V is kept orthonormal to rounding, together with the products A V. Ritz pairs are therefore those of the true
projection V A V^T, copies of a converged eigenvalue do not arise, and a residual is computed from products and not from
a recurrence. A start vector that is orthogonal to an eigenvector never finds it, and of a multiple eigenvalue one
start vector shows one: so, where this is to be verified, a fresh random vector is let in after convergence, and what it
brings must leave the answer as it is.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._check import positive, real
from descentlab._definition import Definition
from descentlab._types import Array, Bool, Float, Int, PRNGKeyArray
from descentlab.curvature.operators import MEMORY, Operator, Product
from descentlab.estimate import Estimate

__all__ = ["Eigenpairs", "Krylov", "eigenpairs"]

STRIDE = 5
"""Products between two looks at the Ritz pairs."""

RANDOM_PART = 0.01
"""Norm of the random part of a start that is given."""

FLOOR = 16.0
"""A residual below this times the machine precision times the norm of the matrix is rounding."""


class Krylov(Definition):
    """How hard eigenpairs are looked for.

    Args:
        tolerance: a pair has converged when its residual is at most this times its absolute value, or rounding.
        products: the most products with the matrix.
        verify: whether a fresh random vector must confirm the answer; costs about as much again.
        memory: bytes that the basis and its products may take; with less there are more restarts.

    Raises:
        ValueError: if a number is not above 0.
    """

    tolerance: float = eqx.field(default=1e-6, converter=real)
    products: int = 3000
    verify: bool = True
    memory: int = MEMORY

    def __check_init__(self):
        for name in ("tolerance", "products", "memory"):
            positive(self, name)


class Eigenpairs(NamedTuple):
    r"""Eigenvalues at the ends of a spectrum, the largest first, then the smallest, each end from the outside in.

    Attributes:
        values: with their true residuals $\lVert A v - \lambda v \rVert$ as errors: an eigenvalue lies that close.
        vectors: unit eigenvectors, one a row.
        converged: which residuals, and those of all pairs further out, are within the tolerance; with verification none
            before it is done. Others are no eigenvalues yet, only bounds: the i-th largest is at least the i-th value,
            the i-th smallest at most.
        verified: whether a fresh start left all values as they were, so that none is missing, by a probability and not
            by a proof; a spectrum from a dense matrix needs none.
        products: made with the matrix.
    """

    values: Estimate
    vectors: Float[Array, "pair row"]
    converged: Bool[Array, " pair"]
    verified: Bool[Array, ""]
    products: Int[Array, ""]


def eigenpairs(
    operator: Operator,
    *,
    top: int = 1,
    bottom: int = 0,
    method: Krylov | None = None,
    start: Float[Array, "pair row"] | None = None,
    key: PRNGKeyArray | None = None,
) -> Eigenpairs:
    r"""The `top` largest and the `bottom` smallest eigenpairs of a symmetric matrix.

    A matrix of few rows is formed and diagonalised; its residuals are rounding. Compiles, and maps over lanes.

    Args:
        operator: the matrix.
        top: number of largest eigenvalues.
        bottom: number of smallest (most negative) ones.
        method: tolerance and limits; those of `Krylov()` without.
        start: vectors near the wanted ones, such as those at the last point of a run; random without.
        key: of random vectors; a fixed one without.

    Raises:
        ValueError: if no pair or more pairs than rows are wanted, or the memory holds no basis for them.

    Examples:
        >>> import jax
        >>> from descentlab import Experiment
        >>> from descentlab.curvature import Hessian
        >>> from descentlab.experiment import start
        >>> found = eigenpairs(Hessian(*start(Experiment(), key=jax.random.key(0))), top=2, bottom=1)
        >>> found.vectors.shape
        (3, 784)

    References:
        Wu, Simon (2000), Thick-restart Lanczos method for large symmetric eigenvalue problems; Stewart (2002), A
        Krylov-Schur algorithm for large eigenproblems.
    """
    rows = operator.shape[0]
    if top < 0 or bottom < 0 or not 1 <= top + bottom <= rows:
        raise ValueError(
            f"a matrix of {rows} rows has between 1 and {rows} eigenpairs, got top={top} and bottom={bottom}"
        )
    method = Krylov() if method is None else method
    basis = _basis(rows, top + bottom, np.dtype(operator.dtype).itemsize, method.memory)
    if basis >= rows:
        return _of_dense(operator, top, bottom)
    key = jax.random.key(0) if key is None else key
    return _search(operator, _Ends(top, bottom, basis), method, start, key)


def _basis(rows: int, wanted: int, width: int, memory: int) -> int:
    """How many vectors the basis holds.

    Raises:
        ValueError: if the memory is too small for the fewest that work.
    """
    fits, least = memory // (2 * rows * width), 2 * wanted + 3 * STRIDE
    if fits < min(least, rows):
        raise ValueError(
            f"{wanted} eigenpairs of a matrix of {rows} rows need {2 * rows * width * least / 2**30:.3g} GiB, and "
            f"{memory / 2**30:.3g} GiB are allowed, enough for {max(0, (fits - 3 * STRIDE) // 2)}; ask for fewer pairs "
            "or allow more memory"
        )
    return min(max(30 + 6 * wanted, least), fits, rows)


class _Ends(NamedTuple):
    """How many pairs at the top and the bottom, and the size of the basis."""

    top: int
    bottom: int
    basis: int

    @property
    def wanted(self) -> int:
        return self.top + self.bottom

    def kept(self) -> tuple[int, int]:
        """Ritz vectors that a restart keeps at either end: the wanted ones and a third of what is left."""
        more = (self.basis - self.wanted) // 3
        above = more * self.top // self.wanted
        return self.top + above, self.bottom + more - above


class _State(NamedTuple):
    """The basis and what is known from it.

    Attributes:
        vectors: orthonormal rows, zero from `filled` on.
        images: their products with the matrix.
        projected: vectors times images.
        filled: rows in use.
        coming: the next row.
        products: made so far.
        since: those since a fresh vector was let in.
        round: how many were.
        reference: the wanted values before the last one.
        done: whether the search is over.
    """

    vectors: Array
    images: Array
    projected: Array
    filled: Array
    coming: Array
    products: Array
    since: Array
    round: Array
    reference: Array
    done: Array


class _Ritz(NamedTuple):
    """Ritz pairs, as coefficients of the basis: values, coefficients (one pair a row), norms of the residuals."""

    values: Array
    coefficients: Array
    residuals: Array


@eqx.filter_jit
def _of_dense(operator: Any, top: int, bottom: int) -> Eigenpairs:
    product, rows = operator.linear(), operator.shape[0]
    matrix = jax.lax.map(product, jnp.eye(rows, dtype=operator.dtype))
    values, vectors = jnp.linalg.eigh((matrix + matrix.T) / 2)
    places = np.concatenate([rows - 1 - np.arange(top), np.arange(bottom)])
    values, vectors = values[places], vectors.T[places]
    residuals = jnp.linalg.norm(vectors @ matrix.T - values[:, None] * vectors, axis=1)
    known = jnp.isfinite(residuals)
    return Eigenpairs(Estimate(values, residuals), vectors, known, known.all(), jnp.asarray(rows, jnp.int32))


@eqx.filter_jit
def _search(operator: Any, ends: _Ends, method: Krylov, start: Array | None, key: PRNGKeyArray) -> Eigenpairs:
    product = operator.linear()

    def goes_on(state: _State) -> Array:
        known = jnp.isfinite(state.projected).all()  # false where the matrix has entries that are no numbers
        return ~state.done & known & (state.products + STRIDE <= method.products)

    def advance(state: _State) -> _State:
        state = jax.lax.cond(
            state.filled + STRIDE > ends.basis, lambda old: _restarted(old, ends), lambda old: old, state
        )
        count = jnp.where(state.filled < ends.wanted + 2, ends.wanted + STRIDE, STRIDE)
        state = jax.lax.fori_loop(0, count, lambda _, old: _expanded(product, old, key), state)
        return _judged(state, ends, method, key)

    state = jax.lax.while_loop(goes_on, advance, _begun(operator, ends, start, key))
    ritz = _ritz(state, *_places(state.filled, ends.top, ends.bottom))
    vectors = ritz.coefficients @ state.vectors
    # Two vectors of one direction would be a copy of one eigenvalue.
    copies = jnp.abs(jnp.tril(vectors @ vectors.T, -1)).max(axis=1) > jnp.sqrt(jnp.finfo(vectors.dtype).eps)
    good = (ritz.residuals <= _allowed(state, ritz.values, method)) & ~copies & (state.done | (not method.verify))
    # A pair has its place only if those further out have theirs.
    converged = jnp.concatenate([jnp.cumprod(good[: ends.top]), jnp.cumprod(good[ends.top :])]) > 0
    values = Estimate(ritz.values, ritz.residuals)
    return Eigenpairs(values, vectors, converged, state.done & method.verify, state.products)


def _begun(operator: Any, ends: _Ends, start: Array | None, key: PRNGKeyArray) -> _State:
    """The empty basis, and its first vector: a random one, or what the start vectors have in equal shares."""
    rows, dtype = operator.shape[0], operator.dtype
    zero = jnp.asarray(0, jnp.int32)
    nothing = jnp.zeros((ends.basis, rows), dtype)
    first = jax.random.normal(key, (rows,), dtype)
    first = first / jnp.linalg.norm(first)
    if start is not None:
        # A random part, small, so that nothing is overlooked for ever.
        first = jnp.sum(start, axis=0) / start.shape[0] ** 0.5 + RANDOM_PART * first
    return _State(
        vectors=nothing,
        images=nothing,
        projected=jnp.zeros((ends.basis, ends.basis), dtype),
        filled=zero,
        coming=first / jnp.linalg.norm(first),
        products=zero,
        since=zero,
        round=zero,
        reference=jnp.zeros(ends.wanted, dtype),
        done=jnp.asarray(False),
    )


def _expanded(product: Product, state: _State, key: PRNGKeyArray) -> _State:
    """One vector more, and the direction of the one after it."""
    place, image = state.filled, product(state.coming)
    vectors = state.vectors.at[place].set(state.coming)
    column = vectors @ image
    grown = state._replace(
        vectors=vectors,
        images=state.images.at[place].set(image),
        projected=state.projected.at[place].set(column).at[:, place].set(column),
        filled=place + 1,
        products=state.products + 1,
        since=state.since + 1,
    )
    return grown._replace(coming=_orthogonal(grown, image, key))


def _orthogonal(state: _State, vector: Array, key: PRNGKeyArray) -> Array:
    """The unit vector of what is new in a vector; where nothing is, a random one."""

    def cleaned(vector: Array) -> Array:
        vector = vector - (state.vectors @ vector) @ state.vectors
        return vector - (state.vectors @ vector) @ state.vectors

    new = cleaned(vector)
    size = jnp.maximum(jnp.linalg.norm(vector), jnp.abs(state.projected).max())
    nothing = jnp.linalg.norm(new) <= FLOOR * jnp.finfo(vector.dtype).eps * size
    fresh = jax.random.normal(jax.random.fold_in(key, state.products), vector.shape, vector.dtype)
    new = jax.lax.cond(nothing, lambda: cleaned(fresh), lambda: new)
    return new / jnp.linalg.norm(new)


def _places(filled: Array, top: int, bottom: int) -> tuple[Array, Array]:
    """Where the outermost of the ascending Ritz values stand."""
    return filled - 1 - jnp.arange(top), jnp.arange(bottom)


def _ritz(state: _State, above: Array, below: Array) -> _Ritz:
    """The Ritz pairs at given places of the ascending order."""
    free = jnp.arange(state.projected.shape[0]) >= state.filled
    beyond = 2 * jnp.linalg.norm(state.projected) + 1  # rows not in use come last
    values, coefficients = jnp.linalg.eigh(state.projected + jnp.diag(jnp.where(free, beyond, 0.0)))
    places = jnp.concatenate([above, below])
    values, coefficients = values[places], coefficients.T[places]
    residuals = coefficients @ state.images - values[:, None] * (coefficients @ state.vectors)
    return _Ritz(values, coefficients, jnp.linalg.norm(residuals, axis=1))


def _restarted(state: _State, ends: _Ends) -> _State:
    """The basis cut down to the outermost Ritz vectors."""
    ritz = _ritz(state, *_places(state.filled, *ends.kept()))
    count = ritz.values.shape[0]
    return state._replace(
        vectors=jnp.zeros_like(state.vectors).at[:count].set(ritz.coefficients @ state.vectors),
        images=jnp.zeros_like(state.images).at[:count].set(ritz.coefficients @ state.images),
        projected=jnp.zeros_like(state.projected).at[jnp.arange(count), jnp.arange(count)].set(ritz.values),
        filled=jnp.asarray(count, jnp.int32),
    )


def _allowed(state: _State, values: Array, method: Krylov) -> Array:
    """The residual at which a pair has converged."""
    norm = jnp.abs(state.projected).sum(axis=1).max()  # at least the largest Ritz value in size
    rounding = FLOOR * jnp.finfo(values.dtype).eps * norm
    return jnp.maximum(method.tolerance * jnp.abs(values), rounding)


def _judged(state: _State, ends: _Ends, method: Krylov, key: PRNGKeyArray) -> _State:
    """Whether the search is over, and a fresh vector where it has converged but is yet to be verified."""
    ritz = _ritz(state, *_places(state.filled, ends.top + 1, ends.bottom + 1))
    allowed = _allowed(state, ritz.values, method)
    wanted = np.concatenate([np.arange(ends.top), ends.top + 1 + np.arange(ends.bottom)])
    values = ritz.values[wanted]
    settled = jnp.all((ritz.residuals <= allowed)[wanted])
    same = jnp.all(jnp.abs(values - state.reference) <= allowed[wanted])
    seen = settled & (state.round > 0) & (state.since >= 2 * STRIDE) & _beyond(ritz, allowed, ends)
    done = (seen & same) if method.verify else settled
    again = settled & ~done & ((state.round == 0) | seen)
    fresh = jax.random.normal(jax.random.fold_in(key, -1 - state.products), state.coming.shape, state.coming.dtype)
    return state._replace(
        coming=jax.lax.cond(again, lambda: _orthogonal(state, fresh, key), lambda: state.coming),
        since=jnp.where(again, 0, state.since),
        round=state.round + again,
        reference=jnp.where(again, values, state.reference),
        done=done,
    )


def _beyond(ritz: _Ritz, allowed: Array, ends: _Ends) -> Array:
    """Whether the first pair that is not wanted, at each end, is known to lie beyond the last wanted one."""
    clear = jnp.asarray(True)
    for count, place, sign in ((ends.top, ends.top, 1), (ends.bottom, ends.wanted + 1, -1)):
        if count:
            apart = sign * (ritz.values[place - 1] - ritz.values[place]) > ritz.residuals[place]
            clear &= apart | (ritz.residuals[place] <= allowed[place])
    return clear

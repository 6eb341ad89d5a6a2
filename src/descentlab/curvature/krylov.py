r"""Lanczos with full reorthogonalisation, thick restarts and deflated rounds of verification.

The basis V is kept orthonormal to rounding, together with the products A V. Ritz pairs are therefore those of the true
projection $V A V^\top$, copies of a converged eigenvalue do not arise, and a residual is computed from products and not
from a recurrence.

One start vector shows one eigenvector of a multiple eigenvalue, and none that it is orthogonal to. When the wanted
pairs Y have converged, a *round* therefore begins: Lanczos on $B = P A P$, P the projection on the complement of Y,
from w = P g with a Gaussian g that is drawn afresh. Either it finds what was missed, and a new round begins when that
has converged, or it bounds what can be left, for one end (the other is that of -A) by two facts.

1. *What is left in the complement* (van Dorsselaer, Hochstenbach, van der Vorst 2000, section 3). After m steps the
   next Lanczos vector is $p(B)\,w / \lVert w \rVert$ with $p(t) = \prod_j (t - \theta_j) / \prod_j \beta_j$, all Ritz
   values $\theta_j$ and all norms $\beta_j$ before normalisation. It is a unit vector; so if the largest eigenvalue
   $\lambda$ of B, with unit eigenvector u, exceeds some x beyond all zeros of p, then
   $|u^\top g| \le \lVert w \rVert / p(\lambda) < \lVert w \rVert / p(x)$. As u does not depend on g, this has
   probability at most $\sqrt{2/\pi}\, \lVert w \rVert / p(x)$. After a restart the Ritz values that were dropped are
   zeros of p still, for the restarted space is a Krylov space of B (Sorensen 1992).
2. *What that means for A.* Let the wanted values be $\theta_1 \ge \theta_2 \ge \dots$ with residuals $r_j$, and no
   eigenvalue of B exceed x < c. Then $\lambda_i(A) \le c$ if $\sum_{j \ge i} r_j^2 / (c - \theta_j) \le c - x$: by the
   min-max principle $\lambda_i(A)$ is at most the largest eigenvalue of A on the complement of the first i - 1
   vectors. There c I - A is positive semidefinite if its Schur complement $c I - B - R (c I - \Theta)^{-1} R^\top$ is,
   where the last term has at most the given sum as its trace.

Rounding of a product moves the eigenvector that the first fact speaks of; errors along it are taken to be no larger
than `FLOOR` roundings, and their share of the component is added to the probability. Where it keeps a round from being
sure, as it does where more eigenvalues are equal than are wanted, rounds are repeated: that all of j independent starts
have a component of probability q has probability q^j.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from descentlab._types import Array, Bool, Float, Int, PRNGKeyArray
from descentlab.curvature.operators import Product

__all__ = [
    "STRIDE",
    "Ends",
    "Limits",
    "Ritz",
    "KrylovState",
    "allowed",
    "begun",
    "power_of_two",
    "resolution",
    "searched",
    "wanted_pairs",
]

STRIDE = 5
"""Products between two looks at the Ritz pairs."""

RANDOM_PART = 0.01
"""Norm of the random part of a start that is given."""

FLOOR = 16.0
"""A residual below this times the machine precision times the norm of the matrix is rounding."""

RESOLVED = 1024.0
"""Verification tells eigenvalues apart that differ by this times the machine precision times the norm."""

AGREES = -1.0
"""Logarithm of a probability above which a round says nothing."""


class Ends(NamedTuple):
    """How many pairs at the top and the bottom, and the size of the basis."""

    top: int
    bottom: int
    basis: int

    @property
    def wanted(self) -> int:
        """Pairs at both ends."""
        return self.top + self.bottom

    def kept(self) -> tuple[int, int]:
        """Ritz vectors that a restart keeps at either end: the wanted ones and a third of what is left."""
        more = (self.basis - 2 * self.wanted) // 3
        above = more * self.top // self.wanted
        return self.top + above, self.bottom + more - above

    def outward(self) -> list[tuple[int, np.ndarray]]:
        """For either end its sign and the wanted pairs in its order: its own first, from the outside in."""
        own, other = np.arange(self.top), self.top + np.arange(self.bottom)
        return [(1, np.concatenate([own, other[::-1]])), (-1, np.concatenate([other, own[::-1]]))]


class Limits(NamedTuple):
    """Of a search.

    Attributes:
        products: the most that are made.
        tolerance: of residuals, relative to the values.
        risk: the probability of an error that is allowed; without it nothing is verified.
    """

    products: Int[Array, ""]
    tolerance: Float[Array, ""]
    risk: Float[Array, ""] | None


class KrylovState(NamedTuple):
    """The basis and what is known from it, all of the matrix divided by `scale`.

    Attributes:
        vectors: orthonormal rows, zero from `filled` on; the first `deflated` are the wanted ones of this round.
        images: their products with the matrix.
        projected: vectors times images.
        filled: rows in use.
        coming: the next row.
        scale: the power of two next to the size of the first product, so that no square under- or overflows.
        products: made so far.
        round: rounds of verification begun.
        deflated: rows that this round leaves alone.
        chain: the end of its Lanczos vectors; behind it stands what was drawn when nothing new came.
        broken: whether nothing new came.
        length: norm of its start.
        bounds: x of either end, times its sign.
        growth: logarithm of p(x), apart from the Ritz values in the chain.
        agreed: rounds before this one that were held up by rounding alone.
        doubt: logarithm of the largest probability in them, by end.
        sure: which ends are verified.
        done: whether the search is over.
    """

    vectors: Float[Array, "basis row"]
    images: Float[Array, "basis row"]
    projected: Float[Array, "basis basis"]
    filled: Int[Array, ""]
    coming: Float[Array, " row"]
    scale: Float[Array, ""]
    products: Int[Array, ""]
    round: Int[Array, ""]
    deflated: Int[Array, ""]
    chain: Int[Array, ""]
    broken: Bool[Array, ""]
    length: Float[Array, ""]
    bounds: Float[Array, " 2"]
    growth: Float[Array, " 2"]
    agreed: Int[Array, ""]
    doubt: Float[Array, " 2"]
    sure: Bool[Array, " 2"]
    done: Bool[Array, ""]


class Ritz(NamedTuple):
    """Ritz pairs, as coefficients of the basis: values, coefficients (one pair a row), norms of the residuals."""

    values: Array
    coefficients: Array
    residuals: Array


def begun(first: Array, ends: Ends, start: Array | None) -> KrylovState:
    """The empty basis, and its first vector: a random one, or what the start vectors have in equal shares.

    Args:
        first: a random vector.
        ends: what is wanted.
        start: vectors near the wanted ones.
    """
    first = first / jnp.linalg.norm(first)
    if start is not None:
        # A random part, small, so that nothing is overlooked for ever.
        first = jnp.sum(start, axis=0) / start.shape[0] ** 0.5 + RANDOM_PART * first
        first = first / jnp.linalg.norm(first)
    none, one = jnp.asarray(0, jnp.int32), jnp.ones((), first.dtype)
    nothing, pair = jnp.zeros((ends.basis, first.size), first.dtype), jnp.zeros(2, first.dtype)
    return KrylovState(
        vectors=nothing,
        images=nothing,
        projected=jnp.zeros((ends.basis, ends.basis), first.dtype),
        filled=none,
        coming=first,
        scale=one,
        products=none,
        round=none,
        deflated=none,
        chain=none,
        broken=jnp.asarray(False),
        length=one,
        bounds=pair,
        growth=pair,
        agreed=none,
        doubt=pair - jnp.inf,
        sure=jnp.asarray([ends.top == 0, ends.bottom == 0]),
        done=jnp.asarray(False),
    )


def searched(product: Product, state: KrylovState, ends: Ends, limits: Limits, key: PRNGKeyArray) -> KrylovState:
    """The state when the search is over.

    Args:
        product: of the matrix.
        state: from `begun`.
        ends: what is wanted.
        limits: of the search.
        key: of random vectors.
    """

    def goes_on(state: KrylovState) -> Array:
        known = jnp.isfinite(state.projected).all()  # false where the matrix has entries that are no numbers
        return ~state.done & known & (state.products < limits.products)

    def advance(state: KrylovState) -> KrylovState:
        state = _when(state.filled + STRIDE > ends.basis, lambda old: _restarted(old, ends), state)
        count = jnp.where(state.products == 0, ends.wanted + STRIDE, STRIDE)
        count = jnp.minimum(count, limits.products - state.products)
        state = jax.lax.fori_loop(0, count, lambda _, old: _expanded(product, old, key), state)
        return _judged(state, ends, limits, key)

    return jax.lax.while_loop(goes_on, advance, state)


def _when(chosen: Array, change, state: KrylovState) -> KrylovState:
    """The changed state where it is chosen.

    A loop of at most one turn: mapped over lanes it is left out where no lane chooses it, while both sides of a
    conditional would always be computed.
    """
    return jax.lax.while_loop(
        lambda both: both[0], lambda both: (jnp.zeros_like(both[0]), change(both[1])), (chosen, state)
    )[1]


def _size(state: KrylovState) -> Array:
    """A bound of the largest Ritz value in size, above zero."""
    return jnp.maximum(jnp.abs(state.projected).sum(axis=1).max(), jnp.finfo(state.projected.dtype).tiny ** 0.5)


def _expanded(product: Product, state: KrylovState, key: PRNGKeyArray) -> KrylovState:
    """One vector more, and the direction of the one after it."""
    place, image = state.filled, product(state.coming)
    first = state.products == 0
    scale = jnp.where(first, power_of_two(jnp.abs(image).max()), state.scale)
    image = image / scale
    vectors = state.vectors.at[place].set(state.coming)
    column = vectors @ image
    grown = state._replace(
        vectors=vectors,
        images=state.images.at[place].set(image),
        projected=state.projected.at[place].set(column).at[:, place].set(column),
        filled=place + 1,
        scale=scale,
        products=state.products + 1,
        chain=jnp.where(state.broken, state.chain, place + 1),
    )
    new = _cleaned(grown.vectors, image)
    norm, floor = jnp.linalg.norm(new), FLOOR * jnp.finfo(new.dtype).eps * _size(grown)
    nothing = norm <= floor
    # A remainder that is rounding alone lies in no direction more than in others.
    factor = jnp.where(nothing, floor / state.length, norm)
    grown = grown._replace(
        coming=new / norm,
        growth=grown.growth - jnp.where(state.broken, 0.0, jnp.log(factor)),
        broken=state.broken | nothing,
    )
    return _when(nothing, lambda old: _drawn(old, jax.random.fold_in(key, old.products))[0], grown)


def power_of_two(size: Array) -> Array:
    """The power of two next to a size, 1 for none.

    Args:
        size: a number, not below 0.
    """
    return jnp.where(size > 0, jnp.ldexp(jnp.ones_like(size), jnp.frexp(size)[1]), 1.0).astype(size.dtype)


def _cleaned(vectors: Array, vector: Array) -> Array:
    """A vector without what it has of the basis."""
    vector = vector - (vectors @ vector) @ vectors
    return vector - (vectors @ vector) @ vectors


def _drawn(state: KrylovState, key: PRNGKeyArray) -> tuple[KrylovState, Array]:
    """The next row from a Gaussian vector, and the norm of what that has outside the basis."""
    new = _cleaned(state.vectors, jax.random.normal(key, state.coming.shape, state.coming.dtype))
    norm = jnp.linalg.norm(new)
    return state._replace(coming=new / norm), norm


def _spectrum(state: KrylovState, first: Array | int, last: Array) -> tuple[Array, Array]:
    """Ritz values and coefficients of some rows of the basis; those of other rows come last."""
    places = jnp.arange(state.projected.shape[0])
    inside = (places >= first) & (places < last)
    matrix = jnp.where(inside[:, None] & inside, state.projected, 0.0)
    values, coefficients = jnp.linalg.eigh(matrix + jnp.diag(jnp.where(inside, 0.0, 2 * _size(state) + 1)))
    return values, coefficients.T


def wanted_pairs(state: KrylovState, ends: Ends) -> Ritz:
    """The wanted Ritz pairs.

    Args:
        state: the basis.
        ends: what is wanted.
    """
    return _outermost(state, ends, *_spectrum(state, 0, state.filled))


def _outermost(state: KrylovState, ends: Ends, values: Array, coefficients: Array) -> Ritz:
    places = jnp.concatenate([state.filled - 1 - jnp.arange(ends.top), jnp.arange(ends.bottom)])
    values, coefficients = values[places], coefficients[places]
    residuals = coefficients @ state.images - values[:, None] * (coefficients @ state.vectors)
    return Ritz(values, coefficients, jnp.linalg.norm(residuals, axis=1))


def _rotated(state: KrylovState, coefficients: Array, filled: Array) -> KrylovState:
    """The basis of some combinations of its rows, one a row of the coefficients, zero from `filled` on."""
    return state._replace(
        vectors=coefficients @ state.vectors,
        images=coefficients @ state.images,
        projected=coefficients @ state.projected @ coefficients.T,
        filled=filled,
    )


def _restarted(state: KrylovState, ends: Ends) -> KrylovState:
    """The basis cut down to the rows that the round leaves alone and the outermost Ritz vectors of the others."""
    values, coefficients = _spectrum(state, state.deflated, state.filled)
    above, below = ends.kept()
    count = state.filled - state.deflated
    places = jnp.concatenate([count - 1 - jnp.arange(above), jnp.arange(below)])
    alone = jnp.arange(ends.basis) < state.deflated
    fresh = jnp.zeros_like(state.projected)
    fresh = jax.lax.dynamic_update_slice(fresh, coefficients[places], (state.deflated, jnp.zeros_like(state.deflated)))
    filled = state.deflated + above + below
    dropped = (jnp.arange(ends.basis) >= below) & (jnp.arange(ends.basis) < count - above)
    apart = jnp.abs(state.bounds[:, None] - jnp.asarray([[1.0], [-1.0]], values.dtype) * values)
    lost = jnp.sum(jnp.where(dropped, jnp.log(apart), 0.0), axis=1)
    return _rotated(state, fresh + jnp.diag(alone.astype(values.dtype)), filled)._replace(
        chain=filled, growth=jnp.where(state.broken, -jnp.inf, state.growth + lost)
    )


def allowed(state: KrylovState, values: Array, tolerance: Array) -> Array:
    """The residuals at which pairs have converged.

    Args:
        state: the basis.
        values: of the pairs.
        tolerance: relative to them.
    """
    return jnp.maximum(tolerance * jnp.abs(values), FLOOR * jnp.finfo(values.dtype).eps * _size(state))


def resolution(state: KrylovState, values: Array, tolerance: Array) -> Array:
    """By how much verification may miss the places of pairs; see `allowed`.

    Args:
        state: the basis.
        values: of the pairs.
        tolerance: relative to them.
    """
    return jnp.maximum(tolerance * jnp.abs(values), RESOLVED * jnp.finfo(values.dtype).eps * _size(state))


def _bounds(ritz: Ritz, width: Array, ends: Ends) -> tuple[Array, Array]:
    """What eigenvalues of the complement may be at most, by end and times its sign, and whether there is room for it.

    With c the values plus their resolution, x is the largest number that the second fact allows for all wanted pairs.
    """
    found, room = [], []
    for (sign, order), count in zip(ends.outward(), (ends.top, ends.bottom), strict=True):
        values, residuals, own = sign * ritz.values[order], ritz.residuals[order], width[order[:count]]
        apart = values[:count, None] + own[:, None] - values
        inner = np.arange(ends.wanted) >= np.arange(count)[:, None]
        left = own - jnp.sum(jnp.where(inner, residuals**2 / apart, 0.0), axis=1)
        found.append(jnp.min(values[:count] + left, initial=jnp.inf))
        room.append(jnp.all(left >= own / 2))
    return jnp.stack(found), jnp.stack(room).all()


def _doubts(state: KrylovState, values: Array) -> tuple[Array, Array, Array]:
    """By end the logarithm of the probability of a miss, whether rounding is most of it, and whether a miss is seen."""
    within = jnp.arange(values.size) < state.chain - state.deflated
    signs = jnp.asarray([[1.0], [-1.0]], values.dtype)
    apart = jnp.where(within, state.bounds[:, None] - signs * values, jnp.inf)
    beyond = jnp.all(apart > 0, axis=1)
    growth = state.growth + jnp.sum(jnp.where(within & (apart > 0), jnp.log(jnp.abs(apart)), 0.0), axis=1)
    unseen = jnp.log(state.length) - growth
    rounding = jnp.log(FLOOR * jnp.finfo(values.dtype).eps * _size(state)) - jnp.log(jnp.abs(apart.min(axis=1)))
    probability = 0.5 * math.log(2 / math.pi) + jnp.logaddexp(unseen, rounding)
    return jnp.where(beyond, probability, 0.0), beyond & (rounding >= unseen), ~beyond


def _judged(state: KrylovState, ends: Ends, limits: Limits, key: PRNGKeyArray) -> KrylovState:
    """Whether the search is over, and a new round where it has converged but is yet to be verified."""
    # Both in one call: two that run at the same time wait for one another for ever where XLA has two threads.
    firsts, lasts = jnp.stack([0 * state.deflated, state.deflated]), jnp.stack([state.filled, state.chain])
    values, coefficients = jax.vmap(lambda first, last: _spectrum(state, first, last))(firsts, lasts)
    ritz = _outermost(state, ends, values[0], coefficients[0])
    bounds, room = _bounds(ritz, resolution(state, ritz.values, limits.tolerance), ends)
    settled = jnp.all(ritz.residuals <= allowed(state, ritz.values, limits.tolerance)) & room
    if limits.risk is None:
        return state._replace(done=settled)
    doubts, rounding, seen = _doubts(state, values[1])
    rounds, turn = state.agreed + 1, jnp.maximum(state.round, 1)
    # The shares of both ends, of all rounds and of all numbers of rounds that agree sum to the risk.
    share = (
        jnp.log(limits.risk / (bool(ends.top) + bool(ends.bottom)))
        - jnp.log(turn * (turn + 1.0))
        - rounds * math.log(2)
    )
    doubt = jnp.maximum(state.doubt, doubts)
    sure = state.sure | (settled & (state.round > 0) & (rounds * doubt <= share))
    done = settled & sure.all()
    again = settled & ~done & ((state.round == 0) | jnp.any(~sure & seen) | state.broken | jnp.all(sure | rounding))
    agrees = (state.round > 0) & jnp.all(sure | (doubts < AGREES))
    state = state._replace(
        sure=sure,
        done=done,
        agreed=jnp.where(again, jnp.where(agrees, rounds, 0), state.agreed),
        doubt=jnp.where(again, jnp.where(agrees, doubt, -jnp.inf), state.doubt),
    )
    fresh = jax.random.fold_in(key, -1 - state.products)
    return _when(again, lambda old: _deflated(old, ritz, bounds, fresh), state)


def _deflated(state: KrylovState, ritz: Ritz, bounds: Array, key: PRNGKeyArray) -> KrylovState:
    """A new round: the wanted vectors alone in the basis, and a Gaussian start in their complement."""
    wanted = jnp.asarray(ritz.values.size, jnp.int32)
    coefficients = jnp.zeros_like(state.projected).at[: ritz.values.size].set(ritz.coefficients)
    state, length = _drawn(_rotated(state, coefficients, wanted), key)
    return state._replace(
        round=state.round + 1,
        deflated=wanted,
        chain=wanted,
        broken=jnp.zeros_like(state.broken),
        length=length,
        bounds=bounds,
        growth=jnp.zeros_like(state.growth),
    )

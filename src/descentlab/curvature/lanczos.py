"""Extreme eigenvalues of a symmetric matrix that is known by its products."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from matfree import decomp

from descentlab._types import Array, Bool, Float
from descentlab.estimate import Estimate

__all__ = ["extreme_pairs"]


def extreme_pairs(
    product: Callable[[Array], Array], size: int, *, matvecs: int, among: Bool[Array, " row"] | None = None
) -> tuple[Estimate, Estimate]:
    """Smallest and largest Ritz value after `matvecs` Lanczos steps with full reorthogonalisation.

    The error is the residual ||A v - lambda v|| of the Ritz pair: some eigenvalue lies that close, not necessarily
    the extreme one. By the min-max principle the smallest Ritz value is an upper bound of the smallest eigenvalue
    and the largest a lower bound of the largest.

    Args:
        product: v -> A v with A symmetric.
        size: number of rows of A.
        matvecs: Lanczos steps, at most the number of rows.
        among: the rows that count, all others of A being 0; `None` counts all.
    """
    start = jax.random.normal(jax.random.key(0), (size,))
    start = start if among is None else jnp.where(among, start, 0.0)
    result = decomp.tridiag_sym(min(matvecs, size))(product, start / jnp.linalg.norm(start))
    whole = jnp.asarray(result.J_small)
    known = _before_breakdown(whole)
    if among is not None:  # there are no more vectors than rows that count
        known = known & (jnp.arange(known.size) < jnp.sum(among))
    triangle = jnp.where(known[:, None] & known, whole, 0.0)
    basis = jnp.where(known[:, None], jnp.asarray(result.Q_tall), 0.0)  # its rows are the Lanczos vectors

    def pair(index: int, outside: Array) -> Estimate:
        values, vectors = jnp.linalg.eigh(triangle + jnp.diag(jnp.where(known, 0.0, outside)))
        vector = vectors[:, index] @ basis
        vector = vector / jnp.linalg.norm(vector)
        return Estimate(values[index], jnp.linalg.norm(product(vector) - values[index] * vector))

    # Rows after a breakdown are given a value that is never the extreme one.
    first = triangle[0, 0]
    return pair(0, first + jnp.abs(first) + 1), pair(-1, first - jnp.abs(first) - 1)


def _before_breakdown(triangle: Float[Array, "step step"]) -> Bool[Array, " step"]:
    """Which Lanczos vectors are meant: where the Krylov space is exhausted, all later ones are noise, normalised."""
    coupling = jnp.abs(jnp.diagonal(triangle, 1))
    scale = jax.lax.cummax(jnp.maximum(jnp.abs(jnp.diagonal(triangle))[:-1], jnp.append(0.0, coupling[:-1])))
    goes_on = coupling > 100 * jnp.finfo(triangle.dtype).eps * scale
    return jnp.append(True, jnp.cumprod(goes_on) > 0)

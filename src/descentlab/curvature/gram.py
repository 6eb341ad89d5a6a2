"""The Gram matrix K = J J^T of the trained blocks and its extreme eigenvalues."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._types import Array, Float, PyTree
from descentlab.curvature.lanczos import extreme_pairs
from descentlab.estimate import Estimate
from descentlab.objective import Objective

__all__ = ["GramExtremes", "dense_extremes", "gram_product", "lanczos_extremes", "largest_eigenvalue"]

DENSE_ROWS = 512
"""Up to this many rows a Gram matrix is formed and diagonalised; beyond, it is known by its products."""


class GramExtremes(NamedTuple):
    """Smallest and largest eigenvalue of a symmetric matrix.

    Attributes:
        smallest: with its error; from `lanczos_extremes` an upper bound of the true one.
        largest: with its error; from `lanczos_extremes` a lower bound of the true one.
    """

    smallest: Estimate
    largest: Estimate


def gram_product(objective: Objective, params: PyTree) -> Callable[[Array], Array]:
    """The map v -> J (J^T v), one backward and one forward pass a call."""
    _, pushforward = jax.linearize(objective.residual, params)
    pullback = jax.linear_transpose(pushforward, params)
    return lambda vector: pushforward(pullback(vector)[0])


def dense_extremes(objective: Objective, params: PyTree) -> GramExtremes:
    r"""Extreme eigenvalues of K from its dense spectrum.

    The error is the backward error of the eigensolver, $m\,\epsilon\,\lambda_{\max}$ for m rows. Where J has fewer
    columns than rows the smallest eigenvalue is zero up to this error.
    """
    jacobian = objective.jacobian(params)
    eigenvalues = jnp.linalg.eigvalsh(jacobian @ jacobian.T)
    error = eigenvalues.shape[0] * jnp.finfo(eigenvalues.dtype).eps * eigenvalues[-1]
    return GramExtremes(Estimate(eigenvalues[0], error), Estimate(eigenvalues[-1], error))


def lanczos_extremes(objective: Objective, params: PyTree, *, matvecs: int) -> GramExtremes:
    """Extreme Ritz values of K after `matvecs` Lanczos steps, their residuals as errors; see `extreme_pairs`.

    Args:
        objective: defines K.
        params: where.
        matvecs: Lanczos steps, at most the number of rows.
    """
    rows = eqx.filter_eval_shape(objective.residual, params).shape[0]
    return GramExtremes(*extreme_pairs(gram_product(objective, params), rows, matvecs=matvecs))


def largest_eigenvalue(objective: Objective, params: PyTree) -> Float[Array, ""]:
    """The largest eigenvalue of K, dense where it has at most 512 rows, by 60 Lanczos steps otherwise."""
    rows = eqx.filter_eval_shape(objective.residual, params).shape[0]
    if rows <= DENSE_ROWS:
        return jnp.asarray(dense_extremes(objective, params).largest.value)
    return jnp.asarray(lanczos_extremes(objective, params, matvecs=60).largest.value)

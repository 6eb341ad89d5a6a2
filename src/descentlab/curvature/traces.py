"""Traces, diagonals and Frobenius norms of matrices that are known by their products, by Hutchinson's estimator.

Each draw is a vector of independent signs, and costs one product. Draws are made in turn, so that memory does not grow
with their number, and their spread gives the standard error.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from matfree import stochtrace

from descentlab._types import Array, PRNGKeyArray
from descentlab.curvature.operators import Operator
from descentlab.estimate import Estimate

__all__ = ["diagonal", "frobenius_squared", "trace"]

# Made once: a compiled program is found again by the identity of its integrand.
_TRACE = stochtrace.monte_carlo_trace()
_DIAGONAL = stochtrace.monte_carlo_diagonal()
_FROBENIUS = stochtrace.monte_carlo_frobeniusnorm_squared()


def trace(operator: Operator, probes: int = 20, *, key: PRNGKeyArray) -> Estimate:
    r"""The trace, as the mean of $v^\top A v$ over random signs v.

    Its variance is $2 \sum_{i \ne j} A_{ij}^2$ over the number of draws: none for a diagonal matrix.

    Args:
        operator: a symmetric matrix.
        probes: number of draws, at least 2.
        key: of the draws.

    Returns:
        The mean with its standard error.

    Raises:
        ValueError: if there are fewer than 2 draws.

    References:
        Hutchinson (1989), A stochastic estimator of the trace.
    """
    return _mean(operator, _TRACE, probes, key)


def diagonal(operator: Operator, probes: int = 20, *, key: PRNGKeyArray) -> Estimate:
    r"""The diagonal, as the mean of $v \circ A v$ over random signs v.

    Args:
        operator: a symmetric matrix.
        probes: number of draws, at least 2.
        key: of the draws.

    Returns:
        One mean a row with its standard error.

    Raises:
        ValueError: if there are fewer than 2 draws.

    References:
        Bekas, Kokiopoulou, Saad (2007), An estimator for the diagonal of a matrix.
    """
    return _mean(operator, _DIAGONAL, probes, key)


def frobenius_squared(operator: Operator, probes: int = 20, *, key: PRNGKeyArray) -> Estimate:
    r"""The squared Frobenius norm, as the mean of $\lVert A v \rVert^2$ over random signs v.

    Args:
        operator: any matrix.
        probes: number of draws, at least 2.
        key: of the draws.

    Returns:
        The mean with its standard error.

    Raises:
        ValueError: if there are fewer than 2 draws.
    """
    return _mean(operator, _FROBENIUS, probes, key)


def _mean(operator: Operator, integrand: Callable, probes: int, key: PRNGKeyArray) -> Estimate:
    if probes < 2:
        raise ValueError(f"a mean with its standard error needs at least 2 draws, got probes={probes}")
    return _drawn(operator, integrand, jax.random.split(key, probes))


@eqx.filter_jit
def _drawn(operator: Any, integrand: Callable, keys: Array) -> Estimate:
    """Mean and standard error over draws, by Welford's update."""
    product = operator.linear()

    def one(found: tuple[Array, Array], drawn: tuple[Array, PRNGKeyArray]) -> tuple[tuple[Array, Array], None]:
        (mean, squares), (count, key) = found, drawn
        value = integrand(product, jax.random.rademacher(key, operator.shape[1:], operator.dtype))
        apart = value - mean
        mean = mean + apart / count
        return (mean, squares + apart * (value - mean)), None

    first = jax.eval_shape(lambda v: integrand(product, v), jax.ShapeDtypeStruct(operator.shape[1:], operator.dtype))
    nothing = jnp.zeros(first.shape, first.dtype)
    counts = jnp.arange(1, keys.shape[0] + 1, dtype=first.dtype)
    (mean, squares), _ = jax.lax.scan(one, (nothing, nothing), (counts, keys))
    return Estimate(mean, jnp.sqrt(squares / (keys.shape[0] * (keys.shape[0] - 1))))

"""The spectral density of a symmetric matrix by stochastic Lanczos quadrature."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from matfree import decomp

from descentlab._types import Array, Float, PRNGKeyArray
from descentlab.curvature.operators import Operator
from descentlab.curvature.traces import widening
from descentlab.estimate import Estimate

__all__ = ["SpectralDensity", "spectral_density"]

POINTS = 512
"""Of the grid on which a density is given."""

MARGIN = 8.0
"""Widths of the smoothing by which the grid reaches beyond the spectrum; further out its mass is rounding."""


class SpectralDensity(NamedTuple):
    r"""The density of eigenvalues, smoothed by a normal density, and the quadrature that it is made from.

    Attributes:
        grid: eigenvalues at which it is given, equally spaced, in ascending order.
        density: its mean over the cell around each point of the grid, so that it integrates to one however narrow the
            smoothing. The errors have two parts, added as squares: the widened standard error over draws (see
            `descentlab.curvature.traces`), and what more Lanczos steps would change, half the difference from an
            anti-Gauss rule. They do not contain what smoothing changes.
        width: standard deviation of the smoothing.
        nodes: Ritz values, one row a draw.
        weights: share of the spectrum at each; a row sums to one.
    """

    grid: Float[Array, " point"]
    density: Estimate
    width: Float[Array, ""]
    nodes: Float[Array, "draw step"]
    weights: Float[Array, "draw step"]

    def moment(self, power: int) -> Estimate:
        r"""The mean of $\lambda^k$ over the spectrum, with its widened standard error over draws.

        Exact in expectation for powers up to twice the number of steps less one.

        Args:
            power: k.
        """
        return _mean(jnp.sum(self.weights * self.nodes**power, axis=1))


def _mean(draws: Array) -> Estimate:
    """The mean over the first axis with its widened standard error."""
    count = draws.shape[0]
    return Estimate(draws.mean(axis=0), widening(count) * draws.std(axis=0, ddof=1) / count**0.5)


def spectral_density(
    operator: Operator, *, probes: int = 10, steps: int = 60, width: float = 0.01, key: PRNGKeyArray
) -> SpectralDensity:
    r"""The density of eigenvalues, $\frac1n \sum_i \mathcal N(t; \lambda_i, s^2)$.

    For a random unit vector v, Lanczos gives nodes and weights of a Gauss quadrature of the measure
    $\sum_i (v^\top u_i)^2 \delta_{\lambda_i}$, whose expectation is the density. Draws are made in turn, so that memory
    does not grow with their number.

    Args:
        operator: the matrix.
        probes: number of draws, at least 2.
        steps: Lanczos steps of each, at most the number of rows; one more product shows what they leave open.
        width: of the smoothing, s as a share of the range of the spectrum; a narrow one shows the nodes of the
            quadrature and not the spectrum, and the errors say so. It is at least the square root of the machine
            precision times the largest absolute value.
        key: of the draws.

    Raises:
        ValueError: if there are fewer than 2 draws, no step, or the width is not above 0.

    References:
        Ubaru, Chen, Saad (2017), Fast estimation of tr f(A); Ghorbani, Krishnan, Xiao (2019), arXiv:1901.10159; Laurie
        (1996), Anti-Gaussian quadrature formulas.
    """
    if probes < 2 or steps < 1 or not width > 0:
        raise ValueError(
            "a density with its error needs probes >= 2, steps >= 1 and width > 0, got "
            f"probes={probes}, steps={steps} and width={width}"
        )
    return _density(operator, jax.random.split(key, probes), min(steps, operator.shape[0]), width)


@eqx.filter_jit
def _density(operator: Any, keys: Array, steps: int, width: float) -> SpectralDensity:
    product, rows = operator.linear(), operator.shape[0]
    lanczos = decomp.tridiag_sym(min(steps + 1, rows), custom_vjp=False)

    def one(key: PRNGKeyArray) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        start = jax.random.normal(key, (rows,), operator.dtype)
        triangle = jnp.asarray(lanczos(product, start / jnp.linalg.norm(start)).J_small)
        triangle = jnp.where(jnp.isfinite(triangle), triangle, 0)
        gauss = _rule(triangle[:steps, :steps])
        return gauss, gauss if steps == rows else _rule(_anti(triangle))

    (nodes, weights), anti = jax.lax.map(one, keys)
    seen = weights > jnp.finfo(weights.dtype).eps
    low, high = jnp.min(nodes, where=seen, initial=jnp.inf), jnp.max(nodes, where=seen, initial=-jnp.inf)
    size = jnp.maximum(jnp.abs(low), jnp.abs(high))
    rounding = jnp.finfo(nodes.dtype).eps ** 0.5 * jnp.where(size > 0, size, 1)
    spread = jnp.maximum(width * (high - low), rounding)
    margin = jnp.maximum(MARGIN * spread, 2 * (high - low) / POINTS)  # no mass in the outermost cells
    grid = jnp.linspace(low - margin, high + margin, POINTS)
    each, other = (jax.lax.map(lambda rule: _smoothed(*rule, grid, spread), both) for both in ((nodes, weights), anti))
    mean = _mean(each)
    left = (each - other).mean(axis=0) / 2
    return SpectralDensity(grid, Estimate(mean.value, jnp.hypot(mean.error, left)), spread, nodes, weights)


def _rule(triangle: Array) -> tuple[Array, Array]:
    """Nodes and weights; beyond an invariant subspace nothing couples to the start, and what stands has no weight."""
    nodes, vectors = jnp.linalg.eigh(triangle)
    return nodes, vectors[0] ** 2


def _anti(triangle: Array) -> Array:
    """The matrix of the anti-Gauss rule, whose error is that of the Gauss rule of one step less with the other sign."""
    last = triangle.shape[0] - 1
    coupling = 2**0.5 * triangle[last, last - 1]
    return triangle.at[last, last - 1].set(coupling).at[last - 1, last].set(coupling)


def _smoothed(nodes: Array, weights: Array, grid: Array, spread: Array) -> Array:
    """The mean density over the cell around each point of the grid, which integrates to one."""
    half = (grid[-1] - grid[0]) / (2 * (POINTS - 1))
    below, above = (
        jax.scipy.stats.norm.cdf(edge[:, None], nodes, spread) @ weights for edge in (grid - half, grid + half)
    )
    return (above - below) / jnp.trapezoid(above - below, grid)

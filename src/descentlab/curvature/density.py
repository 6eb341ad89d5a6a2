"""The spectral density of a symmetric matrix by stochastic Lanczos quadrature."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from matfree import decomp

from descentlab._types import Array, Float, PRNGKeyArray
from descentlab.curvature.krylov import power_of_two
from descentlab.curvature.operators import Operator
from descentlab.curvature.traces import widening
from descentlab.estimate import Estimate
from descentlab.mistake import Mistake

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
        nodes: Ritz values, one row a draw; where more steps were possible, one that has no weight stands among them.
        weights: share of the spectrum at each; a row sums to one.
    """

    grid: Float[Array, " point"]
    density: Estimate
    width: Float[Array, ""]
    nodes: Float[Array, "draw node"]
    weights: Float[Array, "draw node"]

    def moment(self, power: int) -> Estimate:
        r"""The mean of $\lambda^k$ over the spectrum, with its widened standard error over draws.

        Exact in expectation for powers up to twice the number of steps less one.

        Args:
            power: k.
        """
        return _mean(jnp.sum(self.weights * self.nodes**power, axis=1))


def _mean(draws: Array) -> Estimate:
    """The mean over the first axis with its widened standard error."""
    count, scale = draws.shape[0], power_of_two(jnp.abs(draws).max())
    error = widening(count) * (draws / scale).std(axis=0, ddof=1) / count**0.5
    return Estimate(draws.mean(axis=0), scale * error)


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
        Mistake: if there are fewer than 2 draws, no step, or the width is not above 0.

    References:
        Ubaru, Chen, Saad (2017), Fast estimation of tr f(A); Ghorbani, Krishnan, Xiao (2019), arXiv:1901.10159; Laurie
        (1996), Anti-Gaussian quadrature formulas.
    """
    if probes < 2 or steps < 1 or not width > 0:
        raise Mistake(
            "a density with its error needs probes >= 2, steps >= 1 and width > 0, got "
            f"probes={probes}, steps={steps} and width={width}"
        )
    return _density(operator, jax.random.split(key, probes), min(steps, operator.shape[0]), width)


@eqx.filter_jit
def _density(operator: Any, keys: Array, steps: int, width: float) -> SpectralDensity:
    whole, rows = operator.linear(), operator.shape[0]
    # Of a unit vector; squares of what is far from one would leave the range of the numbers.
    scale = power_of_two(jnp.abs(whole(_unit(keys[0], rows, operator.dtype))).max())

    def product(vector: Array) -> Array:
        return whole(vector) / scale

    lanczos = decomp.tridiag_sym(min(steps + 1, rows), custom_vjp=False)

    def one(key: PRNGKeyArray) -> tuple[Array, Array]:
        triangle = jnp.asarray(lanczos(product, _unit(key, rows, operator.dtype)).J_small)
        triangle = jnp.where(jnp.isfinite(triangle), triangle, 0)
        # In one call, see `descentlab.curvature.krylov`.
        nodes, vectors = jnp.linalg.eigh(jnp.stack([triangle, triangle]) if steps == rows else _rules(triangle))
        # Beyond an invariant subspace nothing couples to the start, so that what stands there has no weight.
        return nodes, vectors[:, 0] ** 2

    rules = jax.lax.map(one, keys)
    nodes, weights = (part[:, 0] for part in rules)
    seen = weights > jnp.finfo(weights.dtype).eps
    low, high = jnp.min(nodes, where=seen, initial=jnp.inf), jnp.max(nodes, where=seen, initial=-jnp.inf)
    size = jnp.maximum(jnp.abs(low), jnp.abs(high))
    rounding = jnp.finfo(nodes.dtype).eps ** 0.5 * jnp.where(size > 0, size, 1)
    spread = jnp.maximum(width * (high - low), rounding)
    margin = jnp.maximum(MARGIN * spread, 2 * (high - low) / POINTS)  # no mass in the outermost cells
    grid = jnp.linspace(low - margin, high + margin, POINTS)
    each = jax.lax.map(jax.vmap(lambda rule: _smoothed(rule, grid, spread)), rules)
    gauss = each[:, 0] / jnp.trapezoid(each[:, 0], grid)[:, None]  # the other rule may have nodes beyond the grid
    mean = _mean(gauss)
    left = (gauss - each[:, 1]).mean(axis=0) / 2
    density = Estimate(mean.value / scale, jnp.hypot(mean.error, left) / scale)
    return SpectralDensity(scale * grid, density, scale * spread, scale * nodes, weights)


def _unit(key: PRNGKeyArray, rows: int, dtype: Any) -> Array:
    """A random unit vector."""
    vector = jax.random.normal(key, (rows,), dtype)
    return vector / jnp.linalg.norm(vector)


def _rules(triangle: Array) -> Array:
    """The matrices of the Gauss rule without the last step, and of the anti-Gauss rule with it.

    The error of the second is that of the first with the other sign. The first is decoupled from the last step.
    """
    last = triangle.shape[0] - 1
    coupling = triangle[last, last - 1] * jnp.asarray([0, 2**0.5], triangle.dtype)
    both = jnp.stack([triangle, triangle])
    return both.at[:, last, last - 1].set(coupling).at[:, last - 1, last].set(coupling)


def _smoothed(rule: tuple[Array, Array], grid: Array, spread: Array) -> Array:
    """The mean density over the cell around each point of the grid."""
    nodes, weights = rule
    half = (grid[-1] - grid[0]) / (2 * (POINTS - 1))
    below, above = (
        jax.scipy.stats.norm.cdf(edge[:, None], nodes, spread) @ weights for edge in (grid - half, grid + half)
    )
    return (above - below) / (2 * half)

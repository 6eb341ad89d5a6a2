"""The spectral density of a symmetric matrix by stochastic Lanczos quadrature."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from matfree import decomp

from descentlab._types import Array, Float, PRNGKeyArray
from descentlab.curvature.operators import Operator
from descentlab.estimate import Estimate

__all__ = ["SpectralDensity", "spectral_density"]

POINTS = 512
"""Of the grid on which a density is given."""


class SpectralDensity(NamedTuple):
    r"""The density of eigenvalues, smoothed by a normal density, and the quadrature that it is made from.

    Attributes:
        grid: eigenvalues at which it is given, in ascending order.
        density: its values, which integrate to one; the errors are standard errors over draws. They do not contain what
            smoothing changes, nor what more Lanczos steps would.
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
        r"""The mean of $\lambda^k$ over the spectrum, with its standard error over draws.

        Exact in expectation for powers up to twice the number of steps less one.

        Args:
            power: k.
        """
        each = jnp.sum(self.weights * self.nodes**power, axis=1)
        return Estimate(each.mean(), each.std(ddof=1) / jnp.sqrt(1.0 * each.size))


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
        steps: Lanczos steps, and products, of each; at most the number of rows are made.
        width: of the smoothing, s as a share of the range of the spectrum; a narrow one shows the nodes of the
            quadrature and not the spectrum.
        key: of the draws.

    Raises:
        ValueError: if there are fewer than 2 draws, no step, or the width is not above 0.

    References:
        Ubaru, Chen, Saad (2017), Fast estimation of tr f(A); Ghorbani, Krishnan, Xiao (2019), arXiv:1901.10159.
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
    lanczos = decomp.tridiag_sym(steps, custom_vjp=False)

    def one(key: PRNGKeyArray) -> tuple[Array, Array]:
        start = jax.random.normal(key, (rows,), operator.dtype)
        triangle = jnp.asarray(lanczos(product, start / jnp.linalg.norm(start)).J_small)
        # Beyond an invariant subspace nothing couples to the start, so that what stands there has no weight.
        nodes, vectors = jnp.linalg.eigh(jnp.where(jnp.isfinite(triangle), triangle, 0))
        return nodes, vectors[0] ** 2

    nodes, weights = jax.lax.map(one, keys)
    seen = weights > jnp.finfo(weights.dtype).eps
    low, high = jnp.min(nodes, where=seen, initial=jnp.inf), jnp.max(nodes, where=seen, initial=-jnp.inf)
    spread = width * jnp.maximum(high - low, jnp.finfo(nodes.dtype).eps * jnp.maximum(jnp.abs(high), 1))
    grid = jnp.linspace(low - 4 * spread, high + 4 * spread, POINTS)

    def smoothed(one: tuple[Array, Array]) -> Array:
        return jax.scipy.stats.norm.pdf(grid[:, None], one[0], spread) @ one[1]

    each = jax.lax.map(smoothed, (nodes, weights))
    density = Estimate(each.mean(axis=0), each.std(axis=0, ddof=1) / jnp.sqrt(1.0 * keys.shape[0]))
    return SpectralDensity(grid, density, spread, nodes, weights)

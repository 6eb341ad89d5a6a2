r"""Theorem C: query, key and value are trained, the output block is fixed, and the features keep their rank.

With $\lambda_B = \sigma_{\min}(B_0)$, $\omega$ and $w$ the extreme singular values of the output matrices of the heads,
r the root of $C_1(r)\,r = \lambda_B/2$, $\mu = \omega^2\lambda_B^2/4$, $b = \|B_0\| + \lambda_B/2$ and $v$ the largest
norm of a value matrix that training can reach: if $2\sqrt H\,C_1 w v \|r_0\| \le \mu r$ and the step is at most
$1/L_f$, then
$f_t \le (1 - \eta\mu)^t f_0$ and $\sigma_{\min}(B_t) \ge \lambda_B/2$ for all t. Proof: `docs/theory/theorem_c.md`.
Constants are found in double precision; $\lambda_B$ and $\omega$ are lower bounds, computed values less their errors.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from descentlab._types import Array, Float, PyTree
from descentlab.attention import AbstractAttention
from descentlab.axis import Axis
from descentlab.objective import Objective
from descentlab.point import Point
from descentlab.probes import AbstractProbe, feature_matrix
from descentlab.probes.precision import in_float64
from descentlab.probes.spectra import certain_smallest, singular_error
from descentlab.schedule import AbstractSchedule, At
from descentlab.theory.full_batch import full_batch
from descentlab.theory.lipschitz import Geometry, KernelBounds, assembled, geometry, kernel_bounds, largest_radius

__all__ = ["TRAINED", "TheoremC", "TheoremCConstants", "theorem_c"]

TRAINED = ("query", "key", "value")


class TheoremCConstants(NamedTuple):
    r"""What Theorem C rests on at a start, and what it says.

    Attributes:
        lambda_b: a lower bound of $\lambda_B$.
        omega: a lower bound of $\omega$.
        mu: $\omega^2\lambda_B^2/4$.
        residual: $\|r_0\|$.
        reach: how far the value block may move.
        radius: r.
        ratio: the two sides of the assumption, at most 1 where the theorem applies; NaN where no bound is known.
        step: the largest step size it speaks of.
    """

    lambda_b: Float[Array, ""]
    omega: Float[Array, ""]
    mu: Float[Array, ""]
    residual: Float[Array, ""]
    reach: Float[Array, ""]
    radius: Float[Array, ""]
    ratio: Float[Array, ""]
    step: Float[Array, ""]


class TheoremC(AbstractProbe):
    """The constants of Theorem C at a point; certified where `ratio` is at most 1.

    NaN in `ratio` says that no bound is known for the kernel, or that the trained blocks are not query, key and value;
    infinity that the features or an output matrix have not full rank.

    Args:
        when: the steps at which they are recorded.

    References:
        Derived in `docs/theory/theorem_c.md`; HD >= Nn and the constant built from the output matrix and the smallest
        singular value of B are those of Song et al. (2024), arXiv:2411.07538, Theorem 2.
    """

    when: AbstractSchedule = At((0,))

    def __call__(self, point: Point) -> Array:
        """A `TheoremCConstants`, stacked."""
        full_batch(point.data, "the constants of Theorem C")
        return in_float64(lambda objective, params: jnp.stack(theorem_c(objective, params)), point)

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The constants."""
        del params
        return (Axis("quantity", TheoremCConstants._fields),)


def theorem_c(objective: Objective, params: PyTree) -> TheoremCConstants:
    """The constants, in the precision of what is given.

    Args:
        objective: a layer of multi-head attention.
        params: its trained blocks at the start.
    """
    model = objective.model(params)
    where = geometry(objective, params)
    features, largest = _features(objective, params)
    omega = _least_output(model.output)
    mu = omega**2 * features**2 / 4
    residual = jnp.sqrt(2 * objective.loss(params))
    norm = largest + features / 2
    reach = 2 * where.norms["output"] * norm * residual / mu
    bounds = _bounds(model.attention, where, features / 2)
    if bounds is None or set(where.trained) != set(TRAINED):
        unknown = jnp.full_like(mu, jnp.nan)
        return TheoremCConstants(features, omega, mu, residual, reach, unknown, unknown, unknown)
    radius, first, second = bounds
    value, output = where.norms["value"] + reach, where.norms["output"]
    heads = model.query.shape[0]
    movement = 2 * jnp.sqrt(1.0 * heads) * first * output * value * residual
    ratio = jnp.where(mu > 0, movement / (mu * radius), jnp.inf)
    change = assembled(second, (value, output, where.features + first * radius), where.trained)
    smoothness = (output * norm) ** 2 + heads * (first * output * value) ** 2 + change * residual
    return TheoremCConstants(features, omega, mu, residual, reach, radius, ratio, 1 / smoothness)


def _features(objective: Objective, params: PyTree) -> tuple[Array, Array]:
    """A lower bound of the last singular value of B, 0 without full row rank, and an upper bound of the first."""
    features = feature_matrix(objective, params)
    singular = jnp.linalg.svd(features, compute_uv=False)
    smallest = certain_smallest(singular, features.shape)
    largest = singular[0] * (1 + singular_error(features.shape, features.dtype))
    return jnp.where(features.shape[1] >= features.shape[0], smallest, 0.0), largest


def _least_output(output: Float[Array, "heads head out"]) -> Array:
    """The smallest singular value of the heads' output matrices; 0 where they have fewer rows than columns."""
    if output.shape[-2] < output.shape[-1]:
        return jnp.zeros((), output.dtype)
    singular = jnp.linalg.svd(output, compute_uv=False)
    return jax.vmap(certain_smallest, in_axes=(0, None))(singular, output.shape[1:]).min()


def _bounds(attention: AbstractAttention, where: Geometry, half: Array) -> tuple[Array, Array, KernelBounds] | None:
    """The radius r of the query-key ball, and the kernel's constants on it."""

    def slope(radius: Array) -> Array:
        bounds = kernel_bounds(attention, where, radius)
        return jnp.full_like(radius, jnp.nan) if bounds is None else bounds.first

    radius = largest_radius(slope, half)
    bounds = kernel_bounds(attention, where, radius)
    return None if bounds is None else (radius, bounds.first, bounds)

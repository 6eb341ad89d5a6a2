r"""Theorem C: query, key and value are trained, the output block is fixed, and the features keep their rank.

With $\lambda_B = \sigma_{\min}(B_0)$, $\omega$ and $w$ the extreme singular values of the output matrices of the heads,
r the root of $C_1(r)\,r = \lambda_B/2$, $\mu = \omega^2\lambda_B^2/4$, $b = \|B_0\| + \lambda_B/2$ and $v$ the largest
norm of a value matrix that training can reach: if $2\sqrt H\,C_1 w v \|r_0\| \le \mu r$ and the step is at most
$1/L_f$, then
$f_t \le (1 - \eta\mu)^t f_0$ and $\sigma_{\min}(B_t) \ge \lambda_B/2$ for all t. Proof: `docs/theory/theorem_c.md`.
"""

import jax.numpy as jnp

from descentlab._types import Array, PyTree
from descentlab.attention import AbstractAttention
from descentlab.point import Point
from descentlab.probes import AbstractProbe, feature_matrix
from descentlab.probes.spectra import RANK_TOLERANCE
from descentlab.schedule import AbstractSchedule, At
from descentlab.theory.lipschitz import Geometry, assembled, geometry, kernel_bounds, largest_radius

__all__ = ["TRAINED", "TheoremC"]

TRAINED = ("query", "key", "value")


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
        """The constants, in the order of the labels."""
        model = point.objective.model(point.params)
        where = geometry(point.objective, point.params)
        singular = jnp.linalg.svd(feature_matrix(point.objective, point.params), compute_uv=False)
        rows = point.objective.inputs.shape[0] * (point.objective.targets.size // point.objective.targets.shape[0])
        rows //= model.output.shape[-1]
        full_rank = (singular.shape[0] >= rows) & (singular[-1] > RANK_TOLERANCE * singular[0])
        features = jnp.where(full_rank, singular[-1], 0.0)
        outputs = jnp.linalg.svd(model.output, compute_uv=False)
        full = model.output.shape[-2] >= model.output.shape[-1]
        omega = jnp.where(full, outputs[:, -1].min(), 0.0)
        mu = omega**2 * features**2 / 4
        residual = jnp.sqrt(2 * point.loss)
        norm = singular[0] + features / 2
        reach = 2 * where.norms["output"] * norm * residual / mu
        bounds = self._bounds(model.attention, where, features / 2)
        if bounds is None or set(where.trained) != set(TRAINED):
            unknown = jnp.full_like(mu, jnp.nan)
            return jnp.stack([features, omega, mu, residual, reach, unknown, unknown, unknown])
        radius, first, second = bounds
        value, output = where.norms["value"] + reach, where.norms["output"]
        heads = model.query.shape[0]
        movement = 2 * jnp.sqrt(1.0 * heads) * first * output * value * residual
        ratio = jnp.where(mu > 0, movement / (mu * radius), jnp.inf)
        change = assembled(second, (value, output, where.features + first * radius), where.trained)
        smoothness = (output * norm) ** 2 + heads * (first * output * value) ** 2 + change * residual
        return jnp.stack([features, omega, mu, residual, reach, radius, ratio, 1 / smoothness])

    def _bounds(self, attention: AbstractAttention, where: Geometry, half: Array) -> tuple | None:
        """The radius r of the query-key ball, and the kernel's constants on it."""

        def slope(radius: Array) -> Array:
            bounds = kernel_bounds(attention, where, radius)
            return jnp.full_like(radius, jnp.nan) if bounds is None else bounds.first

        radius = largest_radius(slope, half)
        bounds = kernel_bounds(attention, where, radius)
        return None if bounds is None else (radius, bounds.first, bounds)

    def labels(self, params: PyTree) -> tuple[str, ...]:
        """Names of the constants."""
        del params
        return ("lambda_b", "omega", "mu", "residual", "reach", "radius", "ratio", "step")

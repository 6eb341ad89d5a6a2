r"""Theorem C: query, key and value are trained, the output block is fixed, and the features keep their rank.

With $\lambda_B = \sigma_{\min}(B_0)$, $\omega$ and $w$ the extreme singular values of the output matrices of the heads,
r the root of $C_1(r)\,r = \lambda_B/2$, $\mu = \omega^2\lambda_B^2/4$, $b = \|B_0\| + \lambda_B/2$ and $v$ the largest
norm of a value matrix that training can reach: if $2\sqrt H\,C_1 w v \|r_0\| \le \mu r$ and the step is at most
$1/L_f$, then
$f_t \le (1 - \eta\mu)^t f_0$ and $\sigma_{\min}(B_t) \ge \lambda_B/2$ for all t. Proof: `docs/theory/theorem_c.md`.
Constants are found in double precision; $\lambda_B$ and $\omega$ are lower bounds, computed values less their errors.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from descentlab._types import Array, Float, PyTree
from descentlab.attention import AbstractAttention, Heads
from descentlab.claims import About, Claim, at_least
from descentlab.models import MultiHeadAttention
from descentlab.objective import Objective
from descentlab.probes import feature_matrix
from descentlab.probes.spectra import RANK_TOLERANCE, certain_smallest, singular_error
from descentlab.theory.certificate import AbstractCertificate, CertificateRow, Obstacle, exceeded
from descentlab.theory.facts import Facts
from descentlab.theory.lipschitz import Geometry, KernelBounds, assembled, geometry, kernel_bounds, largest_radius
from descentlab.theory.rounding import sum_rounding
from descentlab.theory.soundness import covered, gathered, rate_claim, recorded
from descentlab.trajectory import Trajectory

__all__ = ["TRAINED", "TheoremC", "TheoremCConstants"]

TRAINED = ("query", "key", "value")

_TOO_FAR = "query and key may move further than the features can bear"


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


class TheoremC(AbstractCertificate):
    """Theorem C, of one layer of attention with query, key and value trained and the output block fixed.

    References:
        Derived in `docs/theory/theorem_c.md`; HD >= Nn and the constant built from the output matrix and the smallest
        singular value of B are those of Song et al. (2024), arXiv:2411.07538, Theorem 2.
    """

    id: ClassVar[str] = "c"
    name: ClassVar[str] = "Theorem C"
    page: ClassVar[str] = "docs/theory/theorem_c.md"
    Constants: ClassVar[Any] = TheoremCConstants

    def speaks_of(self, model: PyTree, trained: tuple[str, ...]) -> bool:
        """Whether it is a layer of attention; what must be trained is one of the assumptions."""
        del trained
        return isinstance(model, MultiHeadAttention)

    def constants(self, objective: Objective, params: PyTree, singular: Float[Array, " row"]) -> TheoremCConstants:
        """NaN in `ratio` where no bound is known for the kernel or other blocks are trained.

        It is infinite where the features or an output matrix have not full rank.
        """
        del singular
        return _constants(objective.model(params), objective, params)

    def decay(self, step: Any, constants: Any) -> Any:
        r"""$\eta\mu$."""
        return step * constants.mu

    def obstacle(self, facts: Facts) -> Obstacle | None:
        """Other blocks are trained, a rank is missing, a bound is not known, or the residual is too large."""
        found, words = self.numbers(facts), ""
        if set(facts.trained) != set(TRAINED):
            words = "it needs query, key and value trained and the output block fixed"
        elif found.lambda_b == 0:
            words = f"B has not full row rank to the rank tolerance, {RANK_TOLERANCE:g} of its largest singular value"
        elif found.omega == 0:
            words = "an output matrix has not full column rank (value_dim >= output_dim is needed)"
        elif math.isnan(found.step):
            words = f"no bound of the first derivative is known for {facts.kernel}"
        return Obstacle(words) if words else exceeded(_TOO_FAR, found.ratio)

    def detail(self, facts: Facts, row: CertificateRow, tolerance: float) -> str:
        """The constants."""
        del row, tolerance
        found = self.numbers(facts)
        return f"lambda_B {found.lambda_b:.3g}, omega {found.omega:.3g}, mu {found.mu:.3g}"

    def promises(self, case: str, trajectories: Sequence[Trajectory]) -> list[Claim]:
        """Rank and rate; needs the probe `features` (`FeatureSpectrum`) too."""
        chosen = covered(self, trajectories)
        kept = [one["features"].sel(quantity="smallest").values[lanes] for one, lanes in chosen]
        start = [recorded(one, self).lambda_b[lanes, None] / 2 for one, lanes in chosen]
        half = [np.broadcast_to(bound, own.shape) for bound, own in zip(start, kept, strict=True)]
        measured, bound = (np.concatenate([part.ravel() for part in parts]) for parts in (kept, half))
        made = np.concatenate([one.made("features")[lanes].ravel() for one, lanes in chosen])
        rank = About(f"c-rank-{case}", "Certified lanes keep sigma_min(B_t) >= lambda_B / 2", self.name, case)
        rate = About(f"c-rate-{case}", "Certified lanes obey f_t <= (1 - eta mu)^t f_0", self.name, case)
        slack = sum_rounding(trajectories) * bound
        return [
            gathered(chosen, at_least(rank, measured, bound, slack=slack, where=made)),
            rate_claim(rate, self, trajectories),
        ]


def _constants(model: MultiHeadAttention, objective: Objective, params: PyTree) -> TheoremCConstants:
    where = geometry(model, objective, params)
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


def _bounds(
    attention: AbstractAttention | Heads, where: Geometry, half: Array
) -> tuple[Array, Array, KernelBounds] | None:
    """The radius r of the query-key ball, and the kernel's constants on it."""

    def slope(radius: Array) -> Array:
        bounds = kernel_bounds(attention, where, radius)
        return jnp.full_like(radius, jnp.nan) if bounds is None else bounds.first

    radius = largest_radius(slope, half)
    bounds = kernel_bounds(attention, where, radius)
    return None if bounds is None else (radius, bounds.first, bounds)

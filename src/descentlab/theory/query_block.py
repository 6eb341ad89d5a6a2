r"""The certificate of the query block trained alone: Theorem B with a bound of J's changes that holds everywhere.

That bound knows the keys and the values, so it is sharper than the one for any trained blocks. Proof:
`docs/theory/query_block.md`. Constants are found in double precision, smallest singular values as lower bounds:
computed values less their errors.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np

from descentlab._tree import block_names
from descentlab._types import Array, Float, PyTree
from descentlab.claims import About, Claim, at_least
from descentlab.models import MultiHeadAttention, PerToken
from descentlab.objective import Objective
from descentlab.probes.spectra import extreme_singular
from descentlab.theory.certificate import AbstractCertificate, CertificateRow, Obstacle, exceeded, jacobian_obstacle
from descentlab.theory.facts import Facts
from descentlab.theory.full_batch import all_alike
from descentlab.theory.query_gram import query_gram, query_lipschitz, token_bound
from descentlab.theory.rounding import sum_rounding
from descentlab.theory.soundness import covered, gathered, rate_claim
from descentlab.theory.theorem_b import KeptRank
from descentlab.trajectory import Trajectory

__all__ = ["QueryBlock", "QueryBlockConstants"]


class QueryBlockConstants(NamedTuple):
    r"""What the certificate of the query block rests on at a point, and what it says.

    Attributes:
        tokens: $\sigma_{\min}(X)$.
        weakest: $\gamma$.
        bound: $\sigma_{\min}(X)^2\gamma^2/N$.
        smallest: the least eigenvalue of K, from the singular values of J.
        largest: the largest one, an upper bound.
        mismatch: the largest difference between the entrywise product and $J J^\top$, relative to its largest entry.
        sigma_min: a lower bound of $\sigma_0$.
        residual: $\|r_0\|$.
        beta: $\beta$; NaN where no bound is known for the kernel.
        ratio: $2\beta\|r_0\| / \sigma_0^2$, at most 1 where the certificate applies; NaN where no bound is known.
        kept: s of Theorem B.
        reach: $\rho$ of Theorem B.
        step: the largest step size it speaks of.
    """

    tokens: Float[Array, ""]
    weakest: Float[Array, ""]
    bound: Float[Array, ""]
    smallest: Float[Array, ""]
    largest: Float[Array, ""]
    mismatch: Float[Array, ""]
    sigma_min: Float[Array, ""]
    residual: Float[Array, ""]
    beta: Float[Array, ""]
    ratio: Float[Array, ""]
    kept: Float[Array, ""]
    reach: Float[Array, ""]
    step: Float[Array, ""]


class QueryBlock(AbstractCertificate):
    """The certificate of the query block alone, in a layer of attention with a target for every token.

    References:
        Derived in `docs/theory/query_block.md`; the query block alone is what Song et al. (2024), arXiv:2411.07538,
        compare kernels on.
    """

    id: ClassVar[str] = "query"
    name: ClassVar[str] = "Query block"
    page: ClassVar[str] = "docs/theory/query_block.md"
    Constants: ClassVar[Any] = QueryBlockConstants

    def speaks_of(self, model: PyTree, trained: tuple[str, ...]) -> bool:
        """Whether the query block of a layer of attention is trained alone."""
        return isinstance(model, MultiHeadAttention) and trained == ("query",)

    def constants(self, objective: Objective, params: PyTree, singular: Float[Array, " row"]) -> QueryBlockConstants:
        """NaN in `beta` and `ratio` where no bound is known for the kernel.

        NaN in all but `residual` without a formula, where more is trained, or where targets are not by token.

        Raises:
            Mistake: if examples have weights.
        """
        all_alike(objective)
        model, residual = objective.model(params), jnp.sqrt(2 * objective.loss(params))
        by_token = self.speaks_of(model, block_names(params)) and isinstance(model.readout, PerToken)
        bounds = token_bound(objective, params) if by_token else None
        gram = query_gram(objective, params) if bounds is not None else None
        if bounds is None or gram is None:
            unknown = QueryBlockConstants(*[jnp.full_like(residual, jnp.nan)] * len(QueryBlockConstants._fields))
            return unknown._replace(residual=residual)
        tokens, weakest = bounds
        jacobian = objective.jacobian(params)
        exact = jacobian @ jacobian.T
        mismatch = jnp.abs(gram - exact).max() / jnp.abs(exact).max()
        sigma, largest = extreme_singular(singular, params)
        bound = (tokens * weakest) ** 2 / objective.inputs.shape[0]
        beta = query_lipschitz(model, objective.inputs)
        ratio = jnp.where(sigma > 0, 2 * beta * residual / sigma**2, jnp.inf)
        ratio = jnp.where(jnp.isnan(beta), beta, ratio)
        path = KeptRank.of((sigma, largest), residual, beta)
        found = tokens, weakest, bound, singular[-1] ** 2, largest**2, mismatch, sigma, residual, beta, ratio
        return QueryBlockConstants(*found, *path)

    def decay(self, step: Any, constants: Any) -> Any:
        r"""$1 - (1 - \eta s^2)^2$, as in Theorem B."""
        return step * constants.kept**2 * (2 - step * constants.kept**2)

    def obstacle(self, facts: Facts) -> Obstacle | None:
        """What is not known, a rank that is missing, or a residual that is too large."""
        found = self.numbers(facts)
        if math.isnan(found.tokens):
            return Obstacle(f"it needs a target for every token and a kernel with known constants, here {facts.kernel}")
        missing = jacobian_obstacle(facts, found.beta)
        return missing or exceeded("2 beta ||r_0|| exceeds sigma_0^2", found.ratio)

    def detail(self, facts: Facts, row: CertificateRow, tolerance: float) -> str:
        """The PL bound beside the eigenvalue, and the constants."""
        del row, tolerance
        found = self.numbers(facts)
        if math.isnan(found.tokens):
            return ""
        said = f"sigma_0 {found.sigma_min:.3g}, beta {found.beta:.3g}, ||r_0|| {found.residual:.3g}"
        return f"PL bound {found.bound:.3g} of lambda_min(K_Q) {found.smallest:.3g}, {said}"

    def promises(self, case: str, trajectories: Sequence[Trajectory]) -> list[Claim]:
        """Rank and rate, from constants that are recorded along the run."""
        chosen = covered(self, trajectories)
        smallest = [one[self.id].sel(quantity="smallest").values[lanes] for one, lanes in chosen]
        start = [one[self.id].sel(quantity="kept").values[lanes, :1] for one, lanes in chosen]
        least = [np.broadcast_to(bound, own.shape) for bound, own in zip(start, smallest, strict=True)]
        kept, bound = (np.concatenate([part.ravel() for part in parts]) for parts in (smallest, least))
        made = np.concatenate([one.made(self.id)[lanes].ravel() for one, lanes in chosen])
        rank = About(f"query-rank-{case}", "Certified lanes keep sigma_min(J_t) >= s", self.page, case)
        rate = About(f"query-rate-{case}", "Certified lanes obey f_t <= (1 - eta s^2)^(2t) f_0", self.page, case)
        slack = sum_rounding(trajectories) * bound
        return [
            gathered(chosen, at_least(rank, np.sqrt(kept), bound, slack=slack, where=made)),
            rate_claim(rate, self, trajectories),
        ]

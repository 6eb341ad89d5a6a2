r"""Theorem B: gradient descent reaches zero loss before the Jacobian loses its rank, whatever blocks are trained.

With $\sigma_0$ the smallest singular value of J at the start and $\beta$ a Lipschitz bound of J on the ball of radius
$2\|r_0\|/\sigma_0$: if $2\beta\|r_0\| \le \sigma_0^2$, then with

    s = sqrt(sigma_0^2 - 2 beta ||r_0||),   rho = 2 ||r_0|| / (sigma_0 + s),   L = sigma_max(J_0) + beta rho

and a step $\eta \le 1/(L^2 + \beta\|r_0\|/2)$ the whole path is at most $\rho$ long, $\sigma_{\min}(J_t) \ge s$ and
$f_t \le (1 - \eta s^2)^{2t} f_0$. Line searches are certified where $4\beta\|r_0\| \le \sigma_0^2$, on a ball of twice
the radius. Proofs: `docs/theory/theorem_b.md`. Constants are found in double precision; $\sigma_0$ is a lower bound,
the computed value less its error.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np

from descentlab._tree import block_of
from descentlab._types import Array, Float, PyTree
from descentlab.claims import About, Claim, at_least, at_most
from descentlab.objective import Objective
from descentlab.probes.spectra import extreme_singular
from descentlab.theory.certificate import AbstractCertificate, CertificateRow, Obstacle, exceeded, jacobian_obstacle
from descentlab.theory.facts import Facts
from descentlab.theory.lipschitz import is_known, jacobian_lipschitz, largest_radius
from descentlab.theory.rounding import sum_rounding, unit_roundoff
from descentlab.theory.soundness import covered, gathered, rate_claim, recorded
from descentlab.trajectory import Trajectory

__all__ = ["KeptRank", "TheoremB", "TheoremBConstants"]


class KeptRank(NamedTuple):
    r"""What is kept along the path where $2\beta\|r_0\| \le \sigma_0^2$; nothing is said where it is not.

    Attributes:
        kept: s, a lower bound of $\sigma_{\min}(J_t)$ at every step.
        reach: $\rho$, at least the length of the path.
        step: the largest step size.
    """

    kept: Float[Array, ""]
    reach: Float[Array, ""]
    step: Float[Array, ""]

    @classmethod
    def of(cls, extremes: tuple[Array, Array], residual: Array, beta: Array) -> "KeptRank":
        r"""From bounds of the extreme singular values of $J_0$, $\|r_0\|$ and $\beta$.

        s is rounded to the unfavourable side: rounding of the ratio counts where it is close to 1.
        """
        smallest, largest = extremes
        rounding = 8 * jnp.finfo(smallest.dtype).eps
        room = jnp.maximum(1 - 2 * beta * residual / smallest**2 - rounding, 0.0)
        kept = smallest * jnp.sqrt(room)
        reach = 2 * residual / (smallest + kept)
        return cls(kept, reach, 1 / ((largest + beta * reach) ** 2 + beta * residual / 2))


class TheoremBConstants(NamedTuple):
    r"""What Theorem B rests on at a start, and what it says.

    Attributes:
        sigma_min: a lower bound of $\sigma_0$.
        sigma_max: an upper bound of $\sigma_{\max}(J_0)$.
        residual: $\|r_0\|$.
        radius: the root of $\beta(\rho)\rho = \sigma_0$, the largest radius that the condition allows.
        beta: $\beta$ there; NaN where no Lipschitz bound is known.
        ratio: $2\beta\|r_0\| / \sigma_0^2$ with that $\beta$, at most 1 exactly where it is with the $\beta$ of the
            smaller ball; infinite where J has not full row rank. A line search is certified up to 1/2.
        kept: s, with the $\beta$ of the smaller ball.
        reach: $\rho$.
        step: the largest step size it speaks of.
    """

    sigma_min: Float[Array, ""]
    sigma_max: Float[Array, ""]
    residual: Float[Array, ""]
    radius: Float[Array, ""]
    beta: Float[Array, ""]
    ratio: Float[Array, ""]
    kept: Float[Array, ""]
    reach: Float[Array, ""]
    step: Float[Array, ""]


class TheoremB(AbstractCertificate):
    """Theorem B, of any model of which `jacobian_lipschitz` knows a bound.

    References:
        Derived in `docs/theory/theorem_b.md`; the linear rate is that of Song et al. (2024), arXiv:2411.07538.
    """

    id: ClassVar[str] = "b"
    name: ClassVar[str] = "Theorem B"
    page: ClassVar[str] = "docs/theory/theorem_b.md"
    Constants: ClassVar[Any] = TheoremBConstants

    def speaks_of(self, model: PyTree, trained: tuple[str, ...]) -> bool:
        """Whether a bound is registered for the model, whatever is trained."""
        del trained
        return is_known(model)

    def constants(self, objective: Objective, params: PyTree, singular: Float[Array, " row"]) -> TheoremBConstants:
        """NaN in `beta` and what follows from it where no Lipschitz bound is known for the model or its kernel."""
        smallest, largest = extreme_singular(singular, params)
        residual = jnp.sqrt(2 * objective.loss(params))
        slope = jacobian_lipschitz(objective.model(params), objective, params)
        unknown = jnp.full_like(smallest, jnp.nan)
        radius = unknown if slope is None else largest_radius(slope, smallest)
        beta, longest = unknown if slope is None else slope(radius), 2 * residual / smallest
        ratio = jnp.where(smallest > 0, 2 * beta * residual / smallest**2, jnp.inf)
        # The two sides of the equivalence agree, except where the radius was cut off at the end of its range.
        ratio = jnp.where(longest > radius, jnp.maximum(ratio, longest / radius), ratio)
        near = unknown if slope is None else slope(longest)
        path = KeptRank.of((smallest, largest), residual, near)
        return TheoremBConstants(smallest, largest, residual, radius, beta, ratio, *path)

    def decay(self, step: Any, constants: Any) -> Any:
        r"""$1 - (1 - \eta s^2)^2$."""
        return step * constants.kept**2 * (2 - step * constants.kept**2)

    def obstacle(self, facts: Facts) -> Obstacle | None:
        """A rank that is missing, a bound that is not known, or a residual that is too large."""
        found = self.numbers(facts)
        missing = jacobian_obstacle(facts, found.beta)
        return missing or exceeded("2 beta ||r_0|| exceeds sigma_0^2", found.ratio)

    def detail(self, facts: Facts, row: CertificateRow, tolerance: float) -> str:
        """The constants, and whether a line search is certified too."""
        del tolerance
        found = self.numbers(facts)
        said = f"sigma_0 {found.sigma_min:.3g}, beta {found.beta:.3g}, ||r_0|| {found.residual:.3g}"
        return f"{said}; steps by line search too" if row.applies and found.ratio <= 0.5 else said

    def promises(self, case: str, trajectories: Sequence[Trajectory]) -> list[Claim]:
        """Distance, rank, rate and the bound itself; needs `distance`, `gram` and `search` (`LipschitzSearch`) too."""
        chosen = covered(self, trajectories)
        sides = [_sides(self, one, lanes) for one, lanes in chosen]
        joined = {name: np.concatenate([side[name] for side in sides]) for name in sides[0]} if sides else {}
        share = sum_rounding(trajectories)
        about = {
            "distance": "Certified lanes stay within 2 ||r_0|| / (sigma_0 + s) of the start",
            "rank": "Certified lanes keep sigma_min(J_t) >= s",
            "lipschitz": "No pair of points in the ball exceeds the claimed Lipschitz constant",
            "rate": "Certified lanes obey f_t <= (1 - eta s^2)^(2t) f_0",
        }
        said = {name: About(f"{self.id}-{name}-{case}", text, self.name, case) for name, text in about.items()}
        distance = at_most(
            said["distance"],
            joined["moved"],
            joined["reach"],
            slack=share * joined["reach"] + joined["shifted"],
            where=joined["near"],
        )
        rank = at_least(
            said["rank"],
            joined["smallest"],
            joined["kept"],
            slack=share * joined["kept"],
            uncertainty=joined["unsure"],
            where=joined["ranked"],
        )
        slopes = at_most(said["lipschitz"], joined["found"], joined["bound"], slack=share * joined["bound"])
        return [
            *(gathered(chosen, claim) for claim in (distance, rank, slopes)),
            rate_claim(said["rate"], self, trajectories),
        ]


def _sides(certificate: TheoremB, run: Trajectory, lanes: np.ndarray) -> dict[str, np.ndarray]:
    """What is compared of the certified lanes of a run, by name; flat."""
    constants = recorded(run, certificate)
    moved = np.sqrt(np.sum(run["distance"].values ** 2, axis=-1))[lanes]
    gram = {q: run["gram"].sel(quantity=q).values[lanes] for q in ("smallest", "smallest_error")}
    smallest = np.maximum(gram["smallest"], 0.0)
    found = {
        "moved": moved,
        "near": run.made("distance")[lanes],
        "reach": np.broadcast_to(constants.reach[lanes, None], moved.shape),
        "shifted": np.broadcast_to(_of_weights(run)[lanes, None], moved.shape),
        "smallest": np.sqrt(smallest),
        "unsure": np.sqrt(smallest + gram["smallest_error"]) - np.sqrt(smallest),
        "ranked": run.made("gram")[lanes],
        "kept": np.broadcast_to(constants.kept[lanes, None], smallest.shape),
        "found": run["search"].sel(quantity="found").values[lanes, 0],
        "bound": run["search"].sel(quantity="bound").values[lanes, 0],
    }
    return {name: values.ravel() for name, values in found.items()}


def _of_weights(run: Trajectory) -> np.ndarray:
    """How far rounding of the trained weights moves a distance between them, one number a lane."""
    trained = set(run["distance"].entries("block"))
    squares = [
        np.sum(array.astype(np.float64) ** 2, axis=tuple(range(1, array.ndim)))
        for name, array in run.final.items()
        if block_of(name) in trained
    ]
    return 2 * unit_roundoff(run) * np.sqrt(np.sum(squares, axis=0))

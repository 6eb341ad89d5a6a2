"""Theorem A': the output block is trained alone, in which the model is linear.

Proof: `docs/theory/theorem_a_prime.md`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from descentlab._types import Array, Float, PyTree
from descentlab.claims import About, Claim
from descentlab.models import MultiHeadAttention
from descentlab.objective import Objective
from descentlab.theory.certificate import AbstractCertificate, CertificateRow, Obstacle
from descentlab.theory.facts import Facts
from descentlab.theory.soundness import rate_claim
from descentlab.theory.theorem_a import LinearConstants, linear_detail, rank_obstacle
from descentlab.trajectory import Trajectory

__all__ = ["TheoremAPrime"]


class TheoremAPrime(AbstractCertificate):
    """Theorem A', of the output block trained alone.

    References:
        Derived in `docs/theory/theorem_a_prime.md`.
    """

    id: ClassVar[str] = "a_prime"
    name: ClassVar[str] = "Theorem A'"
    page: ClassVar[str] = "docs/theory/theorem_a_prime.md"
    Constants: ClassVar[Any] = LinearConstants

    def speaks_of(self, model: PyTree, trained: tuple[str, ...]) -> bool:
        """Whether the output block of a layer of attention is trained alone."""
        return isinstance(model, MultiHeadAttention) and trained == ("output",)

    def constants(self, objective: Objective, params: PyTree, singular: Float[Array, " row"]) -> LinearConstants:
        """From the singular values alone."""
        del objective
        return LinearConstants.of(params, singular)

    def decay(self, step: Any, constants: Any) -> Any:
        r"""$1 - (1 - \eta\mu)^2$."""
        return constants.decay(step)

    def obstacle(self, facts: Facts) -> Obstacle | None:
        """That K has not full rank."""
        return rank_obstacle(facts)

    def detail(self, facts: Facts, row: CertificateRow, tolerance: float) -> str:
        """The least-squares floor, or the condition number and the steps by the modal formula."""
        return linear_detail(facts, row, tolerance)

    def promises(self, case: str, trajectories: Sequence[Trajectory]) -> list[Claim]:
        """The rate."""
        text = "Output-only loss obeys f_t <= (1 - eta mu)^(2t) f_0"
        return [rate_claim(About(f"a_prime-rate-{case}", text, self.name, case), self, trajectories)]

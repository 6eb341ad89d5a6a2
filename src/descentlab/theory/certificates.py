"""All certificates, and what they say of a start."""

import math
from collections.abc import Sequence

from descentlab.theory.certificate import AbstractCertificate, CertificateRow
from descentlab.theory.facts import Facts
from descentlab.theory.query_block import QueryBlock
from descentlab.theory.theorem_a import TheoremA
from descentlab.theory.theorem_a_prime import TheoremAPrime
from descentlab.theory.theorem_b import TheoremB
from descentlab.theory.theorem_c import TheoremC

__all__ = ["CERTIFICATES", "best", "rows_of"]

CERTIFICATES: tuple[AbstractCertificate, ...] = (TheoremA(), TheoremAPrime(), QueryBlock(), TheoremB(), TheoremC())
"""Every certificate of the package."""


def rows_of(facts: Facts, tolerance: float) -> list[CertificateRow]:
    """One row a certificate that was measured: that speaks of the model and its trained blocks.

    Args:
        facts: what was measured at the start.
        tolerance: the loss, relative to the start, to which steps are predicted.
    """
    return [one.row(facts, tolerance) for one in facts.certificates]


def best(rows: Sequence[CertificateRow]) -> CertificateRow | None:
    """The certificate that applies and predicts the fewest steps; `None` where none applies."""
    return min((row for row in rows if row.applies), key=lambda row: row.steps or math.inf, default=None)

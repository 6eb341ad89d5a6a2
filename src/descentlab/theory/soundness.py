"""Certificates held against the runs they were written for.

A lane is certified when the assumption of its theorem holds at the start and its step is admissible. What the theorem
then promises is compared with what the run recorded; with fewer than 30 certified lanes a claim that holds is
*undecided*. A certificate speaks of exact arithmetic, which double precision stands in for; the claims are *not
applicable* to runs in single precision.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from descentlab.claims import About, AbstractStatement, Claim, at_most, not_applicable, undecided
from descentlab.objective import ZERO_LOSS
from descentlab.theory.certificate import AbstractCertificate
from descentlab.theory.rounding import sum_rounding
from descentlab.trajectory import Trajectory

__all__ = ["ENOUGH", "Promises", "certified", "covered", "gathered", "of_double", "rate_claim", "recorded"]

ENOUGH = 30

_SINGLE = "the runs are in float32, and the theorem says nothing of their rounding; run it in float64"
"""Why a promise of a theorem is not held against runs in single precision."""

Covered = Sequence[tuple[Trajectory, np.ndarray]]
"""Runs, each with which of its lanes are certified."""


def of_double(trajectories: Sequence[Trajectory], claim: Claim) -> Claim:
    """The claim, *not applicable* where a run it speaks of was made in single precision."""
    if not any(_in_single(trajectory) for trajectory in trajectories):
        return claim
    return not_applicable(About(claim.id, claim.text, claim.source, claim.case), _SINGLE)


def _in_single(trajectory: Trajectory) -> bool:
    return any(array.dtype == np.float32 for array in trajectory.final.values())


def recorded(trajectory: Trajectory, certificate: AbstractCertificate) -> Any:
    """The constants of a certificate at the first record, each an array with an axis of lanes.

    Args:
        trajectory: with the certificate's probe (`Certified`) under its id.
        certificate: whose.
    """
    series, names = trajectory[certificate.id], certificate.Constants._fields
    return certificate.Constants(**{name: series.sel(quantity=name).values[:, 0] for name in names})


def certified(trajectory: Trajectory, certificate: AbstractCertificate) -> np.ndarray:
    """Which lanes a certificate covers: its ratio is at most 1, the step is admissible, and the run finished.

    None of a run in single precision is covered.

    Args:
        trajectory: with probes `step_size` and the certificate's.
        certificate: whose constants were recorded.
    """
    found = recorded(trajectory, certificate)
    admissible = trajectory.last("step_size") <= found.step * (1 + 1e-12)
    return (found.ratio <= 1) & admissible & trajectory.finished & (not _in_single(trajectory))


def covered(certificate: AbstractCertificate, trajectories: Sequence[Trajectory]) -> Covered:
    """Every run, with which of its lanes are certified."""
    return [(one, certified(one, certificate)) for one in trajectories]


def gathered(chosen: Covered, claim: Claim) -> Claim:
    """A claim about the certified lanes, as far as they are enough and in double precision."""
    lanes = sum(int(which.sum()) for _, which in chosen)
    enough = claim if lanes >= ENOUGH else undecided(claim, f"only {lanes} certified lanes, {ENOUGH} are wanted")
    return of_double([trajectory for trajectory, _ in chosen], enough)


@dataclasses.dataclass(frozen=True)
class Promises(AbstractStatement):
    """What a certificate promises of the runs of a family, as statements of a section.

    Attributes:
        certificate: whose.
        family: of runs with the probes that its `promises` asks for.
    """

    certificate: AbstractCertificate
    family: str

    def claims(self, seen: Any, cases: Sequence[str], of: Callable[[str], Any]) -> list[Claim]:
        """Those of every case of which there is a run."""
        del seen
        runs = {case: (of(case) or {}).get(self.family) for case in cases}
        return [claim for case, some in runs.items() if some for claim in self._of(case, some.trajectories)]

    def _of(self, case: str, trajectories: Sequence[Trajectory]) -> list[Claim]:
        found = self.certificate.promises(case, trajectories)
        if not all(np.isnan(recorded(one, self.certificate).ratio).all() for one in trajectories):
            return found
        reason = f"no bound that {self.certificate.name} needs is known here"
        return [not_applicable(About(one.id, one.text, one.source, one.case), reason) for one in found]


def rate_claim(about: About, certificate: AbstractCertificate, trajectories: Sequence[Trajectory]) -> Claim:
    """f_t <= (1 - d)^t f_0 with the decay d of a certificate wherever f_t > 1e-20 f_0, on the certified lanes."""
    measured, bounds, where, chosen = [], [], [], covered(certificate, trajectories)
    for trajectory, lanes in chosen:
        loss = trajectory["loss"]
        decay = certificate.decay(trajectory.last("step_size"), recorded(trajectory, certificate))
        relative = loss.values / loss.values[:, :1]
        shrink = np.log1p(-np.clip(decay, 0.0, 1 - 1e-16))
        measured.append(relative.ravel())
        bounds.append(np.exp(shrink[:, None] * loss.steps).ravel())
        where.append((lanes[:, None] & (relative > ZERO_LOSS) & (loss.steps > 0)).ravel())
    bound = np.concatenate(bounds)
    slack = sum_rounding(trajectories) * bound
    claim = at_most(about, np.concatenate(measured), bound, slack=slack, where=np.concatenate(where))
    return gathered(chosen, claim)

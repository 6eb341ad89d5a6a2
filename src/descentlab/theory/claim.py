"""Claims: comparisons of measured numbers with what a statement says, and their verdicts.

A statement that says *at most* or *no larger* holds on equality; one that says *below*, *more*, *faster* or *exceeds*
does not. Numbers that chance has a part in come with an uncertainty; those without are compared as they are.
"""

import dataclasses
import enum
import math
from typing import Any

import numpy as np

from descentlab._types import ArrayLike

__all__ = [
    "About",
    "Claim",
    "Verdict",
    "above",
    "at_least",
    "at_most",
    "below",
    "close",
    "not_applicable",
    "of_seeds",
    "undecided",
]


class Verdict(enum.StrEnum):
    """What a comparison came to."""

    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "undecided"
    NOT_APPLICABLE = "not applicable"


@dataclasses.dataclass(frozen=True)
class About:
    """What a claim says and where that is stated: the part of it that is known before anything is measured.

    Attributes:
        id: short name, unique within a study.
        text: the statement in words.
        source: where it is stated or proved.
        kernel: the attention kernel it speaks of, or `None` for all.
        detail: what else a reader wants to know.
    """

    id: str
    text: str
    source: str
    kernel: str | None = None
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement, the numbers that were compared, and the verdict that follows from them.

    Attributes:
        id: short name, unique within a study.
        text: the statement in words.
        source: where it is stated or proved.
        kernel: the attention kernel it speaks of, or `None` for all.
        detail: what else a reader wants to know.
        verdict: *holds*, *fails*, *undecided* (a gap within its uncertainty) or *not applicable*.
        measured: the measured side of the worst comparison.
        expected: the other side of it.
        uncertainty: of the difference, at the worst comparison.
        checked: number of comparisons made.
        worst_margin: by how much the worst comparison is met, relative to its expected side; below 0 it is not, nor
            at 0 where the statement is strict.
    """

    id: str
    text: str
    source: str
    kernel: str | None
    detail: str
    verdict: Verdict
    measured: float | None = None
    expected: float | None = None
    uncertainty: float = 0.0
    checked: int = 0
    worst_margin: float | None = None

    def as_data(self) -> dict[str, Any]:
        """The claim as JSON-compatible data; a value that is not a finite number is `None`."""

        def plain(value: Any) -> Any:
            if isinstance(value, float | np.floating):
                return float(value) if math.isfinite(value) else None
            return value

        return {name: plain(value) for name, value in dataclasses.asdict(self).items()} | {"verdict": str(self.verdict)}


def not_applicable(about: About, reason: str) -> Claim:
    """A claim of which nothing could be compared, and why."""
    said = dataclasses.replace(about, detail=f"{reason}. {about.detail}".strip())
    return Claim(**dataclasses.asdict(said), verdict=Verdict.NOT_APPLICABLE)


def undecided(claim: Claim, reason: str) -> Claim:
    """A claim whose comparisons are too few for the verdict they came to; one that fails already stays so."""
    if claim.verdict != Verdict.HOLDS:
        return claim
    return dataclasses.replace(claim, verdict=Verdict.UNDECIDED, detail=f"{reason}. {claim.detail}".strip())


def of_seeds(claim: Claim, count: int) -> Claim:
    """A claim on every seed that was held against so many: that one seed does as it says decides nothing of others.

    One seed that does not is enough to refute it. For statements that were measured, not proved.
    """
    return claim if count > 1 else undecided(claim, "one seed decides nothing about others")


def _judge(about: About, margin: ArrayLike, sides: tuple[np.ndarray, ...], *, strict: bool = False) -> Claim:
    """The verdict of comparisons whose `margin` is at least 0, or above 0 if strict, where they are met.

    `sides` are measured, expected, uncertainty and where, broadcast against `margin`. A margin that is not a
    number, or an uncertainty that is not finite, decides nothing, so it leaves the claim undecided unless another
    comparison fails.
    """
    margin, measured, expected, uncertainty, where = np.broadcast_arrays(margin, *sides)
    checked = int(where.sum())
    if not checked:
        return not_applicable(about, "no comparison was possible")
    margin, uncertainty = margin[where], uncertainty[where]
    unknown = np.isnan(margin)
    missed = np.less_equal if strict else np.less
    with np.errstate(invalid="ignore"):
        low, high = margin - uncertainty, margin + uncertainty
    if np.any(missed(high, 0)):
        verdict = Verdict.FAILS
    elif np.any(unknown | ~np.isfinite(uncertainty) | missed(low, 0)):
        verdict = Verdict.UNDECIDED
    else:
        verdict = Verdict.HOLDS
    worst = int(np.argmin(np.where(unknown, np.inf, margin)))
    scale = abs(expected[where][worst])
    return Claim(
        **dataclasses.asdict(about),
        verdict=verdict,
        measured=float(measured[where][worst]),
        expected=float(expected[where][worst]),
        uncertainty=float(uncertainty[worst]),
        checked=checked,
        worst_margin=float(margin[worst] / scale) if 0 < scale < np.inf else float(margin[worst]),
    )


def _sides(measured: Any, expected: Any, uncertainty: Any, where: Any) -> tuple[np.ndarray, ...]:
    numbers = [np.asarray(side, dtype=np.float64) for side in (measured, expected, uncertainty)]
    return tuple(np.broadcast_arrays(*numbers, np.asarray(where, dtype=bool)))


def at_most(
    about: About,
    measured: ArrayLike,
    bound: ArrayLike,
    *,
    slack: ArrayLike = 0.0,
    uncertainty: ArrayLike = 0.0,
    where: ArrayLike | bool = True,
) -> Claim:
    """The claim that every measured number is at most its bound: measured <= bound + slack.

    Args:
        about: what is claimed.
        measured: the numbers.
        bound: what they must not exceed; broadcast against them.
        slack: absolute allowance for rounding.
        uncertainty: half-width within which a comparison is undecided, in the units of the numbers.
        where: which comparisons count.

    Returns:
        The claim; *not applicable* where nothing counts.
    """
    sides = _sides(measured, bound, uncertainty, where)
    return _judge(about, sides[1] + slack - sides[0], sides)


def at_least(
    about: About,
    measured: ArrayLike,
    bound: ArrayLike,
    *,
    slack: ArrayLike = 0.0,
    uncertainty: ArrayLike = 0.0,
    where: ArrayLike | bool = True,
) -> Claim:
    """The claim that every measured number is at least its bound: measured >= bound - slack. See `at_most`."""
    sides = _sides(measured, bound, uncertainty, where)
    return _judge(about, sides[0] + slack - sides[1], sides)


def above(
    about: About, measured: ArrayLike, bound: ArrayLike, *, uncertainty: ArrayLike = 0.0, where: ArrayLike | bool = True
) -> Claim:
    """The claim that every measured number exceeds its bound: measured > bound, not on equality. See `at_most`."""
    sides = _sides(measured, bound, uncertainty, where)
    return _judge(about, sides[0] - sides[1], sides, strict=True)


def below(
    about: About, measured: ArrayLike, bound: ArrayLike, *, uncertainty: ArrayLike = 0.0, where: ArrayLike | bool = True
) -> Claim:
    """The claim that every measured number is below its bound: measured < bound, not on equality. See `at_most`."""
    sides = _sides(measured, bound, uncertainty, where)
    return _judge(about, sides[1] - sides[0], sides, strict=True)


def close(
    about: About,
    measured: ArrayLike,
    expected: ArrayLike,
    *,
    tolerance: ArrayLike = 0.0,
    uncertainty: ArrayLike = 0.0,
    where: ArrayLike | bool = True,
) -> Claim:
    """The claim that every measured number lies within `tolerance` of what is expected. See `at_most`."""
    sides = _sides(measured, expected, uncertainty, where)
    return _judge(about, tolerance - np.abs(sides[0] - sides[1]), sides)

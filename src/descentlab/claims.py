"""Claims: comparisons of measured numbers with what a statement says, and their verdicts.

A statement that says *at most* or *no larger* holds on equality; one that says *below*, *more*, *faster* or *exceeds*
does not. Numbers that chance has a part in come with an uncertainty; those without are compared as they are.

A study states its claims before anything is measured, each as a function under the decorator `claim`:

    @claim("rate-bound-{case}", "The loss never lags (1 - eta mu)^(2t) f_0", source="Theorem A")
    def rate_bound(about, runs):
        return theorem_a.rate(about, runs.trajectories)

It is asked once of every case, that is of every value that the study's axis takes, since its name has the case in it.
"""

import abc
import dataclasses
import enum
import inspect
import itertools
import math
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from descentlab._numbers import ArrayLike
from descentlab.estimate import Interval
from descentlab.mistake import Mistake

__all__ = [
    "About",
    "AbstractStatement",
    "Claim",
    "Statement",
    "Verdict",
    "above",
    "at_least",
    "at_most",
    "below",
    "claim",
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
        case: the value of the study's axis that it speaks of, such as a kernel, or `None` for all.
        detail: what else a reader wants to know.
    """

    id: str
    text: str
    source: str
    case: str | None = None
    detail: str = ""

    def noting(self, detail: str) -> "About":
        """The same with something more that a reader wants to know."""
        return dataclasses.replace(self, detail=f"{self.detail} {detail}".strip())


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement, the numbers that were compared, and the verdict that follows from them.

    Attributes:
        id: short name, unique within a study.
        text: the statement in words.
        source: where it is stated or proved.
        case: the value of the study's axis that it speaks of, such as a kernel, or `None` for all.
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
    case: str | None
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


Numbers = ArrayLike | Interval | Sequence[Interval]
"""What is measured: plain numbers, or numbers with their intervals, which make the uncertainty of comparing them."""


def _sides(measured: Numbers, expected: Any, uncertainty: Any, where: Any, *, both: bool = False) -> tuple[Any, ...]:
    """The sides of comparisons; an interval counts as far as it reaches to what is expected, or on `both` sides."""
    if isinstance(measured, Interval):
        reach = measured.error if both else measured.towards(float(np.asarray(expected)))
        measured, uncertainty = measured.value, reach + np.asarray(uncertainty)
    elif isinstance(measured, Sequence):
        bounds = np.broadcast_to(np.asarray(expected, dtype=np.float64), len(measured))
        reach = [one.error if both else one.towards(bound) for one, bound in zip(measured, bounds, strict=True)]
        measured, uncertainty = np.asarray([one.value for one in measured]), np.asarray(reach) + np.asarray(uncertainty)
    numbers = [np.asarray(side, dtype=np.float64) for side in (measured, expected, uncertainty)]
    return tuple(np.broadcast_arrays(*numbers, np.asarray(where, dtype=bool)))


def at_most(
    about: About,
    measured: Numbers,
    bound: ArrayLike,
    *,
    slack: ArrayLike = 0.0,
    uncertainty: ArrayLike = 0.0,
    where: ArrayLike | bool = True,
) -> Claim:
    """The claim that every measured number is at most its bound: measured <= bound + slack.

    Args:
        about: what is claimed.
        measured: the numbers, or intervals, whose reach towards the bound adds to the uncertainty.
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
    measured: Numbers,
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
    about: About, measured: Numbers, bound: ArrayLike, *, uncertainty: ArrayLike = 0.0, where: ArrayLike | bool = True
) -> Claim:
    """The claim that every measured number exceeds its bound: measured > bound, not on equality. See `at_most`."""
    sides = _sides(measured, bound, uncertainty, where)
    return _judge(about, sides[0] - sides[1], sides, strict=True)


def below(
    about: About, measured: Numbers, bound: ArrayLike, *, uncertainty: ArrayLike = 0.0, where: ArrayLike | bool = True
) -> Claim:
    """The claim that every measured number is below its bound: measured < bound, not on equality. See `at_most`."""
    sides = _sides(measured, bound, uncertainty, where)
    return _judge(about, sides[1] - sides[0], sides, strict=True)


def close(
    about: About,
    measured: Numbers,
    expected: ArrayLike,
    *,
    tolerance: ArrayLike = 0.0,
    uncertainty: ArrayLike = 0.0,
    where: ArrayLike | bool = True,
) -> Claim:
    """The claim that every measured number lies within `tolerance` of what is expected. See `at_most`."""
    sides = _sides(measured, expected, uncertainty, where, both=True)
    return _judge(about, tolerance - np.abs(sides[0] - sides[1]), sides)


Values = Iterable[Any] | Callable[[Any], Iterable[Any]]
"""The values that a parameter of a statement takes, or a function that finds them in what was measured."""


class AbstractStatement(abc.ABC):
    """What is claimed of everything that a section measures, before it is measured."""

    @abc.abstractmethod
    def claims(self, seen: Any, cases: Sequence[str], of: Callable[[str], Any]) -> list[Claim]:
        """The claims that come of it.

        Args:
            seen: all that was measured.
            cases: those of the study.
            of: what was measured of a case; nothing, or something empty, where nothing was.
        """


@dataclasses.dataclass(frozen=True)
class Statement(AbstractStatement):
    """A statement that comes to one claim for every case and value of its parameters. Made by `claim`.

    Attributes:
        id: short name; it has every parameter in braces, and `{case}` where the statement is asked of every case.
        text: the statement in words, with the same parameters.
        source: where it is stated or proved, with the same parameters.
        judge: from an `About`, what was measured and those parameters that it names, the claim.
        cases: the cases that it is asked of; `None` for all that the study has.
        between: the cases that it compares, each given to `judge` in this order.
        families: those of which alone it speaks, each given to `judge` in this order.
        over: the values of each parameter.
    """

    id: str
    text: str
    source: str
    judge: Callable[..., Claim]
    cases: tuple[str, ...] | None = None
    between: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    over: Mapping[str, Values] = dataclasses.field(default_factory=dict)

    def given(self, **values: Any) -> "Statement":
        """The statement with parameters that have one value each."""
        return dataclasses.replace(self, over={name: (value,) for name, value in values.items()} | dict(self.over))

    def on(self, *families: str) -> "Statement":
        """The statement about the runs of some families alone: its function gets each of them in place of all.

        Where one of them has no run the claim is *not applicable*.
        """
        return dataclasses.replace(self, families=families)

    def claims(self, seen: Any, cases: Sequence[str], of: Callable[[str], Any]) -> list[Claim]:
        """One for all values of its parameters and every case that it is asked of."""
        values = [one(seen) if callable(one) else one for one in self.over.values()]
        return [
            self._claim(case, dict(zip(self.over, chosen, strict=True)), seen, of)
            for chosen in itertools.product(*values)
            for case in self._asked(cases)
        ]

    def _asked(self, cases: Sequence[str]) -> Sequence[str | None]:
        if self.cases is not None:
            return self.cases
        return cases if "{case}" in self.id else (None,)

    def _claim(self, case: str | None, values: dict[str, Any], seen: Any, of: Callable[[str], Any]) -> Claim:
        words = values | {"case": case}
        about = About(_Name().format(self.id, **words), self.text.format(**words), self.source.format(**words), case)
        parts = self._parts(case, seen, of)
        if missing := [words for words, part in parts.items() if not part]:
            return not_applicable(about, f"there is no run {' and '.join(missing)}")
        named = {name: value for name, value in values.items() if name in inspect.signature(self.judge).parameters}
        return self.judge(about, *(parts.values() or (seen,)), **named)

    def _parts(self, case: str | None, seen: Any, of: Callable[[str], Any]) -> dict[str, Any]:
        """What was measured of the cases and families that it speaks of, by these in words; of all, nothing."""
        wanted = self.between if case is None else (case,)
        found = {f"of {one}": of(one) for one in wanted}
        if not self.families:
            return found
        return {
            f"{words} in the family {family!r}".strip(): part.get(family) if part else None
            for words, part in (found or {"": seen}).items()
            for family in self.families
        }


class _Name(string.Formatter):
    """Words of a name in small letters, joined by hyphens."""

    def format_field(self, value: Any, format_spec: str) -> str:
        return re.sub(r"[^a-z0-9.+]+", "-", format(value, format_spec).lower()).strip("-")


def claim(
    id: str,
    text: str,
    source: str,
    *,
    cases: Sequence[str] | None = None,
    between: Sequence[str] = (),
    over: Mapping[str, Values] | None = None,
) -> Callable[[Callable[..., Claim]], Statement]:
    """Make a function that compares numbers into a statement, of which a section makes claims.

    With `{case}` in its name the function is called once a case of the study, `judge(about, runs)` with what was
    measured of that case; with `between` once, `judge(about, one, other)`; else once with everything. A case of which
    nothing was measured makes the claim *not applicable*.

    Args:
        id: short name, unique within a study; it names every parameter in braces.
        text: the statement in words, which may name them too.
        source: where it is stated or proved, likewise.
        cases: the cases that it is asked of, where these are not all of the study.
        between: cases that are compared with one another.
        over: further parameters, each with its values or a function that finds them in what was measured; the
            function under the decorator gets those that it names.

    Returns:
        A decorator.

    Raises:
        Mistake: if two claims would get one name, since a parameter is missing in it, or if both `cases` and
            `between` are given.
    """
    named = {name.split(".")[0].split("[")[0] for _, name, _, _ in string.Formatter().parse(id) if name}
    if missing := set(over or {}) - named:
        raise Mistake(f"the id of a claim must name every parameter, {id!r} lacks {', '.join(sorted(missing))}")
    if between and (cases is not None or "case" in named):
        raise Mistake(f"a claim is asked of each case or between some, {id!r} wants both")
    if cases is not None and len(cases) > 1 and "case" not in named:
        raise Mistake(f"the id of a claim on several cases must name the case, {id!r} lacks {{case}}")

    def stated(judge: Callable[..., Claim]) -> Statement:
        chosen = None if cases is None else tuple(cases)
        return Statement(id, text, source, judge, chosen, tuple(between), over=dict(over or {}))

    return stated

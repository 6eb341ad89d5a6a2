"""Studies: a question, the experiments that answer it, and what must be true of their runs."""

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from descentlab._describe import paths, replace_at, value_at
from descentlab.claims import AbstractStatement, Claim, Verdict
from descentlab.experiment import Experiment
from descentlab.given import Given
from descentlab.mistake import Mistake
from descentlab.probes import ZeroGradients
from descentlab.runs import Run, Runs, case_of, load
from descentlab.store import Store
from descentlab.sweep import Progress, Request, run
from descentlab.training import check_lanes

__all__ = [
    "Outcome",
    "Section",
    "Size",
    "Study",
    "cases",
    "conclude",
    "requests",
    "run_study",
    "untrained",
]


_T = TypeVar("_T")


class Size(enum.StrEnum):
    """How much is computed: `smoke` in tests, `quick` while a person waits, `paper` for the record."""

    SMOKE = "smoke"
    QUICK = "quick"
    PAPER = "paper"

    def pick(self, smoke: _T, quick: _T, paper: _T) -> _T:
        """That of three values which belongs to the size."""
        return {Size.SMOKE: smoke, Size.QUICK: quick, Size.PAPER: paper}[self]

    def seeds(self, smoke: int, quick: int, paper: int) -> tuple[int, ...]:
        """The seeds from 0, as many as belong to the size."""
        return tuple(range(self.pick(smoke, quick, paper)))


def untrained(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """The requests of a section whose claims need no run: none."""
    del bases, size
    return {}


@dataclasses.dataclass(frozen=True)
class Section:
    """One part of a study.

    Attributes:
        name: short, unique in the study.
        requests: from the study's base experiments (one a value of its axis) and the size, the wanted runs by family.
        claims: what must be true of them, statement by statement, or a function that makes the claims.
        figures: functions from runs to a plotly figure; the docstring's first line is the title, the rest the caption.
        derive: what takes long to compute from the runs and is computed once; claims and figures get it in their place.
    """

    name: str
    requests: Callable[[Sequence[Experiment], Size], dict[str, list[Request]]]
    claims: Sequence[AbstractStatement] | Callable[[Any], list[Claim]]
    figures: Sequence[Callable[[Any], Any]] = ()
    derive: Callable[[Runs, Size, Progress | None], Any] | None = None

    def seen(self, runs: Runs, size: Size, progress: Progress | None) -> Any:
        """What claims and figures get."""
        return runs if self.derive is None else self.derive(runs, size, progress)

    def judged(self, seen: Any, cases: Sequence[str], path: str) -> list[Claim]:
        """The claims on what was seen.

        What a section derives from its runs gives a case by its method `of`, or is a mapping by case.

        Args:
            seen: what claims get.
            cases: of the study.
            path: of the field whose value a case is.
        """
        if callable(self.claims):
            return self.claims(seen)

        def of(case: str) -> Any:
            if self.derive is None:
                return Runs(seen, path).of(case)
            return seen.get(case) if isinstance(seen, Mapping) else seen.of(case)

        return [claim for statement in self.claims for claim in statement.claims(seen, cases, of)]


@dataclasses.dataclass(frozen=True)
class Study:
    """A question and its sections.

    Attributes:
        name: as on the command line.
        title: one line.
        question: the text of the report.
        paper: where the question comes from.
        base: the experiment whose fields can be overridden.
        axis: path of the field that the study compares, such as `model.attention`, with the base experiment of each
            value. Overriding that field leaves the one base with the given value.
        sections: its parts.
        findings: functions of the outcome, each with a sentence on what was found and its numbers, or `None` where
            verdicts do not support it.
        figure: the one of its sections' figures that stands beside the findings; `None` for the first.
        overrides: new values of fields of the base experiments, by dotted path; a study of others is
            `dataclasses.replace(study, overrides={"model.heads": 2})`.
    """

    name: str
    title: str
    question: str
    paper: str
    base: Experiment
    axis: tuple[str, Sequence[Experiment]]
    sections: Sequence[Section]
    findings: Sequence[Callable[["Outcome"], str | None]] = ()
    figure: Callable[[Any], Any] | None = None
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a study came to.

    Attributes:
        study: the definition.
        size: what was computed.
        runs: by section what its claims were held against: its runs by family, or what it derives from them.
        claims: all claims, in the order of the sections.
        remarks: what must be known of how the runs ended, in sentences.
    """

    study: Study
    size: Size
    runs: Mapping[str, Any]
    claims: Sequence[Claim]
    remarks: Sequence[str] = ()

    @property
    def findings(self) -> list[str]:
        """What was found, in sentences; a finding without the verdicts that it needs is left out."""
        return [said for finding in self.study.findings if (said := finding(self)) is not None]

    def judged(self, verdict: Verdict, *ids: str) -> list[Claim]:
        """The claims of these names, in their order, if all of them are there and have the verdict; else none."""
        known = {claim.id: claim for claim in self.claims if claim.verdict == verdict}
        return [known[one] for one in ids] if all(one in known for one in ids) else []

    def as_data(self) -> dict[str, Any]:
        """Findings and claims as JSON-compatible data."""
        return {
            "study": self.study.name,
            "size": str(self.size),
            "findings": self.findings,
            "claims": [claim.as_data() for claim in self.claims],
        }


def cases(study: Study) -> list[str]:
    """The names of the values that the study's axis takes, in order.

    Raises:
        Mistake: if an override of the study is refused.
    """
    return list(dict.fromkeys(case_of(base, study.axis[0]) for base in bases(study)))


def bases(study: Study) -> list[Experiment]:
    """The base experiments after overrides: one a value of the study's axis, or one where the axis is overridden.

    Raises:
        Mistake: if an override names no field or its value is refused.
    """
    path, given = study.axis
    chosen = list(given)
    if path in study.overrides:
        value = study.overrides[path]
        same = [base for base in given if type(value_at(base, path)) is type(value)]
        chosen = [replace_at((same or [study.base])[0], path, value)]
    for other, value in study.overrides.items():
        if other != path:
            chosen = [replace_at(base, other, value) for base in chosen]
    return chosen


def requests(
    study: Study,
    size: Size,
    *,
    seeds: int | None = None,
    text: Given | None = None,
) -> dict[str, dict[str, list[Request]]]:
    """The wanted runs by section and family.

    Args:
        study: the definition.
        size: how much is computed.
        seeds: number of seeds of every experiment; `None` leaves it to the study.
        text: takes the place of the text of every experiment on windows of a text.

    Raises:
        Mistake: if an override is refused, the study sets that field itself in every experiment, or there is a
            text but no experiment on one, or the results of so many seeds do not fit into memory.
    """
    starts = bases(study)
    wanted = {section.name: section.requests(starts, size) for section in study.sections}
    every = [one for families in wanted.values() for family in families.values() for one in family]
    for path, value in study.overrides.items():
        if not any(_has(one.experiment, path, value) for one in every):
            raise Mistake(f"{study.name} sets {path} itself in every experiment; it cannot be overridden")
    if text is not None and not any("task.text" in paths(one.experiment) for one in every):
        raise Mistake(f"{study.name} has no experiment on windows of a text; leave out --text")
    if seeds is not None:
        check_lanes([one.experiment for one in every], seeds)
    chosen = None if seeds is None else tuple(range(seeds))
    return {
        section: {name: [_adapted(one, chosen, text) for one in family] for name, family in families.items()}
        for section, families in wanted.items()
    }


def _adapted(request: Request, seeds: tuple[int, ...] | None, text: Given | None) -> Request:
    """The request with other seeds, and another text where it has one."""
    experiment = request.experiment
    if text is not None and "task.text" in paths(experiment):
        experiment = replace_at(experiment, "task.text", text)
    return Request(experiment, request.seeds if seeds is None else seeds)


def _has(experiment: Experiment, path: str, value: Any) -> bool:
    try:
        return bool(value_at(experiment, path) == value)
    except Mistake:
        return False


def run_study(
    study: Study,
    size: Size,
    wanted: Mapping[str, dict[str, list[Request]]],
    store: Store,
    progress: Progress | None = None,
) -> Outcome:
    """Train what is not yet in the store, then hold the claims against it.

    Raises:
        Mistake: if an experiment does not fit together.
        StoreError: if the store cannot be written.
    """
    flat = [one for families in wanted.values() for family in families.values() for one in family]
    run(flat, store=store, progress=progress)
    return conclude(study, size, wanted, store, progress)


def conclude(
    study: Study,
    size: Size,
    wanted: Mapping[str, dict[str, list[Request]]],
    store: Store,
    progress: Progress | None = None,
) -> Outcome:
    """The claims of a study on what the store holds, without training.

    Raises:
        StoreError: if a run is missing.
    """

    def found(families: Mapping[str, Sequence[Request]]) -> Runs:
        kept = {name: [load(store, one.experiment, one.seeds) for one in some] for name, some in families.items()}
        return Runs(kept, study.axis[0])

    runs = {section: found(families) for section, families in wanted.items()}
    seen = {section.name: section.seen(runs[section.name], size, progress) for section in study.sections}
    every = [one for some in runs.values() for one in some.every]
    compared = cases(study)
    claims = [one for part in study.sections for one in part.judged(seen[part.name], compared, study.axis[0])]
    return Outcome(study, size, seen, claims, [*_unreached(every), *_frozen(every)])


def _unreached(runs: Sequence[Run]) -> list[str]:
    """How many of the lanes with a stopping rule never got there."""
    reached = [one.trajectory.reached for one in runs if one.experiment.until is not None]
    lanes, there = (sum(map(len, reached)), sum(int(one.sum()) for one in reached)) if reached else (0, 0)
    return [f"{lanes - there} of {lanes} lanes with a stopping rule never got there"] if lanes else []


def _frozen(runs: Sequence[Run]) -> list[str]:
    """Where gradients that are exactly zero hold parameters fast at the end, by block."""
    found: dict[str, list[float]] = {}
    for one in runs:
        for name, probe in one.experiment.probes.items():
            if isinstance(probe, ZeroGradients):
                last = one.trajectory.last(name)
                for at, block in enumerate(one.trajectory[name].entries("block")):
                    found.setdefault(str(block), []).extend(last[:, at])
    zero = {block: [number for number in numbers if number > 0] for block, numbers in found.items()}
    return [
        f"gradients of exactly 0 hold up to {max(numbers):.0f} entries of {block} at the end of {len(numbers)} of "
        f"{len(found[block])} lanes"
        for block, numbers in zero.items()
        if numbers
    ]

"""Where runs on one query coordinate end, held against the numbers that the specification prints."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from descentlab.claims import About, Claim, at_most, claim, close, not_applicable
from descentlab.estimate import Estimate
from descentlab.runs import Family, Run, Runs
from descentlab.statistics import printed
from descentlab.studies.song2024_query.coordinate import TARGET, label, landscape, reduced, requests
from descentlab.study import Section
from descentlab.theory.stationary import Kind

SOURCE = "docs/theory/query_block.md, section S-d"


@dataclasses.dataclass(frozen=True)
class Start:
    """A start with the numbers of the specification on its end, as printed there.

    Attributes:
        kernel: the label of its runs.
        side: the family of its runs.
        words: the kernel in a claim.
        tag: what the specification calls it.
        end: where all five queries end; the narrow kernel's right start ends in several places.
        stuck: the loss there, where it is not zero.
    """

    kernel: str
    side: str
    words: str
    tag: str
    end: Estimate | None
    stuck: Estimate | None = None


SPECIFIED = (
    Start("softmax", "left", "softmax", "S-d", printed("-0.9206"), printed("0.03744")),
    Start("softmax", "right", "softmax", "S-d", printed("0.6807")),
    Start("gaussian", "left", "Gaussian, c = 1/2", "S-d", printed("-1.5500")),
    Start("gaussian", "right", "Gaussian, c = 1/2", "S-d", printed("1.1065")),
    Start("narrow", "left", "Gaussian, c = 1", "G-b", printed("-1.213")),
    Start("narrow", "right", "Gaussian, c = 1", "G-b", None, printed("0.143")),
)
HESSIAN = printed("0.0203")

ID, WHERE = "s-d-{start.kernel}-{start.side}", "{start.tag}: {start.words}, {start.side} start:"


def _end(run: Run, quantity: str) -> float:
    """A number of the end state of the first seed."""
    return float(run.trajectory.last("end", quantity=quantity)[0])


def _of_start(judge: Callable[[About, Run, Start], Claim]) -> Callable[..., Claim]:
    """A function of all runs that judges the run from a start, and tells its end state."""

    def judged(about: About, runs: Runs, start: Start) -> Claim:
        about = dataclasses.replace(about, case="softmax" if start.kernel == "softmax" else "gaussian")
        chosen = [run for run in runs[start.side] if label(run) == start.kernel]
        if not chosen:
            return not_applicable(about, f"there is no run of {start.words}")
        gradient, smallest, error = (_end(chosen[0], one) for one in ("gradient", "smallest", "smallest_error"))
        about = about.noting(
            f"{Kind(int(_end(chosen[0], 'kind'))).sentence}; gradient {gradient:.2g}, smallest Hessian eigenvalue "
            f"{smallest:.6g} +- {error:.1g}."
        )
        return judge(about, chosen[0], start)

    return judged


def _over(*starts: Start) -> dict[str, Sequence[Start]]:
    return {"start": starts}


@claim(
    f"{ID}-end",
    f"{WHERE} all queries end at {{start.end.value:g}}",
    SOURCE,
    over=_over(*(start for start in SPECIFIED if start.end)),
)
@_of_start
def ends(about: About, run: Run, start: Start) -> Claim:
    """Whether the run ends at the place that is stated."""
    assert start.end
    return close(about, run.trajectory.final["query"][0].ravel(), start.end.value, tolerance=start.end.error)


STUCK = tuple(start for start in SPECIFIED if start.stuck)


@claim(
    f"{ID}-loss",
    f"{WHERE} the loss is zero, at most 1e-20",
    SOURCE,
    over=_over(*(start for start in SPECIFIED if not start.stuck)),
)
@_of_start
def arrives(about: About, run: Run, start: Start) -> Claim:
    """Whether the run arrives."""
    del start
    return at_most(about, _end(run, "loss"), 1e-20)


@claim(f"{ID}-loss", f"{WHERE} stuck at the loss {{start.stuck.value:g}}", SOURCE, over=_over(*STUCK))
@_of_start
def level(about: About, run: Run, start: Start) -> Claim:
    """Whether it is stuck at the loss that is stated."""
    assert start.stuck
    return close(about, _end(run, "loss"), start.stuck.value, tolerance=start.stuck.error)


@claim(f"{ID}-kind", f"{WHERE} the end state is a strict local minimum", SOURCE, over=_over(*STUCK))
@_of_start
def minimum(about: About, run: Run, start: Start) -> Claim:
    """Whether what it is stuck in is a strict minimum."""
    del start
    return close(about, _end(run, "kind"), float(Kind.MINIMUM))


@claim(f"{ID}-hessian", f"{WHERE} the Hessian there is 0.0203 times the identity", SOURCE, over=_over(SPECIFIED[0]))
@_of_start
def hessian(about: About, run: Run, start: Start) -> Claim:
    """Whether the Hessian there is the one that is stated."""
    del start
    value, half = HESSIAN
    return close(about, _end(run, "smallest"), value, tolerance=half, uncertainty=_end(run, "smallest_error"))


SOFTMAX = ("softmax",)
GRID = np.linspace(-3, 3, 60_001)


def _top(values: np.ndarray) -> int:
    """The place of the first local maximum."""
    inside = np.flatnonzero((values[1:-1] > values[:-2]) & (values[1:-1] > values[2:])) + 1
    return int(inside[0]) if inside.size else 0


@claim("s-d-shape", "S-d: Limits, maximum and crossing of F are those stated", SOURCE, cases=SOFTMAX)
def shape(about: About, runs: Family) -> Claim:
    """The function F of softmax: limits, local maximum and where it meets the target."""
    values = reduced(runs[0], GRID)[0]
    low, zero, high = reduced(runs[0], np.array([-200.0, 0.0, 200.0]))[0]
    crossing = float(GRID[np.flatnonzero(np.diff(np.sign(values - TARGET)))[-1]])
    numbers = {
        "F(-inf)": (low, *printed("0.5")),
        "F(0)": (zero, *printed("0.6")),
        "F(+inf)": (high, *printed("0.9")),
        "place of the maximum": (GRID[_top(values)], *printed("-0.921")),
        "F at the maximum": (values[_top(values)], *printed("0.6576")),
        "place where F = 0.78": (crossing, *printed("0.681")),
    }
    measured, expected, half = (np.array(column) for column in zip(*numbers.values(), strict=True))
    about = about.noting(", ".join(f"{key} {value:.5g}" for key, (value, _, _) in numbers.items()) + ".")
    return close(about, (measured - expected) / half, 0.0, tolerance=1.0 + 1e-9)


@claim("s-d-curvature", "S-d: The second derivative of F at its maximum is -0.1663", SOURCE, cases=SOFTMAX)
def bend(about: About, runs: Family) -> Claim:
    """The curvature of F of softmax at its maximum."""
    values, curvature = reduced(runs[0], GRID)
    steepest, rounding = printed("-0.1663")
    return close(about, curvature[_top(values)], steepest, tolerance=rounding)


section = Section(
    "one query coordinate",
    requests,
    (ends, arrives, level, minimum, hessian, shape.on("left"), bend.on("left")),
    (landscape,),
)

"""What is claimed of the search: which share of the starts ends in each class."""

import itertools

import numpy as np

from descentlab.claims import About, Claim, above, at_least, at_most, claim, close, not_applicable, of_seeds
from descentlab.estimate import Interval
from descentlab.runs import Family, Runs
from descentlab.statistics import share_difference, share_interval
from descentlab.studies.song2024_query.experiments import SCALE, SCALES, counted, kinds, temperature_of
from descentlab.theory.stationary import Kind

__all__ = ["STATEMENTS", "TABLE", "share"]

TABLE = {"softmax": (10, 9, 1, 0), "gaussian": (12, 11, 2, 0)}
"""Of 12 seeds, how many reached f < 1e-8 in 3,000 steps at each initial scale: specification, section 9.2."""

SPECIFIED = "specification, section 9.2"
SOURCE = "Song et al. 2024, softmax may end in suboptimal solutions; measured"
PAGE = "docs/theory/query_block.md"


def share(runs: Family, *some: Kind) -> Interval:
    """The share of lanes of some classes with its 95 % interval."""
    chosen = np.isin(kinds(runs), some)
    return share_interval(int(chosen.sum()), chosen.size)


def _gap(one: Interval, other: Interval) -> float:
    """How far two shares may lie apart where they are equal but for chance: the reach of their difference to zero."""
    return share_difference(one, other).towards(0.0)


def _plain(runs: Family) -> Family:
    """Those at temperature 1."""
    return Family((run for run in runs if temperature_of(run) == 1.0), runs.axis)


def _table(about: About, runs: Family) -> Claim:
    """The shares of starts that reach 1e-8, each within its 95 % interval of that in the table.

    The table does not say how values were drawn, so it is held against values of either sign and against positive ones.
    """
    losses = [_plain(runs).where(SCALE, scale).last("loss") for scale in SCALES]
    measured = [share_interval(int((some < 1e-8).sum()), some.size) for some in losses]
    expected = [share_interval(count, 12) for count in TABLE[str(about.case)]]
    said, tabled = (", ".join(f"{one.value:.2f}" for one in some) for some in (measured, expected))
    about = about.noting(f"Measured at scales 0.3, 1, 2, 4: {said}; in the table {tabled}.")
    gaps = np.asarray([_gap(*both) for both in zip(measured, expected, strict=True)])
    values, wanted = (np.asarray([one.value for one in some]) for some in (measured, expected))
    return of_seeds(close(about, values, wanted, tolerance=gaps), runs.seeds)


AS_TABLED = (
    "The shares of starts that reach f < 1e-8 are those of table 9.2, within the 95 % intervals of both, values "
)
tabled = claim("table-{case}", AS_TABLED + "of either sign", SPECIFIED, cases=tuple(TABLE))(_table)
tabled_positive = claim("table-{case}-positive", AS_TABLED + "positive", SPECIFIED, cases=tuple(TABLE))(_table)


def _large(runs: Family) -> Family:
    return _plain(runs).where(SCALE, SCALES[-1])


def _ends(runs: Family) -> str:
    return f"End states at scale {SCALES[-1]:g}: {counted(runs)}."


@claim("large-{case}", "From the largest initial scale at most a tenth of the starts reach zero loss", SPECIFIED)
def large(about: About, runs: Family) -> Claim:
    """What becomes of starts at the largest scale."""
    chosen = _large(runs)
    return at_most(about.noting(_ends(chosen)), share(chosen, Kind.ZERO), 0.1)


@claim("large-slow-{case}", "Most of the others are not stuck but still on their way after 3,000 steps", "measured")
def slow(about: About, runs: Family) -> Claim:
    """Why those that do not reach zero do not."""
    chosen = _large(runs)
    others = kinds(chosen)[kinds(chosen) != Kind.ZERO]
    moving = share_interval(int((others == Kind.NOT_CONVERGED).sum()), max(1, others.size))
    return above(about.noting(_ends(chosen)), moving, 0.5, where=bool(others.size))


@claim(
    "scaling-{case}",
    "Scale and temperature act through scale^2 / temperature: equal cells reach zero equally often, within 95 %",
    PAGE,
)
def scaling(about: About, runs: Family) -> Claim:
    """Cells whose scale^2 / temperature is equal are the same problem in other units."""
    cells = [(run.field(SCALE) ** 2 / temperature_of(run), share(Family([run]), Kind.ZERO)) for run in runs]
    pairs = [(one, other) for (a, one), (b, other) in itertools.combinations(cells, 2) if np.isclose(a, b)]
    if not pairs:
        return not_applicable(about, "temperature is not varied in this size")
    gaps, spread = (np.asarray([of(*pair) for pair in pairs]) for of in (lambda a, b: a.value - b.value, _gap))
    about = about.noting("Exact for gradient flow; the runs are line searches with a bounded number of steps.")
    return of_seeds(close(about, gaps, 0.0, tolerance=spread), runs.seeds)


def _gain(about: About, runs: Family, path: str) -> Claim:
    """Whether the last cell reaches zero loss more often than the first."""
    cells = runs.by(path)
    about = about.noting("; ".join(f"{value}: {counted(cell)}" for value, cell in cells.items()) + ".")
    first, *_, last = cells.values()
    return above(about, share_difference(share(last, Kind.ZERO), share(first, Kind.ZERO)), 0.0)


@claim("width-{case}", "With D = 24 more starts reach zero loss than with D = 6, below Nn = 12", SOURCE)
def width(about: About, runs: Family) -> Claim:
    """What width of the tokens does."""
    return _gain(about, runs, "task.dim")


@claim("heads-{case}", "With eight heads more starts reach zero loss than with one", SOURCE)
def heads(about: About, runs: Family) -> Claim:
    """What heads do."""
    return _gain(about, runs, "model.heads")


@claim(
    "softmax-finite",
    "With D >= Nn and head width d >= n - 1 no softmax run ends at a finite suboptimal stationary point",
    PAGE,
    cases=("softmax",),
)
def finite(about: About, runs: Runs) -> Claim:
    """Whether there is no finite trap where keys are in general position."""
    general = runs["grid"] + runs["positive values"] + runs["inside"] + runs["outside"]
    traps, unknown = np.isin(kinds(general), (Kind.MINIMUM, Kind.SADDLE)), kinds(general) == Kind.DEGENERATE
    return at_most(about.noting(f"{counted(general)}."), float(traps.sum()), 0.0, uncertainty=float(unknown.sum()))


@claim(
    "softmax-outside",
    "No softmax run reaches zero loss on targets outside the hull",
    PAGE,
    cases=("softmax",),
)
def outside(about: About, runs: Family) -> Claim:
    """Whether nothing outside the hull is reached."""
    return at_most(about.noting(f"{counted(runs)}."), share(runs, Kind.ZERO).value, 0.0)


def _lead(about: About, gaussian: Family, softmax: Family) -> tuple[About, Interval]:
    """How much more often the Gaussian kernel reaches zero loss."""
    about = about.noting(f"Gaussian: {counted(gaussian)}. Softmax: {counted(softmax)}.")
    return about, share_difference(share(gaussian, Kind.ZERO), share(softmax, Kind.ZERO))


def _small(runs: Family) -> Family:
    return Family(run for run in _plain(runs) if run.field(SCALE) <= 1)


BOTH = ("gaussian", "softmax")


@claim(
    "edge-positive",
    "At scales 0.3 and 1, values positive, the Gaussian kernel reaches zero loss at least as often",
    SOURCE,
    between=BOTH,
)
def edge_of_positive(about: About, gaussian: Family, softmax: Family) -> Claim:
    """Which kernel reaches zero loss more often where values are positive."""
    return at_least(*_lead(about, _small(gaussian), _small(softmax)), 0.0)


@claim(
    "edge",
    "At scales 0.3 and 1, inside the hull, the Gaussian kernel reaches zero loss at least as often",
    SOURCE,
    between=BOTH,
)
def edge(about: About, gaussian: Family, softmax: Family) -> Claim:
    """Which kernel reaches zero loss more often from the same starts at small scale."""
    return at_least(*_lead(about, _small(gaussian), _small(softmax)), 0.0)


@claim(
    "edge-outside",
    "On targets above the hull the Gaussian kernel reaches zero loss more often",
    SOURCE,
    between=BOTH,
)
def edge_outside(about: About, gaussian: Family, softmax: Family) -> Claim:
    """Which kernel reaches zero loss more often on targets above the hull."""
    return above(*_lead(about, gaussian, softmax), 0.0)


STATEMENTS = (
    *(one.on("grid") for one in (tabled, large, slow, scaling, edge)),
    *(one.on("positive values") for one in (tabled_positive, edge_of_positive)),
    *(one.on("outside") for one in (outside, edge_outside)),
    width.on("width"),
    heads.on("heads"),
    finite,
)

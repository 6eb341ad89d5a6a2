"""The query study in its smoke size: complete, and every claim fails when it is shown a wrong quantity."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go
import pytest

from descentlab.attention import ReLU, Softmax
from descentlab.claims import Claim
from descentlab.runs import Run, Runs, case_of
from descentlab.store import Store
from descentlab.studies.song2024_query import coordinate, gram, limits, obstructions, reduced, search, study
from descentlab.studies.song2024_query.experiments import SCALES, heated, temperature_of
from descentlab.studies.song2024_query.shares import TABLE
from descentlab.study import Section, Size, requests, run_study
from descentlab.sweep import Request
from descentlab.theory.stationary import Kind
from support.tampering import Edit, Fault, chain, done_in_a_step, each, edit, times

KERNELS = ("softmax", "gaussian")
GRAM, OBSTRUCTED, LIMITS, REDUCED, SEARCH = (part.section for part in (gram, obstructions, limits, reduced, search))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """One store for all test processes: what one has trained, the other reads."""
    base = tmp_path_factory.getbasetemp()
    store = Store((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "song2024_query")
    return run_study(study, Size.SMOKE, requests(study, Size.SMOKE), store)


def test_every_claim_says_something_and_has_a_verdict(outcome):
    for claim in outcome.claims:
        assert claim.text
        assert claim.source
        assert (claim.checked == 0) == (claim.verdict == "not applicable")
        assert claim.case in {None, *KERNELS}
    assert len({claim.id for claim in outcome.claims}) == len(outcome.claims)
    left_out = {claim.id for claim in outcome.claims if claim.verdict == "not applicable"}
    assert left_out == {
        *(f"{part}-{kernel}" for part in ("scaling", "width", "heads") for kernel in KERNELS),
        *(f"table-{kernel}-positive" for kernel in KERNELS),
        "edge-positive",
    }


def test_what_does_not_depend_on_the_size_holds(outcome):
    found = {claim.id: claim.verdict for claim in outcome.claims}
    for kernel in KERNELS:
        for part in ("query-gram", "query-bound", "query-positive", "query-pl"):
            assert found[f"{part}-{kernel}"] == "holds"
    for part in ("s-a-softmax", "s-b-softmax", "s-a-gaussian", "s-c-gaussian", "s-c-floor", "g-a-plateau", "g-c-bound"):
        assert found[part] == "holds"
    for part in ("softmax-left-end", "softmax-left-kind", "gaussian-right-end", "narrow-right-kind"):
        assert found[f"s-d-{part}"] == "holds"


def test_figures_have_traces_and_captions(outcome):
    figures = [(section, figure) for section in study.sections for figure in section.figures]
    for section, figure in figures:
        title, caption = (figure.__doc__ or "").split("\n", 1)
        assert title.strip()
        assert caption.strip()
        drawn = figure(outcome.runs[section.name] | ({"heads": of_heads(outcome)} if section is SEARCH else {}))
        assert isinstance(drawn, go.Figure)
        assert drawn.data


def test_another_kernel_gets_verdicts_where_something_is_known_of_it(tmp_path):
    """Nothing was derived for it, and whatever speaks of the Gaussian kernel is not applicable; PL is for all."""
    reduced_study = dataclasses.replace(study, sections=[GRAM, LIMITS], overrides={"model.attention": ReLU()})
    chosen = requests(reduced_study, Size.SMOKE, seeds=1)
    few = {s: {f: family[:1] for f, family in families.items()} for s, families in chosen.items()}
    claims = {one.id: str(one.verdict) for one in run_study(reduced_study, Size.SMOKE, few, Store(tmp_path)).claims}
    assert claims.pop("query-pl-relu") == "holds"
    assert set(claims.values()) == {"not applicable"}
    assert {f"query-{part}-relu" for part in ("gram", "bound", "positive", "rank", "rate")} <= claims.keys()


def test_the_reduced_function_is_the_one_of_the_specification(outcome):
    """F at a = 0 is the mean of the values, and its second derivative that of differences."""
    run = next(run for run in outcome.runs[REDUCED.name]["left"] if case_of(run.experiment) == "softmax")
    grid = np.array([-1e-3, 0.0, 1e-3])
    values, curvature = coordinate.reduced(run, grid)
    assert values[1] == pytest.approx(coordinate.VALUES.mean())
    assert curvature[1] == pytest.approx((values[0] - 2 * values[1] + values[2]) / 1e-6, rel=1e-4)


# Recorded runs, tampered with.


def judged(section: Section, runs: Runs) -> list[Claim]:
    return section.judged(runs, KERNELS, "model.attention")


def kind(one: Kind, *families: str) -> Edit:
    return edit("end", lambda values, _: 0 * values + one, *families, quantity="kind")


def last(value: Callable[[Run], float], *families: str) -> Edit:
    """Losses that end at so much, from whatever they started at."""

    def change(losses: np.ndarray, run: Run) -> np.ndarray:
        losses[:, -1] = value(run)
        return losses

    return edit("loss", change, *families)


def relative(factor: float, *families: str) -> Edit:
    """Losses that end at so much of the first."""

    def change(losses: np.ndarray, _: Run) -> np.ndarray:
        losses[:, -1] = factor * losses[:, 0]
        return losses

    return edit("loss", change, *families)


def one_lane(factor: float, *families: str) -> Edit:
    """As `relative`, for the last lane only."""

    def change(losses: np.ndarray, _: Run) -> np.ndarray:
        losses[-1, -1] = factor * losses[-1, 0]
        return losses

    return edit("loss", change, *families)


def many(runs: Runs) -> Runs:
    """Every lane of the certified family counted sixteen times: with more than 30, soundness is decided."""
    return runs | {"near": 16 * list(runs["near"])}


def lifted(run: Run) -> Run:
    largest = run.trajectory["gram"].sel(quantity="largest").values
    return edit("gram", lambda *_: largest, quantity="smallest")(Runs({"": [run]}))[""][0]


def ended(factor: float, *families: str) -> Edit:
    """Queries that end elsewhere."""

    def of(run: Run) -> Run:
        final = run.trajectory.final | {"query": factor * run.trajectory.final["query"]}
        return dataclasses.replace(run, trajectory=dataclasses.replace(run.trajectory, final=final))

    return each(of, *families)


def label(wanted: str, change: Edit) -> Edit:
    """An edit of the runs of one kernel of the reduced problem only."""
    return lambda runs: Runs(
        {
            family: [
                change(Runs({family: [run]}))[family][0] if coordinate.label(run) == wanted else run for run in one
            ]
            for family, one in runs.items()
        }
    )


def warmed(temperature: float) -> Edit:
    """Softmax at another temperature, at which F is stretched by it and its second derivative divided by its square."""

    def of(run: Run) -> Run:
        if case_of(run.experiment) != "softmax":
            return run
        return dataclasses.replace(run, experiment=run.experiment.changed({"model.attention": Softmax(temperature)}))

    return each(of)


def as_printed(runs: Runs) -> Runs:
    """The reduced problem with the digits of the specification in the place of what was measured."""
    hessian = edit("end", lambda values, _: 0 * values + 0.0203, "left", quantity="smallest")
    exact = edit("end", lambda values, _: 0 * values, "left", quantity="smallest_error")
    return chain(label("softmax", hessian), label("softmax", exact))(runs)


def scaled(factors: dict[float, float]) -> Edit:
    """Runs of the grid of which a share by initial scale reaches 1e-8, whatever they did."""

    def change(losses: np.ndarray, run: Run) -> np.ndarray:
        losses[:, -1] = 1.0
        count = round(factors[run.experiment.model.query.scale] * len(losses))
        losses[:count, -1] = 1e-9
        return losses

    return edit("loss", change, "grid", "positive values")


def crowd(times_over: int) -> Edit:
    """As many copies of every lane, so that intervals are narrow."""
    return each(lambda run: dataclasses.replace(run, trajectory=run.trajectory.lanes(np.repeat([0, 1], times_over))))


def kinds_by(rule: Callable[[Run], Kind], *families: str) -> Edit:
    return edit("end", lambda values, run: 0 * values + rule(run), *families, quantity="kind")


def of_heads(outcome) -> list[Run]:
    """Runs of the grid in the place of those with one and with eight heads, which the smoke size leaves out."""
    grid = outcome.runs[SEARCH.name]["grid"]
    return [
        dataclasses.replace(run, experiment=run.experiment.changed({"model.heads": h})) for run in grid for h in (1, 8)
    ]


def with_signs(runs: Runs) -> Runs:
    """Runs of the grid in the place of those on positive values."""
    return runs | {"positive values": runs["grid"]}


def with_room(runs: Runs) -> Runs:
    """Families over token width and heads, made of runs of the grid."""
    firsts = [runs["grid"].of(kernel)[0] for kernel in KERNELS]

    def over(path: str, values: tuple[int, ...]) -> list[Run]:
        return [
            dataclasses.replace(run, experiment=run.experiment.changed({path: v})) for run in firsts for v in values
        ]

    return runs | {"width": over("task.dim", (6, 24)), "heads": over("model.heads", (1, 8))}


def with_temperatures(runs: Runs) -> Runs:
    """The grid at three temperatures."""
    grid = [
        dataclasses.replace(run, experiment=heated(run.experiment, t)) for run in runs["grid"] for t in (0.25, 1.0, 4.0)
    ]
    return runs | {"grid": grid}


def more(path: str, few: int) -> Callable[[Run], Kind]:
    def rule(run: Run) -> Kind:
        asked = run.experiment
        value = asked.model.heads if path == "model.heads" else getattr(asked.task, "dim", None)
        return Kind.MINIMUM if value == few else Kind.ZERO

    return rule


def better(kernel: str) -> Callable[[Run], Kind]:
    return lambda run: Kind.ZERO if case_of(run.experiment) == kernel else Kind.DRIFTING


def tabled(counts: dict[str, tuple[int, ...]]) -> Edit:
    def of(run: Run) -> Run:
        shares = dict(zip(SCALES, np.asarray(counts[case_of(run.experiment)]) / 12, strict=True))
        return scaled(shares)(Runs({"grid": [run]}))["grid"][0]

    return each(of, "grid", "positive values")


FLOOR = obstructions.hull_floor
ALL_ZERO, ALL_STUCK, ALL_SLOW = kind(Kind.ZERO), kind(Kind.MINIMUM), kind(Kind.NOT_CONVERGED)
MANY = crowd(200)


def half_slow(values: np.ndarray, _: Run) -> np.ndarray:
    values[...] = Kind.NOT_CONVERGED
    values[: len(values) // 2] = Kind.MINIMUM
    return values


HALF_SLOW = edit("end", half_slow, quantity="kind")

FAULTS = {
    "a wrong entry of K": Fault("query-gram-{}", GRAM, times("query", 1e9, "shapes", quantity="mismatch")),
    "the bound too large": Fault("query-bound-{}", GRAM, times("query", 1e9, "shapes", quantity="bound")),
    "the bound lost": Fault("query-positive-{}", GRAM, times("query", 0.0, "shapes", quantity="bound")),
    "PL, lambda_min lifted": Fault("query-pl-{}", GRAM, each(lifted, "shapes")),
    "rank lost": Fault("query-rank-{}", GRAM, times("query", 0.2, "near", quantity="smallest"), many),
    "certified uphill": Fault("query-rate-{}", GRAM, relative(2.0, "near"), many),
    "sigma_0 too large": Fault("query-rate-{}", GRAM, done_in_a_step("query", "near"), many),
    "softmax moves, equal keys": Fault("s-a-softmax", OBSTRUCTED, one_lane(0.99, "equal keys")),
    "softmax moves, equal values": Fault("s-b-softmax", OBSTRUCTED, one_lane(0.99, "equal values")),
    "one start stays": Fault("s-a-gaussian", OBSTRUCTED, one_lane(1e-9, "equal keys")),
    "the Gaussian kernel stays": Fault("s-b-gaussian", OBSTRUCTED, one_lane(0.95, "equal values")),
    "one start outside the hull stays": Fault("s-c-gaussian", OBSTRUCTED, one_lane(1e-9, "below the hull")),
    "below the floor": Fault("s-c-floor", OBSTRUCTED, last(lambda run: 0.99 * FLOOR(run), "below the hull")),
    "a finite end outside the hull": Fault(
        "s-c-drift", OBSTRUCTED, kind(Kind.MINIMUM, "below the hull"), kind(Kind.DRIFTING, "below the hull")
    ),
    "the plateau left": Fault("g-a-plateau", LIMITS, relative(0.5, "far")),
    "a gradient on the plateau": Fault(
        "g-a-gradient", LIMITS, edit("gradient", lambda values, _: 0 * values + 1e-8, "far")
    ),
    "beyond the bound": Fault("g-c-bound", LIMITS, relative(1e-3, "beyond")),
    "no stall": Fault("g-d-long", LIMITS, relative(1e-12, "long step"), one_lane(0.08, "long step")),
    "a stall with a short step": Fault(
        "g-d-short", LIMITS, one_lane(1e-6, "short step"), relative(1e-12, "short step")
    ),
    "the minimum elsewhere": Fault("s-d-softmax-left-end", REDUCED, ended(1.001, "left")),
    "another loss": Fault("s-d-softmax-left-loss", REDUCED, times("end", 1.001, "left", quantity="loss")),
    "a saddle": Fault("s-d-softmax-left-kind", REDUCED, kind(Kind.SADDLE, "left")),
    "another Hessian": Fault(
        "s-d-softmax-left-hessian", REDUCED, times("end", 1.01, "left", quantity="smallest"), as_printed
    ),
    "zero elsewhere": Fault("s-d-softmax-right-end", REDUCED, ended(1.001, "right")),
    "not zero": Fault("s-d-softmax-right-loss", REDUCED, times("end", 1e15, "right", quantity="loss")),
    "Gaussian, zero elsewhere": Fault("s-d-gaussian-left-end", REDUCED, ended(1.001, "left")),
    "Gaussian, not zero": Fault("s-d-gaussian-left-loss", REDUCED, times("end", 1e15, "left", quantity="loss")),
    "Gaussian, right, zero elsewhere": Fault("s-d-gaussian-right-end", REDUCED, ended(1.001, "right")),
    "Gaussian, right, not zero": Fault(
        "s-d-gaussian-right-loss", REDUCED, times("end", 1e15, "right", quantity="loss")
    ),
    "narrow, zero elsewhere": Fault("s-d-narrow-left-end", REDUCED, ended(1.001, "left")),
    "narrow, not zero": Fault("s-d-narrow-left-loss", REDUCED, times("end", 1e15, "left", quantity="loss")),
    "narrow, another loss": Fault("s-d-narrow-right-loss", REDUCED, times("end", 1.01, "right", quantity="loss")),
    "narrow, a saddle": Fault("s-d-narrow-right-kind", REDUCED, kind(Kind.SADDLE, "right")),
    "another kernel": Fault("s-d-shape", REDUCED, warmed(2.0)),
    "another curvature": Fault("s-d-curvature", REDUCED, warmed(1.01), warmed((0.166426 / 0.1663) ** 0.5)),
    "none reaches 1e-8": Fault("table-{}", SEARCH, scaled(dict.fromkeys(SCALES, 0.0)), chain(MANY, tabled(TABLE))),
    "none reaches 1e-8, positive": Fault(
        "table-{}-positive",
        SEARCH,
        scaled(dict.fromkeys(SCALES, 0.0)),
        chain(with_signs, MANY, tabled(TABLE)),
    ),
    "softmax better, positive": Fault(
        "edge-positive", SEARCH, kinds_by(better("softmax")), chain(with_signs, MANY, kinds_by(better("gaussian")))
    ),
    "all reach zero from large scales": Fault("large-{}", SEARCH, ALL_ZERO, chain(MANY, ALL_STUCK)),
    "stuck rather than slow": Fault("large-slow-{}", SEARCH, ALL_STUCK, chain(MANY, ALL_SLOW)),
    "temperature counts": Fault(
        "scaling-{}",
        SEARCH,
        kinds_by(lambda run: Kind.ZERO if temperature_of(run) == 1 else Kind.MINIMUM),
        chain(with_temperatures, MANY, ALL_ZERO),
    ),
    "narrow tokens no worse": Fault(
        "width-{}", SEARCH, kinds_by(more("task.dim", 24)), chain(with_room, MANY, kinds_by(more("task.dim", 6)))
    ),
    "one head no worse": Fault(
        "heads-{}", SEARCH, kinds_by(more("model.heads", 8)), chain(with_room, MANY, kinds_by(more("model.heads", 1)))
    ),
    "a finite trap": Fault("softmax-finite", SEARCH, ALL_STUCK, kind(Kind.DRIFTING)),
    "outside reached": Fault("softmax-outside", SEARCH, ALL_ZERO, kind(Kind.DRIFTING)),
    "softmax better": Fault("edge", SEARCH, kinds_by(better("softmax")), chain(MANY, kinds_by(better("gaussian")))),
    "softmax better outside": Fault(
        "edge-outside", SEARCH, kinds_by(better("softmax")), chain(MANY, kinds_by(better("gaussian")))
    ),
}


def verdicts(fault: Fault, runs: Runs) -> dict:
    return {one.id: one.verdict for one in judged(fault.section, runs)}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_wrong_quantity_turns_the_verdict(outcome, fault):
    runs = outcome.runs[fault.section.name]
    sound = fault.right(runs)
    before, after = verdicts(fault, sound), verdicts(fault, fault.wrong(sound))
    for claim in {fault.claim.format(kernel) for kernel in KERNELS}:
        assert before[claim] == "holds"
        assert after[claim] == "fails"


EQUAL = {
    "query-positive-softmax": (GRAM, times("query", 0.0, "shapes", quantity="bound"), "fails"),
    "g-a-gradient": (LIMITS, edit("gradient", lambda values, _: 0 * values + 1e-10, "far"), "fails"),
    "large-slow-softmax": (SEARCH, chain(MANY, HALF_SLOW), "undecided"),
    "width-softmax": (SEARCH, chain(with_room, MANY, ALL_ZERO), "undecided"),
    "heads-gaussian": (SEARCH, chain(with_room, MANY, ALL_ZERO), "undecided"),
    "edge-outside": (SEARCH, chain(MANY, ALL_STUCK), "undecided"),
}
"""Strict claims, and runs in which the two sides are equal."""


@pytest.mark.parametrize("claim", EQUAL)
def test_equality_never_satisfies_a_strict_claim(outcome, claim):
    section, equal, verdict = EQUAL[claim]
    found = {one.id: one.verdict for one in judged(section, equal(outcome.runs[section.name]))}
    assert found[claim] == verdict


ALONE = {
    "s-a-gaussian": (OBSTRUCTED, relative(1e-12)),
    "s-b-gaussian": (OBSTRUCTED, relative(1e-12)),
    "s-c-drift": (OBSTRUCTED, kind(Kind.DRIFTING, "below the hull")),
    "g-d-short": (LIMITS, relative(1e-12, "short step")),
    "g-a-gradient": (LIMITS, edit("gradient", lambda values, _: 0 * values, "far")),
    "table-softmax": (SEARCH, tabled(TABLE)),
    "width-softmax": (SEARCH, chain(with_room, kinds_by(more("task.dim", 6)))),
    "edge": (SEARCH, kinds_by(better("gaussian"))),
}
"""Claims on a population of starts, and runs that follow them."""


@pytest.mark.parametrize("claim", ALONE)
def test_one_start_decides_nothing_about_others(outcome, claim):
    section, sound = ALONE[claim]
    runs = each(lambda run: dataclasses.replace(run, trajectory=run.trajectory.lanes(np.array([0]))))(
        sound(outcome.runs[section.name])
    )
    assert {one.id: one.verdict for one in judged(section, runs)}[claim] == "undecided"


@pytest.mark.parametrize(("lanes", "verdict"), [([0], "undecided"), ([0, 1], "fails")])
def test_one_seed_without_a_stall_leaves_open_whether_there_are_any(outcome, lanes, verdict):
    runs = relative(1e-12, "long step")(outcome.runs[LIMITS.name])
    some = each(lambda run: dataclasses.replace(run, trajectory=run.trajectory.lanes(np.array(lanes))))(runs)
    assert {one.id: one.verdict for one in judged(LIMITS, some)}["g-d-long"] == verdict


@pytest.mark.parametrize("size", Size)
def test_every_claim_of_every_size_has_a_fault(outcome, size):
    """Runs of the larger sizes are borrowed from the smoke size: here only the ids count."""

    def borrowed(section: str, request: Request) -> Run:
        kernel = case_of(request.experiment)
        known = [
            run for family in outcome.runs[section].values() for run in family if case_of(run.experiment) == kernel
        ]
        same = [run for run in known if set(run.trajectory.series) >= set(request.experiment.probes)]
        return Run(request.experiment, (same or known)[-1].trajectory)

    known = {fault.claim.format(kernel) for fault in FAULTS.values() for kernel in KERNELS}
    for section in study.sections:
        families = requests(study, size)[section.name]
        runs = Runs({f: [borrowed(section.name, one) for one in family] for f, family in families.items()})
        assert {one.id for one in judged(section, runs)} <= known

"""Three ways in which softmax cannot reach what the Gaussian kernel reaches: equal keys, equal values, the hull.

The fourth, a strict minimum at a finite place, is in `reduced.py`.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, at_least, at_most, claim, close, of_seeds
from descentlab.experiment import Experiment
from descentlab.plots.curves import ChartAxis, add_band, lines
from descentlab.plots.style import PALETTE
from descentlab.probes import Loss
from descentlab.runs import Family, Run, Runs, case_of
from descentlab.schedule import LogSpaced
from descentlab.studies.song2024_query.experiments import REACHED, by_hand, counted, ending, given_targets, kinds
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.theory.rounding import sum_rounding
from descentlab.theory.stationary import Kind

SAMPLES, TOKENS, WIDTH = 3, 4, 4
SOURCE = "docs/theory/query_block.md"


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Values between 0.2 and 1, and keys with standard Gaussian entries."""
    random = np.random.default_rng(seed)
    return random.uniform(0.2, 1.0, (SAMPLES, TOKENS)), random.normal(size=(SAMPLES, TOKENS, WIDTH))


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Random starts of the query block on three instances."""
    seeds, steps = size.seeds(2, 20, 50), size.pick(1_000, 3_000, 3_000)
    values, keys = drawn()
    equal = np.broadcast_to(values[:, :1], values.shape)
    total = np.broadcast_to(values.sum(axis=1, keepdims=True), values.shape)
    places = np.random.default_rng(1).uniform(0.2, 0.8, values.shape)
    low = np.broadcast_to(0.4 * values.min(axis=1, keepdims=True), values.shape)
    plain = {"steps": steps, "probes": {"loss": Loss(LogSpaced(20))}}

    def below(base: Experiment) -> Experiment:
        instance = by_hand(base, values, np.array(low), keys)
        return ending(instance, steps) if case_of(base) == "softmax" else instance.changed(plain)

    families = {
        "equal keys": [by_hand(one, values, places * total, np.zeros_like(keys)).changed(plain) for one in bases],
        "equal values": [by_hand(one, np.array(equal), 0.5 * equal, keys).changed(plain) for one in bases],
        "below the hull": [below(base) for base in bases],
    }
    return {family: [Request(one, seeds) for one in some] for family, some in families.items()}


def hull_floor(run: Run) -> float:
    """Half the mean over samples of squared distances of the targets from the values that softmax can average."""
    targets = given_targets(run)
    values = run.field("model.value.array.value")[0, :, 0].reshape(targets.shape)
    least, most = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    apart = np.maximum(0, np.maximum(least - targets, targets - most))
    return float(0.5 * np.sum(apart**2) / len(targets))


SOFTMAX, GAUSSIAN = ("softmax",), ("gaussian",)


@claim("{name}-softmax", "{name}: {what}: softmax stays at f_0 from every start, to rounding", SOURCE, cases=SOFTMAX)
def stays(about: About, runs: Family) -> Claim:
    """Whether softmax has no gradient."""
    about = about.noting(f"Median f_0 {np.median(runs.first('loss')):.4g}.")
    return close(about, runs.relative("loss"), 1.0, tolerance=sum_rounding(runs.trajectories))


@claim(
    "{name}-gaussian",
    "{name}: {what}: the Gaussian kernel reaches 1e-10 f_0 from every start",
    SOURCE,
    cases=GAUSSIAN,
)
def reaches(about: About, runs: Family) -> Claim:
    """Whether the Gaussian kernel reaches zero loss on the same instance."""
    return of_seeds(at_most(about, runs.relative("loss"), REACHED), runs.seeds)


@claim(
    "s-b-gaussian",
    "S-b: Equal values: the Gaussian kernel lowers the loss by at least a tenth from every start",
    SOURCE,
    cases=GAUSSIAN,
)
def moves(about: About, runs: Family) -> Claim:
    """Whether the Gaussian kernel has a gradient there."""
    relative = runs.relative("loss")
    about = about.noting(f"Largest last f / f_0 {relative.max():.2g}.")
    return of_seeds(at_most(about, relative, 0.9), runs.seeds)


@claim("s-c-floor", "S-c: Softmax never falls below the distance to its hull", SOURCE, cases=SOFTMAX)
def floor(about: About, runs: Family) -> Claim:
    """Whether outputs of softmax stay averages of values."""
    floors = np.asarray([hull_floor(run) for run in runs for _ in run.trajectory.seeds])
    last = runs.last("loss")
    about = about.noting(f"Median last loss {np.median(last):.4g}, floor {np.median(floors):.4g}.")
    return at_least(about, last, floors, slack=sum_rounding(runs.trajectories) * runs.first("loss"))


@claim("s-c-drift", "S-c: Every softmax run drifts to infinity and reaches no zero loss", SOURCE, cases=SOFTMAX)
def drifts(about: About, runs: Family) -> Claim:
    """Whether softmax finds no finite end outside its hull."""
    about = about.noting(f"End states: {counted(runs)}.")
    return of_seeds(close(about, kinds(runs) == Kind.DRIFTING, 1.0), runs.seeds)


def losses(runs: Runs) -> go.Figure:
    """Loss on the three instances.

    Median and 80 % band over random starts of the query block. With equal keys or equal values softmax has no gradient;
    with targets below its smallest value it creeps towards a floor above zero while its weights grow.
    """
    figure = lines("Loss", ChartAxis("step", "log"), ChartAxis("f / f_0", "log"))
    series = [(family, run) for family, some in runs.items() for run in some]
    for position, (family, run) in enumerate(series):
        loss, color = run.trajectory["loss"], PALETTE[position % len(PALETTE)]
        relative = np.maximum(loss.values / loss.values[:, :1], 1e-30)
        add_band(figure, loss.steps, relative, f"{family}: {case_of(run.experiment)}", color=color)
    return figure


KEYS, VALUES = {"name": "S-a", "what": "Equal keys"}, {"name": "S-b", "what": "Equal values"}
section = Section(
    "obstructions of softmax",
    requests,
    [
        stays.given(**KEYS).on("equal keys"),
        stays.given(**VALUES).on("equal values"),
        floor.on("below the hull"),
        drifts.on("below the hull"),
        reaches.given(**KEYS).on("equal keys"),
        moves.on("equal values"),
        reaches.given(name="S-c", what="Targets below the smallest value").on("below the hull"),
    ],
    (losses,),
)

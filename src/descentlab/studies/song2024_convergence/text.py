"""The same on windows of a text, where tokens repeat and are not in general position."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, at_most, claim, close, of_seeds
from descentlab.data import FullBatch
from descentlab.experiment import Experiment
from descentlab.optim import Armijo
from descentlab.plots.heatmaps import Categories, heat_map
from descentlab.probes import FeatureSpectrum, GramSpectrum, Loss, ModalSpectrum, PLRatio, StepSize, TokenRank
from descentlab.runs import Family, Runs
from descentlab.schedule import At, LogSpaced
from descentlab.studies.song2024_convergence.experiments import REACHED, SHAPE, floors, lowest
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.tasks import TextWindows
from descentlab.theory import pl, theorem_a
from descentlab.theory.theorem_c import TRAINED

SHAPES = ((1, 128), (2, 64), (4, 32))
"""Heads and token width with HD = 2 Nn at 8 windows of 8 bytes."""

SOURCE = "docs/theory/theorem_a.md"


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Value-only with and without positions, and joint training with the most heads."""
    seeds, shapes = size.seeds(2, 3, 10), size.pick(SHAPES[-1:], SHAPES, SHAPES)
    probes = {
        "loss": Loss(LogSpaced(20)),
        "step_size": StepSize(LogSpaced(20)),
        "modes": ModalSpectrum(),
        "features": FeatureSpectrum(At((0,))),
        "tokens": TokenRank(),
        "pl": PLRatio(LogSpaced(4)),
        "gram": GramSpectrum(LogSpaced(4)),
    }
    changes = {"data": FullBatch(8), "probes": probes, "steps": size.pick(100, 1000, 5000)}
    windows = {
        shape: [
            base.changed(changes | {"task": TextWindows(window=8, dim=shape[1]), "model.heads": shape[0]})
            for base in bases
        ]
        for shape in shapes
    }
    value = [one for some in windows.values() for one in some]
    kept = {name: probe for name, probe in probes.items() if name != "modes"}
    together = {"probes": kept, "trained": TRAINED, "optimizer": Armijo(), "steps": 2000}
    joint = size.pick([], windows[SHAPES[-1]], windows[SHAPES[-1]])
    return {
        "value": [Request(one, seeds) for one in value],
        "no positions": [Request(one.changed({"task.position_scale": 0.0}), seeds) for one in value],
        "joint": [Request(one.changed(together), seeds) for one in joint],
    }


def _count(runs: Family) -> np.ndarray:
    """Nn, by lane."""
    return runs.field("data.samples") * runs.field("task.window")


def _measured(runs: Family) -> np.ndarray:
    """The rank of B, by lane."""
    return runs.first("features", quantity="rank")


def _distinct(runs: Family) -> np.ndarray:
    """How many tokens of each window are distinct, summed, by lane."""
    return runs.first("tokens", quantity="distinct")


def _bound(runs: Family) -> np.ndarray:
    """What the rank of B is at most, from the rank of the tokens, by lane."""
    heads = runs.field("model.heads")
    rank, with_ones = (runs.first("tokens", quantity=one) for one in ("rank", "rank_with_ones"))
    sums_to_one = np.asarray([kernel.facts.rows_sum_to_one for kernel in runs.field("model.attention")])
    return np.minimum(_distinct(runs), heads * rank - (heads - 1) * (sums_to_one & (with_ones == rank)))


def _said(runs: Family) -> str:
    """Rank of the tokens, bound and measured rank by number of heads, in words."""
    parts = []
    for heads, some in runs.by("model.heads").items():
        numbers = (some.first("tokens", quantity="rank"), _bound(some), _measured(some))
        rank, bound, measured = (f"{int(values.min())}-{int(values.max())}" for values in numbers)
        parts.append(f"H={heads}: r={rank}, bound {bound}, measured {measured}.")
    return " ".join(parts)


@claim("text-threshold-{case}", "On text, HD = 2 Nn gives B full row rank", "Song et al. 2024")
def threshold(about: About, runs: Family) -> Claim:
    """Whether width is all that the rank needs."""
    return close(about.noting(_said(runs)), _measured(runs), _count(runs))


@claim(
    "text-rank-{case}",
    "On text, rank(B) obeys the bound from the rank of the tokens",
    SOURCE,
)
def rank(about: About, runs: Family) -> Claim:
    """What repeated tokens leave of the rank."""
    return at_most(about.noting(_said(runs)), _measured(runs), _bound(runs))


@claim(
    "text-floor-{case}",
    "On text, zero loss is within the value block's reach exactly when rank(B) = Nn",
    "Theorem A",
)
def floor(about: About, runs: Family) -> Claim:
    """Whether the least-squares floor is zero where the rank is full."""
    relative = floors(runs)
    about = about.noting(f"Relative floors from {relative.min():.3g} to {relative.max():.3g}.")
    return close(about, relative <= 1e-20, _measured(runs) == _count(runs))


@claim(
    "text-duplicates-{case}",
    "Without positions, rank(B) is at most the number of distinct bytes of each window, summed",
    SOURCE,
)
def duplicates(about: About, runs: Family) -> Claim:
    """What equal bytes leave of the rank where nothing tells them apart."""
    return at_most(about.noting(_said(runs)), _measured(runs), np.minimum(_distinct(runs), _count(runs)))


@claim(
    "text-rate-{case}",
    "On text, value-only loss never lags (1 - eta mu)^(2t) f_0",
    "Theorem A",
)
def bound(about: About, runs: Family) -> Claim:
    """The linear rate, where zero loss can be reached."""
    full = [some for some in runs.by(*SHAPE).values() if np.all(_measured(some) == _count(some))]
    return theorem_a.rate(about, [run.trajectory for some in full for run in some])


@claim(
    "text-modes-{case}",
    "On text, the loss is the sum over modes of K to a relative 1e-8, or what rounding of its steps can add up to",
    "Theorem A",
)
def modes(about: About, runs: Family) -> Claim:
    """The exact formula."""
    return theorem_a.modal_formula(about, runs.trajectories)


@claim("pl-text-{case}", "On text, the gradient obeys PL with lambda_min(K_t)", "docs/theory/pl.md")
def gradient(about: About, runs: Runs) -> Claim:
    """The PL inequality."""
    return pl.pl_inequality(about, (runs["value"] + runs["joint"]).trajectories)


@claim(
    "text-joint-{case}",
    "On text, joint training with four heads reaches 1e-10 f_0 within 2,000 steps",
    "Song et al. 2024",
)
def joint(about: About, runs: Family) -> Claim:
    """Whether query, key and value succeed together."""
    return of_seeds(at_most(about, lowest(runs), REACHED), runs.seeds)


def rank_map(runs: Runs) -> go.Figure:
    """Rank of the features on text, as a share of the number of targets.

    HD = 2 Nn throughout: more heads of smaller width reach full rank, one wide head does not, since rank(B) is at
    most H times the rank of the tokens. Without positions, equal bytes of a window are equal rows. Lowest over seeds.
    """
    families = {"value": "positions", "no positions": "no positions"}
    shapes = list(runs["value"].by(*SHAPE))
    rows = {
        f"{kernel}, {words}": [float(np.min(_measured(one) / _count(one))) for one in some.by(*SHAPE).values()]
        for kernel in runs.cases
        for family, words in families.items()
        for some in (runs[family].of(kernel),)
    }
    x = Categories("heads and width", [f"H = {heads}, D = {dim}" for heads, dim in shapes])
    y = Categories("kernel", list(rows))
    return heat_map("rank(B) / Nn", x, y, np.asarray([*rows.values()]), label="rank(B) / Nn", scale="linear")


OF_VALUE = (threshold, rank, floor, bound, modes)
section = Section(
    "text",
    requests,
    [*(one.on("value") for one in OF_VALUE), duplicates.on("no positions"), gradient, joint.on("joint")],
    (rank_map,),
)

"""A trained classifier with fewer bits, in integers only, and with fewer weights."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, above, at_least, at_most, claim, of_seeds
from descentlab.cost.pruning import CRITERIA
from descentlab.experiment import Experiment
from descentlab.plots import ChartAxis, add_line, lines
from descentlab.plots.style import PALETTE
from descentlab.runs import Runs, case_of
from descentlab.statistics import paired_interval, share_interval
from descentlab.studies.kim2023_inference import classifiers
from descentlab.studies.kim2023_inference.classifiers import MeasuredClassifier
from descentlab.study import Section, Size
from descentlab.sweep import Progress, Request

SEEDS = {Size.SMOKE: 1, Size.QUICK: 2, Size.PAPER: 5}
POINT = 0.01
OURS = "ours, after Kim et al. (2023), section 4"

Lanes = Sequence[MeasuredClassifier]


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """The classifier with either kernel; in the smoke size it has no time to learn."""
    wanted = [base.changed({"steps": min(base.steps, 20)}) if size == Size.SMOKE else base for base in bases]
    return {"classifier": [Request(base, tuple(range(SEEDS[size]))) for base in wanted]}


def derive(runs: Runs, size: Size, progress: Progress | None) -> Mapping[str, Lanes]:
    """Every classifier after each change, by kernel."""
    del size, progress
    return {
        case_of(run.experiment): [classifiers.measured(one) for one in classifiers.trained(run)]
        for run in runs["classifier"]
    }


@claim("learned-{case}", "The classifier is right on at least 95 % of the test", OURS)
def learned(about: About, lanes: Lanes) -> Claim:
    """Whether there is something to lose."""
    shares = [share_interval(int(one.plain.sum()), one.plain.size) for one in lanes]
    return of_seeds(at_least(about, shares, 0.95), len(lanes))


@claim("int8-{case}", "8-bit weights cost at most one point of accuracy", OURS)
def int8(about: About, lanes: Lanes) -> Claim:
    """What rounding loses."""
    return _loses_a_point(about, [lost(one.plain, one.rounded) for one in lanes])


@claim("integer-{case}", "Arithmetic in integers only costs at most one point of accuracy", OURS)
def whole(about: About, lanes: Lanes) -> Claim:
    """What integers lose."""
    return _loses_a_point(about, [lost(one.plain, one.integer) for one in lanes])


def _loses_a_point(about: About, losses: Sequence[tuple[float, float]]) -> Claim:
    values, errors = np.array(losses).T
    return of_seeds(at_most(about, values, POINT, uncertainty=errors), len(values))


def lost(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Accuracy lost, and twice its standard error from the examples on which the two differ; at least one example."""
    changed = before.astype(float) - after
    return float(changed.mean()), max(2 * float(changed.std() / np.sqrt(changed.size)), 1 / changed.size)


@claim(
    "structure-{case}",
    "Single weights can go to a higher share than whole heads at a loss of one point",
    OURS,
)
def structure(about: About, lanes: Lanes) -> Claim:
    """Single weights against heads."""
    tried, count = np.array(classifiers.SPARSITIES), len(lanes[0].headless)
    single = np.array([_free(one.plain, one.pruned["second order"], tried) for one in lanes])
    grouped = np.array([_free(one.plain, one.headless, np.arange(count) / count) for one in lanes])
    faster = [1 - one.latency[round(share * count)] for one, share in zip(lanes, grouped, strict=True)]
    about = about.noting(
        f"Weights {_percents(single)}, heads {_percents(grouped)}. Heads lower the modelled latency by "
        f"{_percents(np.array(faster))}; single zeros do not, as the array is dense."
    )
    # The true share of single weights lies between the one that was tried and the next.
    gap = np.where(single > grouped, 0.0, np.append(tried, 1.0)[np.searchsorted(tried, single) + 1] - single)
    return of_seeds(above(about, single, grouped, uncertainty=gap), len(lanes))


@claim(
    "criteria-{case}",
    "At 70 % sparsity the second-order criterion keeps at least the accuracy of magnitude, in the mean over seeds",
    OURS,
)
def criteria(about: About, lanes: Lanes) -> Claim:
    """Second order against magnitude."""
    at = classifiers.SPARSITIES.index(0.7)
    kept = {name: np.array([one.pruned[name][at].mean() for one in lanes]) for name in CRITERIA}
    about = about.noting("; ".join(f"{name} {_percents(parts)}" for name, parts in kept.items()) + ".")
    # Seeds paired: which criterion wins turns from one trained classifier to the next.
    gain = paired_interval(kept["second order"], kept["magnitude"], 1 / lanes[0].plain.size)
    return at_least(about, gain, 0.0)


def _free(before: np.ndarray, after: np.ndarray, shares: np.ndarray) -> float:
    """The largest share up to which every pruned model loses at most a point."""
    good = [before.mean() - right.mean() <= POINT for right in after]
    return float(shares[good.index(False) - 1 if False in good else -1])


def _percents(parts: np.ndarray) -> str:
    return ", ".join(f"{100 * part:.0f} %" for part in parts)


def sparsity(found: Mapping[str, Lanes]) -> go.Figure:
    """Accuracy against the share of weights that are removed.

    The softmax classifier of the first seed, not trained again after pruning. Whole heads go by the second-order score.
    """
    one = next(iter(found.values()))[0]
    chart = lines("", ChartAxis("share of weights or heads removed"), ChartAxis("accuracy on the test"))
    for at, name in enumerate(CRITERIA):
        heights = one.pruned[name].mean(axis=1)
        add_line(chart, np.array(classifiers.SPARSITIES), heights, name, color=PALETTE[at], dash="solid")
    heads = one.headless.mean(axis=1)
    return add_line(chart, np.arange(len(heads)) / len(heads), heads, "whole heads", color=PALETTE[3])


STATEMENTS = (learned, int8, whole, structure, criteria)

section = Section("compressed", requests, STATEMENTS, (sparsity,), derive)

"""Layers of linear attention, and linear networks, whose powers are exact: statements of the section on depth."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from descentlab.claims import About, Claim, claim, close
from descentlab.runs import Family, Run
from descentlab.statistics import mean_interval
from descentlab.studies.ormaniec2024_hessian.recorded import (
    FILES,
    PAPER,
    PUBLISHED,
    SCALES,
    arrays_of,
    beside,
    norms,
    places,
    scales,
    slope,
    within,
)

NETWORK = "linear network"

Found = Mapping[str, Family]
"""Runs by kernel; those of linear networks under the name of their family."""


def layers_of(depth: int) -> str:
    """So many layers, in words."""
    return f"{depth} layer{'s' * (depth > 1)}"


class Layers(NamedTuple):
    """So many layers of linear attention, in words, and their power."""

    number: int
    words: str
    power: float


def _depths(found: Found) -> Iterable[Layers]:
    depths = [run.field("model.depth") for run in found["linear"]]
    return [Layers(depth, layers_of(depth), 2.0 * 3**depth) for depth in depths]


def _linear(runs: Family, layers: int) -> Run:
    return runs.where("model.depth", layers)[0]


@claim(
    "linear-outer-{layers.number}",
    "With {layers.words} of linear attention H_o of value and query blocks has the power {layers.power:g}, to 2 %",
    f"{PAPER}, figure 7",
    cases=("linear",),
    over={"layers": _depths},
)
def linear_outer(about: About, runs: Family, layers: Layers) -> Claim:
    """Linear attention without the residual around it: powers are exact."""
    run = _linear(runs, layers.number)
    arrays = [array for block in ("value", "query") for array in arrays_of(run, block)]
    slopes = [slope(run, "outer", array, scales(run) > 0) for array in arrays]
    return close(about, slopes, layers.power, tolerance=0.02 * layers.power)


@claim(
    "linear-functional-{layers.number}",
    "With {layers.words} of linear attention H_f of the last layer's value and query blocks is exactly zero",
    f"{PAPER}, figure 7",
    cases=("linear",),
    over={"layers": _depths},
)
def linear_functional(about: About, runs: Family, layers: Layers) -> Claim:
    """What the last layer does not bend."""
    run = _linear(runs, layers.number)
    found = [norms(run, "functional", arrays_of(run, block)[-1]) for block in ("value", "query")]
    return close(about, np.concatenate(found), 0.0)


@claim(
    "linear-first-2",
    "With 2 layers of linear attention H of the first layer grows with the power 9 while the outputs are small, within "
    "2 %: H_f, the residual times half as many factors, is most of it",
    FILES,
    cases=("linear",),
)
def linear_first(about: About, runs: Family) -> Claim:
    """Where the residual rules."""
    run = _linear(runs, 2)
    found = [slope(run, "hessian", arrays_of(run, block)[0], scales(run) < 0.2) for block in ("value", "query")]
    slopes = " and ".join(f"{one.value:.4g}" for one in found)
    return close(about.noting(f"Scales below 0.2; slopes {slopes} of value and query."), found, 9.0, tolerance=0.18)


@claim(
    "network-slope",
    "In a deep linear network H of every layer grows with the power 2, within 0.05",
    f"{PAPER}, figure 8",
)
def network_slope(about: About, found: Found) -> Claim:
    """A network without attention has one power, whatever the depth."""
    slopes = [
        slope(run, "hessian", array, scales(run) > 0) for run in found[NETWORK] for array in arrays_of(run, "weight")
    ]
    return close(about, slopes, 2.0, tolerance=0.05)


@claim(
    "network-values",
    f"Its norms at scale {SCALES[2]:.3g} are the published ones within a factor 1.5 for every depth",
    FILES,
)
def network_values(about: About, found: Found) -> Claim:
    """The norms of a linear network."""
    means, runs = [], found[NETWORK]
    for run in runs:
        layers = [norms(run, "hessian", array)[:, places(run)[2]] for array in arrays_of(run, "weight")]
        # The published squares are summed: 2 N times the loss.
        means.append(mean_interval(np.mean([2 * run.field("data.samples") * one for one in layers], axis=0)))
    published = PUBLISHED.of(table="linear network").values[[run.field("model.depth") - 1 for run in runs]]
    about = about.noting(
        f"Mean over layers by depth, measured (published): {beside(means, published, '.3g')}. Logarithms of ratios are "
        "compared."
    )
    return within(about, means, published, 1.5, runs[0])


STATEMENTS = (linear_outer, linear_functional, linear_first, network_slope, network_values)

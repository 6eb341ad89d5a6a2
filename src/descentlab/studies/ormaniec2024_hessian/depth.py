"""How the norms grow with the scale of the embeddings in deeper models, and what they are without softmax."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab._describe import value_at
from descentlab.attention import Linear
from descentlab.claims import About, Claim, Statement, claim, close
from descentlab.experiment import Experiment
from descentlab.models import FanIn, LinearNetwork
from descentlab.probes import Growth
from descentlab.runs import Family, Run, Runs
from descentlab.studies.ormaniec2024_hessian import linear
from descentlab.studies.ormaniec2024_hessian.charts import growth_chart
from descentlab.studies.ormaniec2024_hessian.growth import grid
from descentlab.studies.ormaniec2024_hessian.linear import NETWORK, Found, layers_of
from descentlab.studies.ormaniec2024_hessian.recorded import (
    PAGE,
    PAPER,
    LeadingPower,
    arrays_of,
    norms,
    slope,
    small,
)
from descentlab.studies.ormaniec2024_hessian.setting import WIDTH, sized
from descentlab.study import Section, Size
from descentlab.sweep import Progress, Request
from descentlab.tasks import SamePlaces

DEEP, LINEAR = "deep", "linear attention"

POWERS = {
    kernel: (
        LeadingPower("value", "outer", 2.0),
        # Outputs are linear in the value block of the last layer; in the others it moves the scores of later layers.
        LeadingPower("value", "functional", 3.0),
        LeadingPower("query", "outer", 6.0),
        LeadingPower("query", "functional", bent),
    )
    for kernel, bent in (("softmax", 5.0), ("gaussian", 3.0))
}
"""Leading powers of the scale in every layer; H_f of the last layer's value block is zero."""


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Each kernel in several layers; linear attention and linear networks, which have no kernel of the base's."""
    smoke, paper = size == Size.SMOKE, size == Size.PAPER
    seeds, draws = tuple(range(2 if smoke else 20 if paper else 8)), 5 if paper else 2
    probes = {"growth": Growth(scales=grid(size), draws=draws)}
    # Powers of linear attention are exact, and three layers take the 54th.
    short = {"growth": Growth(scales=tuple((10 ** np.linspace(-1, 0, 20 if paper else 5)).tolist()), draws=draws)}
    thin = sized(WIDTH if paper else 8 if smoke else 32)
    copied = bases[0].changed({"task.answer": SamePlaces(), "probes": probes})
    scores = copied.changed({"model.attention": Linear(), "model.skip": 0.0, "probes": short} | thin)
    depths = {
        DEEP: (2,) if smoke else (2, 3, 4, 5) if paper else (3,),
        LINEAR: (2,) if smoke else (1, 2, 3),
        NETWORK: (2,) if smoke else (1, 2, 3, 4, 5) if paper else (1, 3, 5),
    }
    deep = [base.changed({"probes": probes} | thin) for base in (bases[:1] if smoke else bases)]
    return {
        DEEP: [Request(one.changed({"model.depth": depth}), seeds) for one in deep for depth in depths[DEEP]],
        LINEAR: [Request(scores.changed({"model.depth": depth}), seeds[:3]) for depth in depths[LINEAR]],
        NETWORK: [Request(_network(copied, depth), seeds) for depth in depths[NETWORK]],
    }


def _network(base: Experiment, depth: int) -> Experiment:
    """A linear network on the same task. Its start has the variance of PyTorch's, 1 / (3 fan-in), but is normal."""
    fields = ("model.readout.outputs", "model.vocabulary", "model.readout.places")
    model = LinearNetwork(depth, WIDTH, *(value_at(base, path) for path in fields), start=FanIn(3**-0.5))
    return base.changed({"model": model, "trained": ("weight",)})


def derive(runs: Runs, size: Size, progress: Progress | None) -> Found:
    """The runs by what is compared."""
    del size, progress
    return runs[DEEP].by_case() | {"linear": runs[LINEAR], NETWORK: runs[NETWORK]}


@claim("deep-last-{case}", "H_f of the last layer's value block is exactly zero", f"{PAPER}, figure 6")
def last(about: About, runs: Family) -> Claim:
    """Whether one part vanishes."""
    found = [norms(run, "functional", arrays_of(run, "value")[-1]).ravel() for run in runs]
    return close(about, np.concatenate(found), 0.0)


def _grow(id: str, kernel: str, powers: Sequence[LeadingPower], source: str) -> Statement:
    """The powers of some norms in all layers."""
    wanted = ", ".join(f"{power.words} {power.exponent:g}" for power in powers)
    text = f"Below a scale of 0.1 norms of every layer grow with these powers, within 0.1: {wanted}"

    @claim(id, text, source, cases=(kernel,))
    def grow(about: About, runs: Family) -> Claim:
        measured, expected, said = [], [], []
        for block, part, exponent in powers:
            for run in runs:
                arrays = arrays_of(run, block)[: -1 if (block, part) == ("value", "functional") else None]
                found = [slope(run, part, array, small(run)) for array in arrays]
                measured, expected = [*measured, *found], [*expected, *[exponent] * len(found)]
                slopes = ", ".join(f"{one.value:.3g}" for one in found)
                said.append(
                    f"{LeadingPower(block, part, exponent).words}, {layers_of(run.field('model.depth'))}: {slopes}"
                )
        return close(about.noting(f"{'; '.join(said)}."), measured, np.asarray(expected), tolerance=0.1)

    return grow


DEEPER = (
    *(
        _grow(f"deep-{power.block}-{power.part}-{{case}}", "softmax", [power], f"{PAPER}, figure 6")
        for power in POWERS["softmax"]
    ),
    _grow("deep-{case}", "gaussian", POWERS["gaussian"], PAGE),
)


def _deepest(runs: Sequence[Run]) -> go.Figure:
    if not runs:
        return go.Figure()
    run = max(runs, key=lambda run: run.field("model.depth"))
    arrays = [array for block in ("value", "query", "weight") for array in arrays_of(run, block)]
    return growth_chart("Norms", run, arrays)


def softmax(found: Found) -> go.Figure:
    """Norms by layer: softmax, the deepest model.

    Mean over seeds with its standard error; layers are counted from 0. Powers at small scales are those of one layer.
    """
    return _deepest(found.get("softmax", ()))


def gaussian(found: Found) -> go.Figure:
    """Norms by layer: Gaussian kernel, the deepest model.

    Rows of attention sum to the number of keys nearby, so that every layer enlarges its inputs: leading powers rule
    only below a scale that shrinks with depth.
    """
    return _deepest(found.get("gaussian", ()))


def linear_attention(found: Found) -> go.Figure:
    """Norms by layer: linear attention without the residual around it, the deepest model.

    Least squares. H_o grows with the power 2 * 3^n of n layers.
    """
    return _deepest(found["linear"])


def linear_network(found: Found) -> go.Figure:
    """Norms by layer: the deepest linear network.

    Least squares. All layers have one power, 2, whatever the depth.
    """
    return _deepest(found[NETWORK])


STATEMENTS = (last, *DEEPER, *linear.STATEMENTS)

section = Section("depth", requests, STATEMENTS, (softmax, gaussian, linear_attention, linear_network), derive)

"""Training query, key and value together with the output block fixed, by an Armijo line search."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, at_least, at_most, claim, of_seeds
from descentlab.experiment import Experiment
from descentlab.optim import Armijo
from descentlab.plots.curves import ChartAxis, add_band, lines
from descentlab.plots.style import case_color
from descentlab.probes import AttentionShape, Distance, FeatureSpectrum, GramSpectrum, Loss, PLRatio, StepSize
from descentlab.runs import Family, Runs, case_of
from descentlab.schedule import AbstractSchedule, Every, LogSpaced
from descentlab.studies.song2024_convergence.experiments import REACHED, lowest, with_shape
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.theory import pl
from descentlab.theory.theorem_c import TRAINED


def jointly(experiment: Experiment, steps: int, gram: AbstractSchedule) -> Experiment:
    """The experiment with query, key and value trained by line search, its Gram matrix recorded on a schedule."""
    probes = {
        "loss": Loss(Every(1)),
        "step_size": StepSize(Every(1)),
        "pl": PLRatio(Every(1)),
        "gram": GramSpectrum(gram),
        "features": FeatureSpectrum(LogSpaced(10)),
        "distance": Distance(LogSpaced(10)),
        "attention": AttentionShape(LogSpaced(10)),
    }
    return experiment.changed({"probes": probes, "trained": TRAINED, "optimizer": Armijo(), "steps": steps})


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Two heads (and four on paper) with HD = 2 Nn, and one head with the same HD."""
    steps, few, many = size.pick(100, 2000, 2000), size.seeds(2, 10, 50), size.seeds(0, 20, 50)
    shapes = size.pick(((2, 20),), ((2, 20),), ((2, 20), (4, 10), (4, 20)))
    every, spaced = ([jointly(base, steps, gram) for base in bases] for gram in (Every(1), LogSpaced(10)))
    return {
        "heads": [Request(with_shape(one, *shape), few) for one in every for shape in shapes],
        "one head": [Request(with_shape(one, 1, 40), many) for one in spaced if many],
    }


def _arrival(runs: Family) -> str:
    """In words: when the lanes first reached the wanted loss, and how small sigma_min(B) became on the way."""
    first, shrink = [], []
    for run in runs:
        losses = run.trajectory["loss"].values
        below = losses <= REACHED * losses[:, :1]
        first += [int(np.argmax(row)) for row in below if row.any()]
        smallest = run.trajectory["features"].sel(quantity="smallest").values
        shrink.append((smallest / smallest[:, :1]).min())
    arrived = f"Reached after {min(first)} to {max(first)} steps" if first else "Never reached"
    return f"{arrived}; the lowest sigma_min(B_t) / sigma_min(B_0) is {min(shrink):.3g}."


@claim(
    "joint-zero-{case}",
    "Query, key and value trained with H >= 2 and HD >= 2 Nn: every seed reaches 1e-10 f_0 within the cap",
    source="Song et al. 2024, Theorem 2; measured",
)
def zero(about: About, runs: Family) -> Claim:
    """Whether every seed with several heads succeeds."""
    return of_seeds(at_most(about.noting(_arrival(runs)), lowest(runs), REACHED), runs.seeds)


@claim(
    "joint-stepwise-{case}",
    "f_t never lags the product of 1 - eta_s lambda_min(K_s)",
    source="docs/theory/pl.md",
)
def stepwise(about: About, runs: Runs) -> Claim:
    """The bound that follows from the spectrum along the run."""
    return pl.stepwise_bound(about, runs.every.trajectories)


@claim(
    "pl-joint-{case}",
    "The gradient obeys PL with lambda_min(K_t), joint training",
    source="docs/theory/pl.md",
)
def gradient(about: About, runs: Runs) -> Claim:
    """The PL inequality along the run."""
    return pl.pl_inequality(about, runs.every.trajectories)


@claim(
    "joint-one-head-{case}",
    "One head with HD = 2 Nn trains as reliably: the share of seeds that reach 1e-10 f_0 is 1",
    source="Song et al. 2024; measured",
)
def one_head(about: About, runs: Family) -> Claim:
    """The share of seeds that succeed with a single head."""
    reached = lowest(runs) <= REACHED
    about = about.noting(f"{int(reached.sum())} of {len(reached)} seeds succeed. {_arrival(runs)}")
    return of_seeds(at_least(about, float(reached.mean()), 1.0), runs.seeds)


def losses(runs: Runs) -> go.Figure:
    """Loss under joint training.

    Query, key and value are trained by gradient descent with an Armijo step. Median and 80 % band over seeds.
    """
    figure = lines("Loss", ChartAxis("step", "log"), ChartAxis("f / f_0", "log"))
    for family, some in runs.items():
        for run in some:
            loss, kernel = run.trajectory["loss"], case_of(run.experiment)
            relative = np.maximum(loss.values / loss.values[:, :1], 1e-32)
            color = case_color(kernel) if family == "heads" else None
            add_band(figure, loss.steps, relative, f"{kernel}, {run.field('model.heads')} head(s)", color=color)
    return figure


section = Section(
    "joint training", requests, (zero.on("heads"), stepwise, gradient, one_head.on("one head")), (losses,)
)

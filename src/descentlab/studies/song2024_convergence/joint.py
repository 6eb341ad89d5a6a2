"""Training query, key and value together with the output block fixed, by an Armijo line search."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab._describe import replace_at
from descentlab.claims import About, Claim, at_least, at_most, of_seeds
from descentlab.experiment import Experiment
from descentlab.optim import Armijo
from descentlab.plots.curves import ChartAxis, add_band, lines
from descentlab.plots.style import case_color
from descentlab.probes import AttentionShape, Distance, FeatureSpectrum, GramSpectrum, Loss, PLRatio, StepSize
from descentlab.runs import Run, Runs
from descentlab.schedule import AbstractSchedule, Every, LogSpaced
from descentlab.studies.song2024_convergence.kernels import kernels, name, of_kernel, seed_count, shape, trajectories
from descentlab.studies.song2024_convergence.value_block import with_shape
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.theory import pl
from descentlab.theory.theorem_c import TRAINED

REACHED = 1e-10


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
    for path, value in {"probes": probes, "trained": TRAINED, "optimizer": Armijo(), "steps": steps}.items():
        experiment = replace_at(experiment, path, value)
    return experiment


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Two heads (and four on paper) with HD = 2 Nn, and one head with the same HD."""
    smoke, paper = size == Size.SMOKE, size == Size.PAPER
    seeds = tuple(range(2 if smoke else 50 if paper else 10))
    many = tuple(range(50 if paper else 20))
    steps = 100 if smoke else 2000
    shapes = ((2, 20), (4, 10), (4, 20)) if paper else ((2, 20),)
    families: dict[str, list[Request]] = {"heads": [], "one head": []}
    for base in bases:
        every = jointly(base, steps, Every(1))
        families["heads"] += [Request(with_shape(every, *one), seeds) for one in shapes]
        if not smoke:
            families["one head"].append(Request(with_shape(jointly(base, steps, LogSpaced(10)), 1, 40), many))
    return families


def _lowest(runs: Sequence[Run]) -> np.ndarray:
    """The lowest relative loss of each lane."""
    losses = [run.trajectory["loss"].values for run in runs]
    return np.concatenate([np.nanmin(values / values[:, :1], axis=1) for values in losses])


def _arrival(runs: Sequence[Run]) -> str:
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


def claims(runs: Runs) -> list[Claim]:
    """Claims 4 and 5 for joint training."""
    found = []
    for kernel in kernels(runs):
        heads = of_kernel(runs, kernel, "heads")
        about = About(
            f"joint-zero-{kernel}",
            "Query, key and value trained with H >= 2 and HD >= 2 Nn: every seed reaches 1e-10 f_0 within the cap",
            "Song et al. 2024, Theorem 2; measured",
            kernel,
            _arrival(heads),
        )
        found.append(of_seeds(at_most(about, _lowest(heads), REACHED), seed_count(heads)))
        about = About(
            f"joint-stepwise-{kernel}",
            "f_t never lags the product of 1 - eta_s lambda_min(K_s)",
            "docs/theory/pl.md",
            kernel,
        )
        found.append(pl.stepwise_bound(about, trajectories(of_kernel(runs, kernel))))
        about = About(
            f"pl-joint-{kernel}",
            "The gradient obeys PL with lambda_min(K_t), joint training",
            "docs/theory/pl.md",
            kernel,
        )
        found.append(pl.pl_inequality(about, trajectories(of_kernel(runs, kernel))))
        found += one_head(kernel, of_kernel(runs, kernel, "one head"))
    return found


def one_head(kernel: str, runs: Sequence[Run]) -> list[Claim]:
    """The share of seeds that succeed with a single head."""
    if not runs:
        return []
    reached = _lowest(runs) <= REACHED
    about = About(
        f"joint-one-head-{kernel}",
        "One head with HD = 2 Nn trains as reliably: the share of seeds that reach 1e-10 f_0 is 1",
        "Song et al. 2024; measured",
        kernel,
        f"{int(reached.sum())} of {len(reached)} seeds succeed. {_arrival(runs)}",
    )
    return [of_seeds(at_least(about, float(reached.mean()), 1.0), seed_count(runs))]


def losses(runs: Runs) -> go.Figure:
    """Loss under joint training.

    Query, key and value are trained by gradient descent with an Armijo step. Median and 80 % band over seeds.
    """
    figure = lines("Loss", ChartAxis("step", "log"), ChartAxis("f / f_0", "log"))
    for family, one in runs.items():
        for run in one:
            loss, kernel = run.trajectory["loss"], name(run.experiment)
            relative = np.maximum(loss.values / loss.values[:, :1], 1e-32)
            color = case_color(kernel) if family == "heads" else None
            label = f"{kernel}, {shape(run)[0]} head(s)"
            add_band(figure, loss.steps, relative, label, color=color)
    return figure


section = Section("joint training", requests, claims, (losses,))

"""Three ways in which softmax cannot reach what the Gaussian kernel reaches: equal keys, equal values, the hull.

The fourth, a strict minimum at a finite place, is in `reduced.py`.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, at_least, at_most, close, of_seeds
from descentlab.experiment import Experiment
from descentlab.plots.curves import ChartAxis, add_band, lines
from descentlab.plots.style import PALETTE
from descentlab.probes import Loss
from descentlab.runs import Run, Runs
from descentlab.schedule import LogSpaced
from descentlab.studies.song2024_convergence.kernels import kernels, name, of_kernel, seed_count, trajectories
from descentlab.studies.song2024_query.setting import (
    REACHED,
    by_hand,
    changed,
    counted,
    ending,
    given_targets,
    kinds,
    relative_loss,
)
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
    seeds = tuple(range(2 if size == Size.SMOKE else 50 if size == Size.PAPER else 20))
    steps = 1_000 if size == Size.SMOKE else 3_000
    values, keys = drawn()
    equal = np.broadcast_to(values[:, :1], values.shape)
    total = np.broadcast_to(values.sum(axis=1, keepdims=True), values.shape)
    places = np.random.default_rng(1).uniform(0.2, 0.8, values.shape)
    low = np.broadcast_to(0.4 * values.min(axis=1, keepdims=True), values.shape)
    families: dict[str, list[Request]] = {"equal keys": [], "equal values": [], "below the hull": []}
    for base in bases:
        instances = {
            "equal keys": by_hand(base, values, places * total, np.zeros_like(keys)),
            "equal values": by_hand(base, np.array(equal), 0.5 * equal, keys),
            "below the hull": by_hand(base, values, np.array(low), keys),
        }
        for family, experiment in instances.items():
            plain = changed(experiment, {"steps": steps, "probes": {"loss": Loss(LogSpaced(20))}})
            classified = family == "below the hull" and name(base) == "softmax"
            chosen = ending(experiment, steps) if classified else plain
            families[family].append(Request(chosen, seeds))
    return families


def hull_floor(run: Run) -> float:
    """Half the mean over samples of squared distances of the targets from the values that softmax can average."""
    values = run.experiment.model.value.array.value[0, :, 0]  # pyright: ignore[reportAttributeAccessIssue]
    targets = given_targets(run)
    values = values.reshape(targets.shape)
    least, most = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    apart = np.maximum(0, np.maximum(least - targets, targets - most))
    return float(0.5 * np.sum(apart**2) / len(targets))


def claims(runs: Runs) -> list[Claim]:
    """S-a, S-b and S-c for softmax, and what the Gaussian kernel does in their place."""
    found: list[Claim] = []
    if "softmax" in kernels(runs):
        found += [
            _stuck("S-a", "Equal keys", of_kernel(runs, "softmax", "equal keys")),
            _stuck("S-b", "Equal values", of_kernel(runs, "softmax", "equal values")),
            *_outside(of_kernel(runs, "softmax", "below the hull")),
        ]
    if "gaussian" in kernels(runs):
        found += [
            _reaches("S-a", "Equal keys", of_kernel(runs, "gaussian", "equal keys")),
            _moves(of_kernel(runs, "gaussian", "equal values")),
            _reaches("S-c", "Targets below the smallest value", of_kernel(runs, "gaussian", "below the hull")),
        ]
    return found


def _stuck(name: str, what: str, runs: Sequence[Run]) -> Claim:
    first = float(np.median(np.concatenate([run.trajectory["loss"].values[:, 0] for run in runs])))
    about = About(
        f"{name.lower()}-softmax",
        f"{name}: {what}: softmax stays at f_0 from every start, to rounding",
        SOURCE,
        "softmax",
        f"Median f_0 {first:.4g}.",
    )
    return close(about, relative_loss(runs), 1.0, tolerance=sum_rounding(trajectories(list(runs))))


def _reaches(name: str, what: str, runs: Sequence[Run]) -> Claim:
    about = About(
        f"{name.lower()}-gaussian",
        f"{name}: {what}: the Gaussian kernel reaches 1e-10 f_0 from every start",
        SOURCE,
        "gaussian",
    )
    return of_seeds(at_most(about, relative_loss(runs), REACHED), seed_count(runs))


def _moves(runs: Sequence[Run]) -> Claim:
    about = About(
        "s-b-gaussian",
        "S-b: Equal values: the Gaussian kernel lowers the loss by at least a tenth from every start",
        SOURCE,
        "gaussian",
        f"Largest last f / f_0 {relative_loss(runs).max():.2g}.",
    )
    return of_seeds(at_most(about, relative_loss(runs), 0.9), seed_count(runs))


def _outside(runs: Sequence[Run]) -> list[Claim]:
    floors = np.concatenate([np.full(len(run.trajectory.seeds), hull_floor(run)) for run in runs])
    last = np.concatenate([run.trajectory["loss"].values[:, -1] for run in runs])
    first = np.concatenate([run.trajectory["loss"].values[:, 0] for run in runs])
    detail = f"Median last loss {np.median(last):.4g}, floor {np.median(floors):.4g}."
    return [
        at_least(
            About("s-c-floor", "S-c: Softmax never falls below the distance to its hull", SOURCE, "softmax", detail),
            last,
            floors,
            slack=sum_rounding(trajectories(list(runs))) * first,
        ),
        of_seeds(
            close(
                About(
                    "s-c-drift",
                    "S-c: Every softmax run drifts to infinity and reaches no zero loss",
                    SOURCE,
                    "softmax",
                    f"End states: {counted(runs)}.",
                ),
                (kinds(runs) == Kind.DRIFTING).astype(float),
                1.0,
            ),
            seed_count(runs),
        ),
    ]


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
        add_band(figure, loss.steps, relative, f"{family}: {name(run.experiment)}", color=color)
    return figure


section = Section("obstructions of softmax", requests, claims, (losses,))

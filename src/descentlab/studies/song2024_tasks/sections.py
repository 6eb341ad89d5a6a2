"""What is claimed of the runs of a task, and how they are drawn."""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, Values, above, at_least, claim, of_seeds
from descentlab.datasets import Pathfinder
from descentlab.datasets.imdb import REVIEWS
from descentlab.plots.curves import ChartAxis, add_band, add_level, lines
from descentlab.plots.style import case_color
from descentlab.runs import Run, Runs
from descentlab.statistics import mean_interval, paired_interval
from descentlab.studies.song2024_tasks.experiments import requests
from descentlab.study import Section

PAPER = "Song et al. 2024, section 6"
ANCHOR = {"text": {"softmax": 61.95, "gaussian": 60.22}, "pathfinder": {"softmax": 65.26, "gaussian": 70.73}}
"""Test accuracy in per cent after 50,000 steps of AdamW, mean of three runs (Chen et al. 2021, table 1)."""

CHANCE = 0.5
"""Accuracy of a constant answer: both tasks have as many examples of one class as of the other."""


def test_accuracy(run: Run) -> np.ndarray:
    """The accuracy of each seed on the test part, after the last step."""
    return run.trajectory.last("test", quantity="accuracy")


def resolution(run: Run) -> float:
    """The least step between two test accuracies: one example."""
    dataset, asked = run.field("task.dataset"), run.field("probes.test").examples
    whole = dataset.test if isinstance(dataset, Pathfinder) else 2 * REVIEWS
    return 1 / min(asked or whole, whole)


def mean_loss(run: Run) -> np.ndarray:
    """The development loss of each seed averaged over training, in nats: the smaller, the faster."""
    return run.trajectory["development"].sel(quantity="loss").values.mean(axis=1)


def chosen(runs: Sequence[Run]) -> Run:
    """The run whose rate and scale were best on development data at the end."""
    return max(runs, key=_development)


def _development(run: Run) -> float:
    accuracy = run.trajectory["development"].sel(quantity="accuracy").values[:, -1]
    return float(np.where(np.isfinite(accuracy), accuracy, 0).mean())


def _setting(run: Run) -> str:
    rate, scale = (run.field(path) for path in ("optimizer.rule.lr", "model.query.scale"))
    return f"rate {rate:g}, query and key start at scale {scale:g}"


KINDS: dict[str, Values] = {"kind": list}
"""Optimizers, by which the runs of a task are named."""


@claim(
    "{task}-{kind}-learns-{case}",
    "On {task} with {kind}, accuracy on held-out data exceeds chance (lower end of the 95 % interval over seeds)",
    source="measured",
    over=KINDS,
)
def learns(about: About, runs: Runs, task: str, kind: str) -> Claim:
    """Whether held-out accuracy exceeds chance."""
    run = chosen(runs[kind])
    accuracy = mean_interval(test_accuracy(run), resolution(run))
    about = about.noting(
        f"Test accuracy {100 * accuracy.value:.1f} ± {100 * accuracy.error:.1f} %, {_setting(run)}. Chen et al. (2021) "
        f"report {ANCHOR[task].get(str(about.case), float('nan'))} % after 50,000 steps of AdamW."
    )
    return above(about, accuracy, CHANCE)


@claim(
    "{task}-{kind}-unstuck-{case}",
    "On {task} with {kind}, no run is stuck: development accuracy leaves chance by three standard errors",
    source=PAPER,
    over=KINDS,
)
def unstuck(about: About, runs: Runs, kind: str) -> Claim:
    """Whether every seed leaves the neighbourhood of chance on development data."""
    run = chosen(runs[kind])
    accuracy = run.trajectory["development"].sel(quantity="accuracy").values
    looked = run.field("probes.development").examples or 5000
    best = np.nanmax(accuracy, axis=1)
    edge = CHANCE + 3 * np.sqrt(CHANCE**2 / looked)
    about = about.noting(
        f"{int((best <= edge).sum())} of {best.size} seeds are stuck; best development accuracy "
        f"{100 * best.min():.1f} to {100 * best.max():.1f} %, edge {100 * edge:.1f} %."
    )
    return of_seeds(at_least(about, float((best > edge).mean()), 1.0), best.size)


@claim(
    "{task}-{kind}-rows-{case}",
    "On {task}, rows of the {case} kernel sum to at least 10 in every layer at the start (softmax: to 1)",
    source="docs/studies/song2024_tasks.md",
    cases=("gaussian",),
    over=KINDS,
)
def rows(about: About, runs: Runs, kind: str) -> Claim:
    """Whether the rows of the kernel sum to much more than those of softmax at the start."""
    record = chosen(runs[kind]).trajectory["attention"]
    sums, entropies = (record.sel(quantity=one).values for one in ("row_sum", "entropy"))
    about = about.noting(
        f"Row sums by layer {_listed(sums[:, 0])} at the start, {_listed(sums[:, -1])} at the end ({kind}); entropies "
        f"{_listed(entropies[:, 0])} and {_listed(entropies[:, -1])} nats."
    )
    return at_least(about, [mean_interval(layer) for layer in sums[:, 0].T], 10.0)


def _listed(numbers: np.ndarray) -> str:
    """The mean over seeds in each layer, in words."""
    return ", ".join(f"{number:.3g}" for number in numbers.mean(axis=0))


@claim(
    "{task}-{kind}-better",
    "On {task} with {kind}, the Gaussian kernel reaches a higher test accuracy than softmax (difference above 0)",
    source=f"{PAPER}, figures 2 and 3",
    between=("gaussian", "softmax"),
    over=KINDS,
)
def better(about: About, gaussian: Runs, softmax: Runs, task: str, kind: str) -> Claim:
    """Whether the Gaussian kernel ends with the higher test accuracy."""
    one, other = chosen(gaussian[kind]), chosen(softmax[kind])
    about = about.noting(
        f"Gaussian: {_setting(one)}; softmax: {_setting(other)}. Chen et al. (2021) find a difference of "
        f"{(ANCHOR[task]['gaussian'] - ANCHOR[task]['softmax']) / 100:+.4f}."
    )
    step = max(resolution(one), resolution(other))
    return above(about, paired_interval(test_accuracy(one), test_accuracy(other), step), 0.0)


@claim(
    "{task}-{kind}-faster",
    "On {task} with {kind}, the Gaussian kernel learns faster: the development loss averaged over training is lower "
    "than that of softmax (difference above 0, in nats)",
    source=f"{PAPER}, figures 2 and 3",
    between=("softmax", "gaussian"),
    over=KINDS,
)
def faster(about: About, softmax: Runs, gaussian: Runs, kind: str) -> Claim:
    """Whether the Gaussian kernel learns faster."""
    return above(about, paired_interval(mean_loss(chosen(softmax[kind])), mean_loss(chosen(gaussian[kind]))), 0.0)


STATEMENTS = (learns, unstuck, rows, better, faster)


def _best(runs: Runs) -> Iterator[tuple[str, str, Run]]:
    """Optimizer, kernel and chosen run."""
    return ((kind, kernel, chosen(some)) for kind, family in runs.items() for kernel, some in family.by_case().items())


def accuracy(runs: Runs) -> go.Figure:
    """Accuracy on development data.

    Median and range over seeds, for each kernel the rate and initial scale that were best on development data.
    """
    return _curves(runs, "accuracy", "accuracy on development data")


def loss(runs: Runs) -> go.Figure:
    """Loss on development data.

    Median and range over seeds; chance is ln 2 = 0.693 nats.
    """
    return add_level(_curves(runs, "loss", "development loss / nats"), np.log(2), "chance")


def _curves(runs: Runs, what: str, label: str) -> go.Figure:
    figure = lines(label.capitalize(), ChartAxis("step"), ChartAxis(label))
    for kind, kernel, run in _best(runs):
        record = run.trajectory["development"].sel(quantity=what)
        color = case_color(kernel) if len(runs) == 1 else None
        add_band(figure, record.steps, record.values, f"{kernel}, {kind}", color=color, quantiles=(0.0, 1.0))
    return figure


def attention(runs: Runs) -> go.Figure:
    """Row sums of the attention matrices.

    The mean over heads and real tokens of a few training examples; softmax rows sum to one.
    """
    figure = lines("Row sums", ChartAxis("step"), ChartAxis("mean row sum", "log"))
    for kind, kernel, run in _best(runs):
        record = run.trajectory["attention"].sel(quantity="row_sum")
        for number, layer in enumerate(record.entries("layer"), 1):
            label = f"{kernel}, {kind}, layer {number}"
            add_band(figure, record.steps, record.sel(layer=layer).values, label, quantiles=(0.0, 1.0))
    return figure


def section(task: str) -> Section:
    """The section of one task."""
    claims = [statement.given(task=task) for statement in STATEMENTS]
    return Section(task, functools.partial(requests, task), claims, (accuracy, loss, attention))

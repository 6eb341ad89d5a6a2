"""What all sections start from: the layer with its query block trained, and instances written down by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from descentlab._describe import replace_at
from descentlab.attention import AbstractAttention, Softmax
from descentlab.data import FullBatch
from descentlab.experiment import Experiment
from descentlab.given import Given
from descentlab.models import AttentionLayer, Fixed
from descentlab.optim import Armijo
from descentlab.probes import Loss
from descentlab.runs import Run
from descentlab.schedule import At, LogSpaced
from descentlab.tasks import Arrays, SoftmaxHull, TokenRegression
from descentlab.theory.endings import EndState
from descentlab.theory.stationary import Kind

REACHED = 1e-10
"""Relative loss at which a run of a hand-written instance has arrived."""

BASE = Experiment(
    task=TokenRegression(tokens=4, dim=16, target=SoftmaxHull(0.25, 0.75)),
    data=FullBatch(3),
    model=AttentionLayer(attention=Softmax(), heads=1, head_dim=4),
    optimizer=Armijo(),
    trained=("query",),
    probes={"loss": Loss()},
    steps=3000,
)
"""Three samples of four unit tokens, hence Nn = 12 targets, with D = 16 numbers a token."""


def changed(experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """The experiment with the fields at several dotted paths replaced."""
    for path, value in changes.items():
        experiment = replace_at(experiment, path, value)
    return experiment


def with_kernel(attention: AbstractAttention) -> Experiment:
    """The base experiment with another kernel."""
    return replace_at(BASE, "model.attention", attention)


def ending(experiment: Experiment, steps: int) -> Experiment:
    """The experiment with so many steps, its loss recorded on the way and its end state classified."""
    probes = {"loss": Loss(LogSpaced(20)), "end": EndState(At((steps,)))}
    return changed(experiment, {"steps": steps, "probes": probes})


def by_hand(base: Experiment, values: np.ndarray, targets: np.ndarray, keys: np.ndarray) -> Experiment:
    """An instance in which every token has the value, the target and the key that are given.

    Tokens are the standard basis, so that D = Nn and the query of each token is a row of the query block.

    Args:
        base: gives kernel and optimizer.
        values: $v_{ij}$, what a unit of attention on a token adds to the output; axes sample and token.
        targets: of each token, same axes.
        keys: axes sample, token and head width.
    """
    samples, tokens, width = keys.shape
    dim = samples * tokens
    value = np.zeros((1, dim, width))
    value[0, :, 0] = values.ravel()
    output = np.zeros((1, width, 1))
    output[0, 0, 0] = 1.0
    inputs = np.eye(dim).reshape(samples, tokens, dim)
    return changed(
        base,
        {
            "task": Arrays(Given("inputs", inputs), Given("targets", targets)),
            "data": FullBatch(samples),
            "model.head_dim": width,
            "model.heads": 1,
            "model.key": Fixed(Given("key", keys.reshape(1, dim, width))),
            "model.value": Fixed(Given("value", value)),
            "model.output": Fixed(Given("output", output)),
        },
    )


def given_targets(run: Run) -> np.ndarray:
    """The targets of an instance by hand."""
    task = run.experiment.task
    assert isinstance(task, Arrays)
    return task.given_targets.value


def relative_loss(runs: Sequence[Run]) -> np.ndarray:
    """The last loss of every lane over its first."""
    return np.concatenate([run.trajectory["loss"].values[:, -1] / run.trajectory["loss"].values[:, 0] for run in runs])


def kinds(runs: Sequence[Run]) -> np.ndarray:
    """The class of the end state of every lane."""
    return np.concatenate([run.trajectory["end"].sel(quantity="kind").values[:, -1] for run in runs])


def counted(runs: Sequence[Run]) -> str:
    """In words, how many lanes ended in each class."""
    found = kinds(runs)
    some = {kind: int((found == kind).sum()) for kind in Kind}
    return ", ".join(f"{count} {kind.name.lower().replace('_', ' ')}" for kind, count in some.items() if count)

"""What all sections start from: the layer with its query block trained, and instances written down by hand."""

import numpy as np

from descentlab._describe import value_at
from descentlab.attention import Gaussian, Softmax
from descentlab.data import FullBatch
from descentlab.experiment import Experiment
from descentlab.given import Given
from descentlab.models import AttentionLayer, Fixed
from descentlab.optim import Armijo
from descentlab.probes import Loss
from descentlab.runs import Family, Run
from descentlab.schedule import At, LogSpaced
from descentlab.sweep import grid
from descentlab.tasks import Arrays, SoftmaxHull, TokenRegression
from descentlab.theory.endings import EndState
from descentlab.theory.stationary import Kind

SCALE = "model.query.scale"
SCALES = (0.3, 1.0, 2.0, 4.0)
"""The field of the initial scale, and those of the search."""

WIDE = 0.25
"""c of the Gaussian kernel at temperature 1, which is its default at head width 4."""

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


KERNELS = tuple(grid(BASE, {"model.attention": [Softmax(), Gaussian()]}))
"""The base experiment with each kernel."""


def with_scale(experiment: Experiment, scale: float) -> Experiment:
    """The experiment with another initial scale of query and key."""
    return experiment.changed({SCALE: scale, "model.key.scale": scale})


def heated(experiment: Experiment, temperature: float) -> Experiment:
    """The experiment at a temperature: that of softmax, or c divided by it; other kernels have none."""
    attention = value_at(experiment, "model.attention")
    chosen = {Softmax: Softmax(temperature), Gaussian: Gaussian(WIDE / temperature)}
    return experiment.changed({"model.attention": chosen.get(type(attention), attention)})


def temperature_of(run: Run) -> float:
    """The temperature of a run's kernel; that of the Gaussian one is 1 at its widest."""
    attention = run.field("model.attention")
    if isinstance(attention, Softmax):
        return attention.temperature
    return WIDE / attention.c if isinstance(attention, Gaussian) and attention.c is not None else 1.0


def ending(experiment: Experiment, steps: int) -> Experiment:
    """The experiment with so many steps, its loss recorded on the way and its end state classified."""
    probes = {"loss": Loss(LogSpaced(20)), "end": EndState(At((steps,)))}
    return experiment.changed({"steps": steps, "probes": probes})


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
    return base.changed(
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


def kinds(runs: Family) -> np.ndarray:
    """The class of the end state of every lane."""
    return runs.last("end", quantity="kind")


def counted(runs: Family) -> str:
    """In words, how many lanes ended in each class."""
    found = kinds(runs)
    some = {kind: int((found == kind).sum()) for kind in Kind}
    return ", ".join(f"{count} {kind.name.lower().replace('_', ' ')}" for kind, count in some.items() if count)

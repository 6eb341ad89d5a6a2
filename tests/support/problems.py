"""Small experiments, and what is known at a point of one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from descentlab.attention import Gaussian
from descentlab.data import FullBatch, Minibatch
from descentlab.experiment import Experiment, start, stored
from descentlab.lanes import Lanes
from descentlab.models import AttentionLayer, Classify, Transformer
from descentlab.point import evaluate
from descentlab.probes import Loss
from descentlab.schedule import Every
from descentlab.tasks import Classification, TokenRegression
from descentlab.training import advance, prepare, trajectories
from support.counting import Counting

LAYER = AttentionLayer(Gaussian(0.5), heads=2, head_dim=2)
SMALL = Experiment(
    task=TokenRegression(tokens=3, dim=4),
    data=FullBatch(2),
    model=LAYER,
    probes={"loss": Loss(Every())},
    steps=12,
)
"""Two samples of three tokens, four numbers a token: six targets."""

VALUE_ONLY = dataclasses.replace(SMALL, trained=("value",))
"""The same with a model that is linear in what is trained."""


CLASSIFYING = dataclasses.replace(
    SMALL,
    task=Classification(Counting()),
    data=Minibatch(4),
    model=Transformer(width=4, depth=1, hidden=6, vocabulary=5, readout=Classify(2, 3)),
    trained=None,
)
"""Sequences of a data set in two classes, four of them a step."""


def started(experiment, seed=0):
    """Objective and trained blocks, in double precision; call it within the `float64` fixture."""
    return start(experiment, key=jax.random.key(seed), stored=stored(experiment))


def point_of(experiment, seed=0):
    """The point at step 0."""
    objective, params = started(experiment, seed)
    return evaluate(objective, params, jnp.asarray(0, jnp.int32), params, jnp.asarray(jnp.nan))


def run(experiments, seeds=None, cuts=()):
    """The trajectories of several experiments as lanes of one program, in segments cut at the given steps."""
    lanes = Lanes(tuple(experiments), tuple(seeds or [0] * len(experiments)))
    constants, carry = prepare(lanes)
    edges = [0, *cuts, lanes.first.steps + 1]
    for first, stop in zip(edges[:-1], edges[1:], strict=True):
        carry = advance(lanes, constants, carry, first, stop)
    return trajectories(lanes, constants, carry)


def in_numpy(experiment, seed=0):
    """Inputs, targets and all four blocks at the start."""
    with jax.enable_x64(True):
        objective, params = started(experiment, seed)
        model = objective.model(params)
    arrays = {name: np.asarray(getattr(model, name)) for name in ("query", "key", "value", "output")}
    return np.asarray(objective.inputs), np.asarray(objective.targets), arrays

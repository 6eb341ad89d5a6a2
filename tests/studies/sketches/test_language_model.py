"""A tiny language model on chains whose entropy is known: its held-out loss comes down to it (Niu et al. 2024)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab import Experiment, FullBatch, train
from descentlab._tree import named
from descentlab.data import Online
from descentlab.experiment import begin
from descentlab.losses import CrossEntropy
from descentlab.models import EachToken, Transformer
from descentlab.objective import Examples
from descentlab.optim import GD, Adam
from descentlab.probes import HeldOut, Loss
from descentlab.schedule import At, Every
from descentlab.tasks import AbstractTask
from support.transcribed import decoder, differences

WORDS, TIME = 4, 6


class Chain(AbstractTask):
    """Sequences of a Markov chain whose transition matrix is drawn once a lane; the next token is wanted."""

    @property
    def loss_function(self):
        """Classes."""
        return CrossEntropy()

    @property
    def vocabulary(self):
        """Tokens 1 to 4; 0 is padding."""
        return WORDS + 1

    @property
    def classes(self):
        """The next token."""
        return WORDS + 1

    def world(self, model, *, key):
        """The logarithms of the transition probabilities."""
        return jax.nn.log_softmax(2 * jax.random.normal(jax.random.fold_in(key, 1), (WORDS, WORDS)))

    def sample(self, count, world, *, key):
        """Sequences from a uniform start."""
        first, *keys = jax.random.split(key, TIME + 1)
        seen = [jax.random.randint(first, (count,), 0, WORDS)]
        for one in keys:
            seen.append(jax.random.categorical(one, world[seen[-1]]))
        tokens = 1 + jnp.stack(seen, axis=1).astype(jnp.int32)
        return Examples(tokens[:, :-1], tokens[:, 1:])


BASE = Experiment(
    task=Chain(),
    data=Online(32),
    model=Transformer(
        width=8, depth=1, heads=2, hidden=12, causal=True, vocabulary=WORDS + 1, readout=EachToken(WORDS + 1)
    ),
    optimizer=Adam(3e-2),
    held_out=500,
    probes={"loss": Loss(Every()), "held": HeldOut(At((0, 300)))},
    steps=300,
    precision="float32",
)


@pytest.mark.usefixtures("float64")
def test_the_first_steps_are_those_of_a_transcription_by_central_differences():
    experiment = Experiment(
        task=BASE.task, data=FullBatch(4), model=BASE.model, optimizer=GD(0.1), probes={"loss": Loss(Every())}, steps=9
    )
    found, lane = train(experiment), begin(experiment, key=jax.random.key(0))
    short = {"layers.0.norm": "attention", "layers.0.fed.norm": "feed_forward", "norm": "final"}
    blocks = {}
    for name, array in named(lane.start).items():
        path, _, last = name.rpartition(".")
        blocks[f"{short[path]}.{last}" if path in short else last] = np.asarray(array)
    inputs, targets = np.asarray(lane.objective.inputs), np.asarray(lane.objective.targets)

    def loss(blocks):
        return decoder(blocks, inputs, targets, heads=2)

    for recorded in found["loss"].values[0]:
        np.testing.assert_allclose(recorded, loss(blocks), rtol=1e-8)
        gradient = differences(loss, blocks, 1e-6)
        blocks = {name: array - 0.1 * gradient[name] for name, array in blocks.items()}


def test_the_held_out_loss_comes_down_to_the_entropy_and_not_below():
    found = train(BASE, seeds=2)
    for seed, (before, after) in enumerate(found["held"].sel(quantity="loss").values):
        lane = begin(BASE, key=jax.random.key(seed))
        exact = np.asarray(lane.world)[np.asarray(lane.held_out.inputs) - 1, np.asarray(lane.held_out.targets) - 1]
        floor, error = _entropy(np.asarray(lane.world)), 3 * exact.mean(axis=1).std() / np.sqrt(500)
        assert floor - error < after < floor + error + 0.05
        assert before > after + 0.3


def _entropy(logs):
    """The mean entropy of the next token, in nats, from a uniform start; no model can go below."""
    share, total = np.full(WORDS, 1 / WORDS), 0.0
    for _ in range(TIME):
        total -= np.sum(share[:, None] * np.exp(logs) * logs)
        share = share @ np.exp(logs)
    return total / TIME

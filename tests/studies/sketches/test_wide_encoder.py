"""Wide encoders: weights move less, and queries have less of the Gram matrix, the wider they are (Wu et al. 2023)."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab import Experiment, FullBatch, train
from descentlab._check import real
from descentlab.experiment import begin
from descentlab.models import AbstractArchitecture
from descentlab.objective import Examples
from descentlab.optim import GD
from descentlab.probes import GramShares, Loss, RelativeDistance
from descentlab.schedule import At, Every
from descentlab.tasks import AbstractTask
from support.transcribed import wide_encoder


class Sequences(AbstractTask):
    """Gaussian tokens; a number for each sequence."""

    def sample(self, count, world, *, key):
        """Targets are noise."""
        first, second = jax.random.split(key)
        return Examples(jax.random.normal(first, (count, 4, 8)), jax.random.normal(second, (count,)))


class WideEncoder(AbstractArchitecture):
    """Softmax attention of scores times 1/width, a rectifier, the mean over tokens, a read-out."""

    width: int = 16
    scale: float = eqx.field(default=1.0, converter=real)

    def init(self, example, *, key):
        """Independent Gaussian entries of variance one over the number of inputs."""
        keys, dim = jax.random.split(key, 4), example.shape[-1]
        matrices = [jax.random.normal(one, (self.width, dim)) / dim**0.5 for one in keys[:3]]
        return Encoder(*matrices, jax.random.normal(keys[3], (self.width,)) / self.width**0.5, self)


class Encoder(eqx.Module):
    """The trained matrices, beside the definition."""

    query: jax.Array
    key: jax.Array
    value: jax.Array
    output: jax.Array
    definition: WideEncoder

    def __call__(self, tokens):
        scores = (tokens @ self.query.T) @ (tokens @ self.key.T).T
        weights = jax.nn.softmax(self.definition.scale / self.definition.width * scores)
        return jnp.mean(jax.nn.relu(weights @ tokens @ self.value.T), axis=0) @ self.output


BASE = Experiment(
    task=Sequences(), data=FullBatch(6), model=WideEncoder(), optimizer=GD(0.1),
    probes={"loss": Loss(Every()), "moved": RelativeDistance(At((300,))), "gram": GramShares(At((0,)))}, steps=300,
)  # fmt: skip
BLOCKS = ("query", "key", "value", "output")


@pytest.mark.usefixtures("float64")
def test_the_first_steps_and_shares_are_those_of_a_transcription():
    found, lane = train(BASE), begin(BASE, key=jax.random.key(0))
    blocks = {name: np.asarray(getattr(lane.start, name)) for name in BLOCKS}
    inputs, targets = np.asarray(lane.objective.inputs), np.asarray(lane.objective.targets)
    for step, loss in enumerate(found["loss"].values[0, :10]):
        expected, gradient, traces = wide_encoder(blocks, inputs, targets, 1 / 16)
        np.testing.assert_allclose(loss, expected, rtol=1e-10)
        if step == 0:
            for name in BLOCKS:
                np.testing.assert_allclose(
                    found["gram"].sel(block=name, quantity="trace").values[0, 0], traces[name], rtol=1e-10
                )
        blocks = {name: array - 0.1 * gradient[name] for name, array in blocks.items()}


def test_wider_encoders_move_less_and_see_less_of_their_queries():
    narrow, wide = (train(dataclasses.replace(BASE, model=WideEncoder(width)), seeds=4) for width in (16, 256))
    assert np.all(wide["loss"].values[:, -1] < 1e-3)
    for block in ("query", "key", "value"):
        moved = [one["moved"].sel(block=block).values[:, 0].mean() for one in (narrow, wide)]
        assert moved[1] < moved[0] / 2
    shares = [
        sum(one["gram"].sel(block=block, quantity="share").values.mean() for block in ("query", "key"))
        for one in (narrow, wide)
    ]
    assert shares[1] < shares[0] / 4

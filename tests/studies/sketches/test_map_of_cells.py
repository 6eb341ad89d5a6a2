"""A map over the number of samples and the signal, every cell stopped once it is fitted (Jiang et al. 2024)."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab import Experiment, train
from descentlab._check import real
from descentlab._describe import structure
from descentlab.attention import NoScaling, Softmax
from descentlab.data import Padded
from descentlab.experiment import begin
from descentlab.losses import Logistic
from descentlab.models import AttentionLayer, FanInUniform, MeanPool
from descentlab.objective import Examples
from descentlab.optim import GD
from descentlab.probes import HeldOut, Loss
from descentlab.schedule import AtEnd, Every
from descentlab.status import Status
from descentlab.stopping import LossBelow
from descentlab.sweep import Request, grid, run
from descentlab.tasks import AbstractTask
from support.transcribed import pooled_attention


class Signal(AbstractTask):
    """One of two orthogonal signals by the label, then a token of strong noise, then weak noise."""

    tokens: int = 6
    dim: int = 64
    size: float = eqx.field(default=5.0, converter=real)
    weak: float = eqx.field(default=0.2, converter=real)
    strong: float = eqx.field(default=20.0, converter=real)

    @property
    def loss_function(self):
        """Signs."""
        return Logistic()

    def sample(self, count, world, *, key):
        """Labels are balanced on average."""
        first, second = jax.random.split(key)
        signs = jax.random.rademacher(first, (count,), float)
        noise = self.weak * jax.random.normal(second, (count, self.tokens - 1, self.dim))
        signal = self.size * jax.nn.one_hot((signs < 0).astype(int), self.dim)
        return Examples(
            jnp.concatenate([signal[:, None], noise.at[:, 0].multiply(self.strong)], axis=1), signs[:, None]
        )


BASE = Experiment(
    task=Signal(),
    data=Padded(4, room=16),
    model=AttentionLayer(
        Softmax(scaling=NoScaling()), heads=1, head_dim=32, query=FanInUniform(1 / 16), key=FanInUniform(1 / 16),
        value=FanInUniform(1 / 16), output=FanInUniform(), readout=MeanPool(),
    ),
    optimizer=GD(1.6),
    trained=("query", "key", "value"),
    until=LossBelow(0.01),
    held_out=100,
    probes={"loss": Loss(Every()), "held": HeldOut(AtEnd())},
    steps=60,
)  # fmt: skip
CELLS = grid(BASE, {"data.samples": [4, 8, 16], "task.size": [2.0, 5.0, 12.0, 30.0]})


@pytest.mark.usefixtures("float64")
def test_the_first_steps_are_those_of_a_transcription():
    one = dataclasses.replace(BASE, until=None, optimizer=GD(0.4), steps=9)
    found, lane = train(one), begin(one, key=jax.random.key(0))
    blocks = {name: np.asarray(getattr(lane.start, name))[0] for name in ("query", "key", "value")}
    blocks["output"] = np.asarray(lane.objective.frozen.output)[0, :, 0]
    inputs, signs = np.asarray(lane.objective.inputs)[:4], np.asarray(lane.objective.targets)[:4, 0]
    for loss in found["loss"].values[0]:
        expected, gradient = pooled_attention(blocks, inputs, signs, 1 / 6)
        np.testing.assert_allclose(loss, expected, rtol=1e-9)
        blocks |= {name: blocks[name] - 0.4 * gradient[name] for name in ("query", "key", "value")}


def test_cells_are_lanes_of_one_program_that_stop_where_they_are_fitted():
    assert len({structure(cell) for cell in CELLS}) == 1
    found = run([Request(cell, (0, 1)) for cell in CELLS])
    held = np.empty((3, 4))
    for place, cell in enumerate(found):
        for lane, (status, ended) in enumerate(zip(cell.status, cell.ended, strict=True)):
            loss = cell["loss"].values[lane]
            assert status == Status.REACHED
            assert loss[ended] < 0.01 <= loss[:ended].min()
            assert np.isnan(loss[ended + 1 :]).all()
        held.flat[place] = cell["held"].sel(quantity="loss").values.mean()
    # The held-out loss falls along the signal and along the number of samples, from chance to almost nothing.
    assert np.all(np.diff(held, axis=1) < 0)
    assert held[:, 0].min() > 0.6
    assert held[:, -1].max() < 0.2
    assert held[-1, 2] < held[0, 2]

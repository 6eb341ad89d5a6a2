"""Sign gradient descent on a signal and a noise patch: the values learn noise, then attention does (Li et al. 2024)."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab import Experiment, FullBatch, train
from descentlab._check import real
from descentlab.attention import NoScaling, Softmax
from descentlab.experiment import begin
from descentlab.losses import Logistic
from descentlab.models import AttentionLayer, Normal, Signs, SumPool
from descentlab.objective import Examples
from descentlab.optim import GD, SignGD
from descentlab.probes import HeldOut, Loss, Products
from descentlab.schedule import At, Every
from descentlab.tasks import AbstractTask
from support.transcribed import pooled_attention


class TwoPatches(AbstractTask):
    """A patch y mu e_1 and a sparse noise patch that is orthogonal to it, in random order."""

    dim: int = 200
    sparsity: int = 10
    signal: float = eqx.field(default=1.0, converter=real)
    noise: float = eqx.field(default=2.0, converter=real)

    @property
    def loss_function(self):
        """Signs."""
        return Logistic()

    def sample(self, count, world, *, key):
        """Patches with their signs; the vectors of both roles are known."""
        keys = jax.random.split(key, 4)
        signs = jax.random.rademacher(keys[0], (count,), float)
        places = jax.vmap(lambda k: jax.random.permutation(k, jnp.arange(1, self.dim)))(
            jax.random.split(keys[1], count)
        )
        numbers = self.noise * jax.random.normal(keys[2], (count, self.sparsity))
        noise = jax.vmap(lambda at, x: jnp.zeros(self.dim).at[at].set(x))(places[:, : self.sparsity], numbers)
        signal = jnp.zeros((count, self.dim)).at[:, 0].set(self.signal)
        first = jax.random.bernoulli(keys[3], shape=(count, 1))
        own, other = signs[:, None] * signal, noise
        patches = jnp.stack([jnp.where(first, own, other), jnp.where(first, other, own)], axis=1)
        return Examples(patches, signs[:, None], parts={"signal": signal, "noise": signs[:, None] * noise})


SMALL = Normal(1e-3)
BASE = Experiment(
    task=TwoPatches(),
    data=FullBatch(10),
    model=AttentionLayer(
        Softmax(scaling=NoScaling()), heads=1, head_dim=20, value_dim=40, query=SMALL, key=SMALL, value=SMALL,
        output=Signs(), readout=SumPool(),
    ),
    optimizer=SignGD(5e-4),
    trained=("query", "key", "value"),
    held_out=100,
    probes={
        "loss": Loss(Every()),
        "held": HeldOut(At((200,))),
        "query": Products("query", ("signal", "noise"), At((20,))),
        "key": Products("key", ("signal", "noise"), At((20,))),
    },
    steps=200,
)  # fmt: skip


@pytest.mark.usefixtures("float64")
def test_the_first_steps_are_those_of_a_transcription():
    found, lane = train(BASE), begin(BASE, key=jax.random.key(0))
    blocks = {name: np.asarray(getattr(lane.start, name))[0] for name in ("query", "key", "value")}
    blocks["output"] = np.asarray(lane.objective.frozen.output)[0, :, 0]
    inputs, signs = np.asarray(lane.objective.inputs), np.asarray(lane.objective.targets)[:, 0]
    for loss in found["loss"].values[0, :10]:
        expected, gradient = pooled_attention(blocks, inputs, signs, 1.0)
        np.testing.assert_allclose(loss, expected, rtol=1e-11)
        blocks |= {name: blocks[name] - 5e-4 * np.sign(gradient[name]) for name in ("query", "key", "value")}


def test_noise_is_fitted_and_the_signal_is_not():
    """Queries and keys come to agree on noise and to differ on the signal; plain gradients generalise better."""
    found = train(BASE, seeds=3)
    signs = [np.sign(found[name].sel(head=0).values[:, 0]) for name in ("query", "key")]  # seed, part, example, neuron
    agreement = np.mean(signs[0] == signs[1], axis=(0, 2, 3))
    assert agreement[0] < 0.05
    assert agreement[1] > 0.95
    assert np.all(found["loss"].values[:, -1] < 0.02)
    plain = train(dataclasses.replace(BASE, optimizer=GD(0.3)), seeds=3)
    sign_held, plain_held = (run["held"].values[:, -1] for run in (found, plain))
    assert np.all(sign_held[:, 0] > 0.6)
    assert np.all(plain_held[:, 0] < sign_held[:, 0] - 0.05)
    assert np.all(plain_held[:, 1] > sign_held[:, 1] + 0.1)

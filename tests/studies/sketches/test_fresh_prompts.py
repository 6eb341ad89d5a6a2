"""A looped linear attention layer on fresh prompts at every step: it learns gradient descent (Gatmiry et al. 2024)."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab import Experiment, train
from descentlab.data import Online
from descentlab.experiment import begin
from descentlab.models import AbstractArchitecture
from descentlab.objective import Examples
from descentlab.optim import GD, Adam
from descentlab.probes import Changed, HeldOut, Loss, Parameters, PopulationLoss
from descentlab.probes.changed import AbstractChange
from descentlab.schedule import At, Every
from descentlab.tasks import AbstractTask
from support.transcribed import looped

DIM, COUNT = 3, 40


class Prompts(AbstractTask):
    """Linear regression in context: n examples and a query, whose answer is wanted."""

    def sample(self, count, world, *, key):
        """One weight vector a prompt."""
        first, second = jax.random.split(key)
        inputs, weights = jax.random.normal(first, (count, DIM, COUNT + 1)), jax.random.normal(second, (count, DIM))
        answers = jnp.einsum("bd,bdn->bn", weights, inputs)
        prompts = jnp.concatenate([inputs, answers.at[:, -1].set(0)[:, None]], axis=1)
        return Examples(prompts, answers[:, -1])

    def population_loss(self, model, world):
        """One loop with u = 0: E (w.x - w.SAx)^2 / 2 over Wishart S, by its first two moments."""
        square = jnp.sum(model.A**2)
        second = square + (square + jnp.trace(model.A) ** 2) / COUNT
        return 0.5 * (DIM - 2 * jnp.trace(model.A) + second)


class Looped(AbstractArchitecture):
    """The same layer of linear attention, several times."""

    loops: int = 1

    def init(self, example, *, key):
        """Small random A; u starts at zero."""
        return Loop(0.1 * jax.random.normal(key, (DIM, DIM)), jnp.zeros(DIM), self.loops)


class Loop(eqx.Module):
    """Z <- Z - P Z M Z^T Q Z / n."""

    A: jax.Array
    u: jax.Array
    loops: int = eqx.field(static=True)

    def __call__(self, prompt):
        q = jnp.zeros((DIM + 1, DIM + 1)).at[:DIM, :DIM].set(self.A)
        p = jnp.zeros((DIM + 1, DIM + 1)).at[-1].set(jnp.append(self.u, 1.0))
        mask = jnp.ones(COUNT + 1).at[-1].set(0)
        for _ in range(self.loops):
            prompt = prompt - p @ (prompt * mask) @ (prompt.T @ q @ prompt) / COUNT
        return -prompt[-1, -1]


class Loops(AbstractChange):
    """More loops at test time."""

    loops: int = 10

    def __call__(self, model):
        return dataclasses.replace(model, loops=self.loops)


BASE = Experiment(
    task=Prompts(),
    data=Online(200),
    model=Looped(1),
    optimizer=Adam(0.02),
    trained=("A",),
    held_out=2000,
    probes={
        "loss": Loss(Every()),
        "held": HeldOut(At((0, 300))),
        "population": PopulationLoss(At((0, 300))),
        "A": Parameters(At((300,))),
    },
    steps=300,
)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("loops", [1, 3])
def test_the_first_steps_are_those_of_a_transcription(loops):
    one = dataclasses.replace(
        BASE, model=Looped(loops), trained=None, optimizer=GD(0.1), probes={"loss": Loss(Every())}, steps=9
    )
    found, lane = train(one), begin(one, key=jax.random.key(0))
    blocks = {"A": np.asarray(lane.start.A), "u": np.asarray(lane.start.u)}
    for step, loss in enumerate(found["loss"].values[0]):
        seen = one.data.at(lane.objective, one.task, lane.source(None), jnp.asarray(step), key=lane.key)
        expected, gradient = looped(blocks, np.asarray(seen.inputs), np.asarray(seen.targets), loops)
        np.testing.assert_allclose(loss, expected, rtol=1e-9)
        blocks = {name: array - 0.1 * gradient[name] for name, array in blocks.items()}


def test_one_loop_learns_the_best_step_of_gradient_descent():
    """The minimiser is n / (n + d + 1) times the identity, with the loss d (d + 1) / (2 (n + d + 1))."""
    found = train(BASE, seeds=2)
    best, least = COUNT / (COUNT + DIM + 1), DIM * (DIM + 1) / (2 * (COUNT + DIM + 1))
    learned = found["A"].values[:, 0].reshape(2, DIM, DIM)
    np.testing.assert_allclose(learned, np.broadcast_to(best * np.eye(DIM), learned.shape), atol=0.08)
    population = found["population"].values
    assert np.all(population[:, -1] >= least * (1 - 1e-5))
    np.testing.assert_allclose(population[:, -1], least, rtol=0.05)
    np.testing.assert_allclose(found["held"].sel(quantity="loss").values, population, rtol=0.15)


def test_more_loops_at_test_time_come_closer():
    probes = {"two": HeldOut(At((300,))), "ten": Changed(Loops(10), HeldOut(), At((300,)))}
    found = train(dataclasses.replace(BASE, model=Looped(2), probes=probes))
    two, ten = (found[name].sel(quantity="loss").values[0, 0] for name in ("two", "ten"))
    assert ten < 0.5 * two

"""A task of one's own: every token must give the sum of its neighbours' first coordinates.

A task is a definition with one method. Its integers are structure and its floats may be swept, like those of any
definition. Examples that were never trained on and fresh ones at every step come from the same method.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab import Examples, Experiment, FullBatch, Given, Request, grid, run, train, use_compilation_cache
from descentlab.definitions import positive, real
from descentlab.models import AttentionLayer, Normal
from descentlab.optim import GramGD
from descentlab.tasks import AbstractTask, Arrays

use_compilation_cache()


class NeighbourSum(AbstractTask):
    """Gaussian tokens on a ring; the target of a token is the scaled sum of the first entries of its two neighbours.

    Args:
        tokens: tokens of a sample.
        dim: their width.
        scale: factor of the targets.
    """

    tokens: int = 4
    dim: int = 12
    scale: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        positive(self, "tokens")
        positive(self, "dim")

    def sample(self, count, world, *, key):
        """Independent tokens of norm about 1, with one number for each."""
        del world
        inputs = jax.random.normal(key, (count, self.tokens, self.dim)) / jnp.sqrt(1.0 * self.dim)
        first = inputs[..., :1]
        return Examples(inputs, self.scale * (jnp.roll(first, 1, axis=1) + jnp.roll(first, -1, axis=1)))


BASE = Experiment(
    task=NeighbourSum(),
    data=FullBatch(3),
    model=AttentionLayer(heads=2, head_dim=4, value=Normal(0.0)),
    optimizer=GramGD(1.0),
    trained=("value",),
    steps=200,
)

# HD = 24 columns for Nn = 12 targets: zero loss is in reach, and the loss falls.
loss = train(BASE, seeds=3)["loss"].values
print("loss at the first and the last step:", loss[:, 0], loss[:, -1])
assert (loss[:, -1] < 0.1 * loss[:, 0]).all()

# `scale` is a float: both experiments are lanes of one program. The value block starts at zero and the outputs are
# linear in it, so twice the targets are four times the loss at every step.
one, two = run([Request(each, (0,)) for each in grid(BASE, {"task.scale": [1.0, 2.0]})])
print("ratio of the losses:", two["loss"].values[0, -1] / one["loss"].values[0, -1])
np.testing.assert_allclose(two["loss"].values, 4 * one["loss"].values, rtol=1e-8)

# Data that is already there needs no class: arrays, identified by the hash of their content.
random = np.random.default_rng(0)
given = Arrays(Given("inputs", random.normal(size=(3, 4, 12))), Given("targets", random.normal(size=(3, 4))))
own = train(eqx.tree_at(lambda e: e.task, BASE, given))["loss"].values
print("loss on own arrays:", own[0, 0], own[0, -1])
assert own[0, -1] < own[0, 0]

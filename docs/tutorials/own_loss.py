"""A loss of one's own: Huber's, on targets of which a few are far off.

A loss is a definition with one method, which says what one target costs. Its mean, weights of examples and targets that
do not count come from the base class.
"""

import dataclasses

import jax
import jax.numpy as jnp

from descentlab import Examples, Experiment, FullBatch, train, use_compilation_cache
from descentlab.losses import AbstractLossFunction
from descentlab.models import AttentionLayer, Normal
from descentlab.optim import GD
from descentlab.tasks import AbstractTask

use_compilation_cache()


class Huber(AbstractLossFunction):
    """Squares of small errors, sizes of large ones, which then pull no harder than others."""

    def each(self, outputs, targets):
        """The loss of every target."""
        size = jnp.abs(outputs - targets)
        return jnp.where(size < 1, size**2 / 2, size - 1 / 2)


class FarOff(AbstractTask):
    """Every token must give its first coordinate; one target in ten is off by 20."""

    def sample(self, count, world, *, key):
        """Gaussian tokens."""
        del world
        inputs = jax.random.normal(key, (count, 4, 12)) / jnp.sqrt(12)
        wrong = jax.random.bernoulli(jax.random.fold_in(key, 1), 0.1, (count, 4, 1))
        return Examples(inputs, inputs[..., :1] + 20.0 * wrong)


class RobustFarOff(FarOff):
    """The same, compared by Huber's loss."""

    loss_function = Huber()


BASE = Experiment(
    task=RobustFarOff(),
    data=FullBatch(6),
    model=AttentionLayer(heads=2, head_dim=4, value=Normal(0.0)),
    optimizer=GD(0.5),
    trained=("value",),
    steps=200,
)

robust, squared = (train(one)["loss"].values[0] for one in (BASE, dataclasses.replace(BASE, task=FarOff())))
print("Huber's loss at the first and the last step:", robust[0], robust[-1])
print("least squares:", squared[0], squared[-1])
assert robust[-1] < robust[0] < 0.3 * squared[0]  # a few targets far off weigh less

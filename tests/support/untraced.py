"""Definitions of a user's own whose floats decide what is done outside of compiled programs."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from descentlab._check import real
from descentlab._definition import Untraced
from descentlab.data import AbstractData
from descentlab.datasets import AbstractDataset
from descentlab.objective import Examples, Splits
from descentlab.probes import AbstractProbe, Axis
from descentlab.schedule import AbstractSchedule, Every


class Signal(AbstractDataset):
    """Two classes of vectors, a mean of either sign under noise of variance one."""

    snr: float = eqx.field(default=1.0, converter=real)

    def load(self):
        """Eight examples a part, of two tokens each."""
        random = np.random.default_rng(0)
        labels = np.tile(np.arange(2, dtype=np.int32), 4)
        means = self.snr * (2.0 * labels[:, None, None] - 1)
        return Splits(*(Examples(means + random.normal(size=(8, 2, 4)), labels) for _ in range(3)))

    @property
    def classes(self):
        """Two."""
        return ("minus", "plus")

    @property
    def vocabulary(self):
        """Tokens are vectors."""
        return None


class Share(AbstractData, Untraced):
    """A share of ten examples."""

    share: float = eqx.field(default=0.5, converter=real)

    def drawn(self, task, world):
        """How many examples."""
        del task, world
        return int(np.ceil(10 * self.share))

    def at(self, objective, task, world, step, *, key):
        """All of them at every step."""
        del task, world, step, key
        return objective


class Geometric(AbstractSchedule):
    """Steps whose distance grows by a factor."""

    factor: float = eqx.field(default=2.0, converter=real)

    def steps(self, last):
        """Zero, and powers of the factor, rounded."""
        powers = self.factor ** np.arange(1 + np.log(max(last, 1)) / np.log(self.factor))
        return np.unique([0, *np.floor(powers[powers <= last]).astype(np.int64)])


class AboveLevel(AbstractProbe):
    """How far the loss is above a level, which is the label."""

    level: float = eqx.field(default=0.0, converter=real)
    when: AbstractSchedule = Every()

    def __call__(self, point):
        """The difference, one entry."""
        return jnp.stack([point.loss - self.level])

    def axes(self, params):
        """The level."""
        return (Axis("quantity", (f"above {self.level:g}",)),)

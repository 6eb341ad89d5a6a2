"""What the attention matrices look like."""

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import positive, real
from descentlab._types import Array, PyTree
from descentlab.axis import Axis
from descentlab.models import AttentionMatrices, offering
from descentlab.point import Point
from descentlab.probes.base import AbstractProbe
from descentlab.schedule import AbstractSchedule, LogSpaced

__all__ = ["AttentionShape", "LayerAttention", "Saturation"]


def _entropies(weights: Array) -> Array:
    """The entropy, in nats, of every row divided by the sum of its absolute values."""
    return jax.scipy.special.entr(_shares(weights)).sum(axis=-1)


def _shares(weights: Array) -> Array:
    """The absolute values of every row over their sum."""
    sizes = jnp.abs(weights)
    return sizes / jnp.maximum(sizes.sum(axis=-1, keepdims=True), jnp.finfo(sizes.dtype).tiny)


class AttentionShape(AbstractProbe):
    r"""Mean entropy of the attention rows and mean row sum, over samples, heads and tokens.

    The entropy, in nats, is that of the row divided by the sum of its absolute values,
    $-\sum_j p_{kj} \log p_{kj}$; the row sum is 1 under softmax and lies in (0, n] under the Gaussian kernel.

    Args:
        when: the steps at which it is recorded.
    """

    when: AbstractSchedule = LogSpaced(10)

    def __call__(self, point: Point) -> Array:
        """Entropy and row sum."""
        model = offering(point.objective.model(point.params), AttentionMatrices, "the probe AttentionShape")
        weights = jax.vmap(model.weights)(point.objective.inputs)
        return jnp.stack([_entropies(weights).mean(), weights.sum(axis=-1).mean()])

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """Entropy and row sum."""
        del params
        return (Axis("quantity", ("entropy", "row_sum")),)


class LayerAttention(AbstractProbe):
    r"""Mean entropy of the attention rows and mean row sum in each layer.

    The mean is over examples, heads and real tokens. Entropy, in nats, and row sum are those of `AttentionShape`.

    Args:
        when: the steps at which it is recorded.
        examples: of the batch, how many are looked at.

    Raises:
        Mistake: if `examples` is not above 0.
    """

    when: AbstractSchedule = LogSpaced(10)
    examples: int = 8

    def __check_init__(self):
        positive(self, "examples")

    def __call__(self, point: Point) -> Array:
        """Entropy and row sum of each layer."""
        model = offering(point.objective.model(point.params), AttentionMatrices, "the probe LayerAttention")

        def of(example: Array) -> Array:
            weights = model.weights(example)
            weights = weights.reshape(-1, *weights.shape[-3:])
            real = example > 0 if jnp.issubdtype(example.dtype, jnp.integer) else jnp.ones(example.shape[0], bool)
            real = jnp.pad(real, (weights.shape[-1] - real.shape[0], 0), constant_values=True)  # a class token
            numbers = jnp.stack([_entropies(weights), weights.sum(axis=-1)], axis=-1).mean(axis=1)
            return jnp.sum(jnp.where(real[None, :, None], numbers, 0), axis=1) / real.sum()

        return jax.lax.map(of, point.objective.examples.at(slice(self.examples)).inputs).mean(axis=0)

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The layers, and entropy and row sum in each."""
        del params
        return (Axis("layer"), Axis("quantity", ("entropy", "row_sum")))


class Saturation(AbstractProbe):
    r"""How far attention has collapsed to one token a row: the mean largest share, and the share of saturated rows.

    The shares of a row are its absolute values over their sum; a row is saturated where the largest is at least
    `level`. Over samples, heads and tokens (and layers, where there are several).

    Args:
        level: from which on a row counts as saturated.
        when: the steps at which they are recorded.

    Raises:
        Mistake: if `level` is not above 0.
    """

    level: float = eqx.field(default=0.99, converter=real)
    when: AbstractSchedule = LogSpaced(10)

    def __check_init__(self):
        positive(self, "level")

    def __call__(self, point: Point) -> Array:
        """The mean largest share and the share of saturated rows."""
        model = offering(point.objective.model(point.params), AttentionMatrices, "the probe Saturation")
        largest = jax.vmap(lambda example: _shares(model.weights(example)).max(axis=-1))(point.objective.inputs)
        return jnp.stack([largest.mean(), jnp.mean(largest >= self.level, dtype=largest.dtype)])

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The largest share and the saturated rows."""
        del params
        return (Axis("quantity", ("largest", "saturated")),)

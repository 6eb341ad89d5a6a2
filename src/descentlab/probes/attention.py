"""What the attention matrices look like."""

import jax
import jax.numpy as jnp

from descentlab._types import Array, PyTree
from descentlab.point import Point
from descentlab.probes.base import AbstractProbe
from descentlab.schedule import AbstractSchedule, LogSpaced

__all__ = ["AttentionShape"]


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
        weights = jax.vmap(point.objective.model(point.params).weights)(point.objective.inputs)
        sizes = jnp.abs(weights)
        shares = sizes / jnp.maximum(sizes.sum(axis=-1, keepdims=True), jnp.finfo(sizes.dtype).tiny)
        return jnp.stack([jax.scipy.special.entr(shares).sum(axis=-1).mean(), weights.sum(axis=-1).mean()])

    def labels(self, params: PyTree) -> tuple[str, ...]:
        """Names of the entries."""
        del params
        return ("entropy", "row_sum")

"""Attention of long sequences: a few queries at a time, so that memory grows linearly in length."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from descentlab._types import Array, Bool, Float
from descentlab.attention.base import KEPT, AbstractAttention
from descentlab.attention.heads import Heads

__all__ = ["in_chunks"]

Attend = Callable[[Array, Array, Array, Array | None], Array]


def in_chunks(attention: AbstractAttention | Heads, chunk: int | None) -> Attend:
    """The kernel's outputs, computed for `chunk` queries at a time.

    Equal to the kernel within rounding. Each row of an attention matrix depends on its own query alone, so that rows
    are computed in turn; the backward pass computes them again instead of keeping them. Besides inputs and outputs,
    memory is that of chunk x keys numbers.

    Args:
        attention: the kernel.
        chunk: queries at a time; `None` takes all at once.
    """
    return attention if chunk is None else functools.partial(_attend, attention, chunk)


def _attend(
    attention: AbstractAttention | Heads,
    chunk: int,
    query: Float[Array, "time head"],
    key: Float[Array, "other head"],
    value: Float[Array, "other out"],
    mask: Bool[Array, "#time other"] | None = None,
) -> Float[Array, "time out"]:
    """The kernel's outputs for one head."""
    time = query.shape[0]
    rows = -(-time // chunk) * chunk
    padded = jnp.pad(query, ((0, rows - time), (0, 0))).reshape(-1, chunk, query.shape[1])
    seen = None
    if mask is not None and mask.shape[0] > 1:
        seen = jnp.pad(mask, ((0, rows - time), (0, 0))).reshape(-1, chunk, key.shape[0])

    @functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.save_only_these_names(KEPT))
    def some(part: tuple[Array, Array | None, Array]) -> Array:
        return attention.at(part[2])(part[0], key, value, mask if part[1] is None else part[1])

    return jax.lax.map(some, (padded, seen, jnp.arange(0, rows, chunk))).reshape(rows, -1)[:time]

"""The loss on a grid of a slice, as one compiled program whose memory does not grow with the grid."""

import dataclasses
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._types import Array, Float, PyTree
from descentlab.landscape.planes import Slice

__all__ = ["Loss", "Progress", "Surface", "along", "surface"]

Loss = Callable[[PyTree], Float[Array, ""]]
"""A function of a tree of parameters; the arrays of a module's bound method are arguments of the program."""

Progress = Callable[[int, int], None]
"""Called with points done and points in all."""

SMALL = 2**18
"""A loss with fewer bytes of data has its whole grid evaluated in one call: that takes less than a second."""

MEMORY = 2**28
"""Bytes that points which are evaluated together may take on an accelerator."""


@dataclasses.dataclass(frozen=True)
class Surface:
    """The loss on a regular grid of a plane.

    Attributes:
        first: coordinates along the first direction, equally spaced.
        second: those along the second.
        values: the loss, rows along the first direction, columns along the second.
    """

    first: np.ndarray
    second: np.ndarray
    values: np.ndarray

    @property
    def spacing(self) -> tuple[float, float]:
        """Distance of neighbours along both directions, in coordinates."""
        return float(self.first[1] - self.first[0]), float(self.second[1] - self.second[0])


@eqx.filter_jit
def _one(loss: Loss, where: Slice, coordinates: Array) -> Array:
    return loss(where(coordinates))


@eqx.filter_jit
def _many(loss: Loss, where: Slice, coordinates: Array, together: int) -> Array:
    def one(coordinates: Array) -> Array:
        return loss(where(coordinates))

    # Mapped over one at a time is a loop, which on a processor is the fastest: one point stays in its cache.
    return jax.lax.map(one, coordinates, batch_size=together if together > 1 else None)


def _together(loss: Loss, where: Slice, coordinates: Array) -> int:
    """How many points are evaluated at once."""
    if jax.default_backend() == "cpu":
        return 1
    # Equinox's type of a compiled call names no memory analysis.
    needed = _one.lower(loss, where, coordinates[0]).compile().compiled.memory_analysis()  # pyright: ignore
    return int(np.clip(MEMORY // max(1, needed.temp_size_in_bytes), 1, coordinates.shape[0]))


def along(
    loss: Loss,
    where: Slice,
    coordinates: Float[Array, "point axis"] | np.ndarray,
    *,
    progress: Progress | None = None,
    pieces: int = 1,
) -> np.ndarray:
    """The loss at points of a slice.

    Args:
        loss: what is evaluated.
        where: the slice.
        coordinates: one row a point.
        progress: told how far the work is, after each piece.
        pieces: into how many calls of the one program the points are cut; they must divide their number.

    Returns:
        One number a point, in the precision of the parameters.
    """
    rows = jnp.asarray(coordinates, dtype=jax.tree.leaves(where.center)[0].dtype)
    parts = rows.reshape(pieces, -1, rows.shape[1])
    together = _together(loss, where, parts[0])
    found = []
    for done, part in enumerate(parts, start=1):
        found.append(np.asarray(_many(loss, where, part, together)))
        if progress is not None:
            progress(done * part.shape[0], rows.shape[0])
    return np.concatenate(found)


def surface(
    loss: Loss,
    plane: Slice,
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    *,
    progress: Progress | None = None,
) -> Surface:
    """The loss on a grid of a plane, by one compiled program, called once or, on much data, once a row.

    Args:
        loss: what is evaluated.
        plane: a slice with two directions.
        first: equally spaced coordinates along the first direction.
        second: those along the second.
        progress: told how far the work is.

    Examples:
        >>> import jax.numpy as jnp
        >>> plane = Slice(jnp.zeros(2), (jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])))
        >>> surface(lambda x: jnp.sum(x**2), plane, [-1.0, 0.0, 1.0], [0.0, 2.0]).values.tolist()
        [[1.0, 5.0], [0.0, 4.0], [1.0, 5.0]]
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    grid = np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1).reshape(-1, 2)
    data = sum(leaf.nbytes for leaf in jax.tree.leaves(loss) if eqx.is_array(leaf))
    values = along(loss, plane, grid, progress=progress, pieces=1 if data < SMALL else a.size)
    return Surface(a, b, values.reshape(a.size, b.size))

"""Segments and planes through parameter space: a centre, directions, and what their coordinates mean."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from descentlab._types import Array, Float, PRNGKeyArray, PyTree
from descentlab.landscape.directions import random_direction
from descentlab.mistake import Mistake

__all__ = ["NoPlane", "Place", "Slice", "common_plane", "random_plane", "segment", "trajectory_plane"]

PARALLEL = 1e-6
"""Two directions whose sine is below this span no plane."""


class NoPlane(Mistake):
    """Points span no plane: what was wanted, what came, what to do."""


class Place(NamedTuple):
    """Where a point lies, seen from a slice.

    Attributes:
        coordinates: of the closest point of the slice.
        distance: Euclidean distance to that point.
    """

    coordinates: Float[Array, "... axis"]
    distance: Float[Array, "..."]


class Slice(eqx.Module):
    r"""The points $\theta(c) = \theta_c + \sum_i c_i d_i$.

    Attributes:
        center: $\theta_c$, a tree of parameters.
        directions: the $d_i$, trees like it: one of a segment, two of a plane.
    """

    center: PyTree
    directions: tuple[PyTree, ...]

    def __call__(self, coordinates: Float[Array, " axis"]) -> PyTree:
        """The parameters at the given coordinates."""
        moved = self.center
        for coordinate, direction in zip(coordinates, self.directions, strict=True):
            moved = jax.tree.map(lambda at, step, c=coordinate: at + c * step, moved, direction)
        return moved

    @property
    def length(self) -> Float[Array, ""]:
        """The Euclidean norm of the first direction, which is the length of a unit of its coordinate."""
        return jnp.linalg.norm(ravel_pytree(self.directions[0])[0])

    def place(self, flat: Float[Array, "... param"]) -> Place:
        """Where points lie, by least squares.

        Args:
            flat: parameters as vectors in tree order, as the probe `Parameters` records them.
        """
        basis = jnp.stack([ravel_pytree(direction)[0] for direction in self.directions], axis=1)
        away = flat - ravel_pytree(self.center)[0]
        coordinates = away @ jnp.linalg.pinv(basis).T
        return Place(coordinates, jnp.linalg.norm(away - coordinates @ basis.T, axis=-1))


def segment(start: PyTree, end: PyTree) -> Slice:
    """From one point (coordinate 0) straight to another (coordinate 1)."""
    return Slice(start, (jax.tree.map(jnp.subtract, end, start),))


def random_plane(params: PyTree, *, key: PRNGKeyArray) -> Slice:
    """A plane through a point along two random directions; a coordinate of 1 is a change as large as the weights.

    See `random_direction` for their normalisation. The same key gives the same draw for every kernel.

    Args:
        params: the point, which gets the coordinates (0, 0).
        key: decides the draw.
    """
    first, second = jax.random.split(key)
    return Slice(params, (random_direction(params, key=first), random_direction(params, key=second)))


def trajectory_plane(start: PyTree, path: Float[Array, "record param"]) -> Slice:
    r"""The plane of a path: $d_1$ leads from its start to its end, $d_2$ is its first principal direction beside that.

    The start has the coordinates (0, 0) and the end (1, 0). The second direction is the first right singular vector of
    the path's points, seen from the start and without their part along $d_1$, centred; it is orthogonal to $d_1$ and
    made as long.

    Args:
        start: first point.
        path: the points after it as vectors in tree order; the last one is the end.

    Raises:
        NoPlane: if the path goes nowhere, or never leaves the straight line.
    """
    origin, restore = ravel_pytree(start)
    first = path[-1] - origin
    length = jnp.linalg.norm(first)
    if not length > 0:
        raise NoPlane("a plane through a path needs an end that differs from its start; these are the same point")
    away = path - origin
    beside = away - jnp.outer(away @ first, first) / length**2
    _, spread, rows = jnp.linalg.svd(beside - beside.mean(axis=0), full_matrices=False)
    if not spread[0] > PARALLEL * length:
        raise NoPlane(
            "a plane through a path needs points beside the straight line from start to end, but these "
            f"{path.shape[0]} lie on it; record parameters at more steps"
        )
    second = rows[0] - (rows[0] @ first) * first / length**2
    return Slice(start, (restore(first), restore(length * second / jnp.linalg.norm(second))))


def common_plane(start: PyTree, ends: Float[Array, "2 param"]) -> Slice:
    r"""The one plane through a start and two ends.

    The start has the coordinates (0, 0) and the first end (1, 0). The second direction is the part of the second end's
    difference from the start that is orthogonal to the first one's, made as long as that; where the second end lies is
    what `place` says of it, at distance 0.

    Args:
        start: where both runs began.
        ends: where they ended, as vectors in tree order.

    Raises:
        NoPlane: if the three points lie on one line.
    """
    origin, restore = ravel_pytree(start)
    first, other = ends - origin
    length, reach = jnp.linalg.norm(first), jnp.linalg.norm(other)
    beside = other - (other @ first) * first / jnp.where(length > 0, length, 1.0) ** 2
    if not (length > 0 and jnp.linalg.norm(beside) > PARALLEL * reach):
        raise NoPlane("a common plane needs a start and two ends that are not on one line; these are")
    return Slice(start, (restore(first), restore(length * beside / jnp.linalg.norm(beside))))

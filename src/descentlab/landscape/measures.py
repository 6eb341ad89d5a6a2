"""Numbers of a surface, each with its error: minima, curvature, and the barrier on a segment."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._types import Array
from descentlab.estimate import Estimate
from descentlab.landscape.planes import Slice
from descentlab.landscape.surfaces import Loss, Surface
from descentlab.mistake import Mistake

__all__ = ["Minima", "barrier", "laplacian", "local_minima", "negative_share"]

ROUNDS = 40
"""Steps after which the descent from a cell of the grid is given up."""

ARRIVED = 0.05
"""A descent has arrived when its next step is shorter than this share of a cell."""


class Minima(NamedTuple):
    """Strict local minima of the loss within a plane.

    Attributes:
        coordinates: one row a minimum, lowest first.
        values: the loss there.
        candidates: cells of the grid that are below all their neighbours, from which the minima were looked for.
        unresolved: how many of the descents from there had not arrived anywhere when they were given up.
    """

    coordinates: np.ndarray
    values: np.ndarray
    candidates: int
    unresolved: int


def _cells(surface: Surface) -> np.ndarray:
    """Row and column of the inner cells that lie below their eight neighbours, on average by more than rounding."""
    values = surface.values
    inner = values[1:-1, 1:-1]
    rows, columns = values.shape
    shifts = [(i, j) for i in (0, 1, 2) for j in (0, 1, 2) if (i, j) != (1, 1)]
    around = np.stack([values[i : rows - 2 + i, j : columns - 2 + j] for i, j in shifts])
    clear = around.astype(np.float64).mean(axis=0) - inner > _rounding_of(inner)
    return np.argwhere((inner <= around).all(axis=0) & clear) + 1


def _rounding_of(values: np.ndarray) -> np.ndarray:
    """How far rounding may move a loss."""
    return 16 * np.finfo(values.dtype).eps * np.abs(values)


def local_minima(loss: Loss, plane: Slice, surface: Surface) -> Minima:
    """The strict local minima of the loss within a plane, inside the grid.

    A cell below all its neighbours is not yet a minimum: in a narrow valley that runs askew of the grid there are many
    such cells. From each of them Newton's method with a trust region descends in the two coordinates, and what counts
    is where it arrives, if the loss rises from there in every direction by more than rounding over one cell. Ends less
    than a cell apart are one minimum. A minimum whose valley is narrower than a cell, and which no cell sees, is
    missed: the number is one of this grid.

    Args:
        loss: the function of the surface.
        plane: the plane of the surface.
        surface: its values.
    """
    cells = _cells(surface)
    spacing = np.asarray(surface.spacing)
    if not len(cells):
        return Minima(np.empty((0, 2)), np.empty(0), 0, 0)
    starts = np.stack([surface.first[cells[:, 0]], surface.second[cells[:, 1]]], axis=1)
    dtype = jax.tree.leaves(plane.center)[0].dtype
    found = [_descend(loss, plane, jnp.asarray(start, dtype), jnp.asarray(spacing, dtype)) for start in starts]
    ends, values, steps, rises = (np.stack(parts).astype(np.float64) for parts in zip(*found, strict=True))
    low = np.asarray([surface.first[0], surface.second[0]])
    high = np.asarray([surface.first[-1], surface.second[-1]])
    inside = np.all((ends > low) & (ends < high), axis=1)
    arrived = steps < ARRIVED
    strict = inside & arrived & (rises > _rounding_of(values.astype(dtype)))
    order = np.argsort(values[strict])
    ends, values = ends[strict][order], values[strict][order]
    kept: list[int] = []
    for i, end in enumerate(ends):
        if all(np.any(np.abs(end - ends[j]) > spacing) for j in kept):
            kept.append(i)
    return Minima(ends[kept], values[kept], len(cells), int(np.sum(inside & ~arrived)))


@eqx.filter_jit
def _descend(loss: Loss, plane: Slice, start: Array, spacing: Array) -> tuple[Array, Array, Array, Array]:
    """Where a descent ends; the loss there; its next step and the smallest rise over one cell, in cells."""
    cell, value, step, rise = _descent(lambda cell: loss(plane(start + cell * spacing)), jnp.zeros_like(start))
    return start + cell * spacing, value, step, rise


def _descent(local: Callable[[Array], Array], origin: Array) -> tuple[Array, Array, Array, Array]:
    """Newton's method with a trust region of one cell, down from the origin of two coordinates counted in cells."""

    def newton(cell: Array) -> tuple[Array, Array, Array]:
        gradient = jax.jacfwd(local)(cell)
        values, vectors = jnp.linalg.eigh(jax.jacfwd(jax.jacfwd(local))(cell))
        floor = jnp.finfo(values.dtype).eps * jnp.abs(values).max() + jnp.finfo(values.dtype).tiny
        step = -vectors @ ((vectors.T @ gradient) / jnp.maximum(jnp.abs(values), floor))
        return step, -0.5 * gradient @ step, values[0]

    def goes_on(state: tuple) -> Array:
        _, value, step, gain, radius, count = state
        promising = (jnp.linalg.norm(step) > 0.02 * ARRIVED) & (gain > 0.5 * rounding * jnp.abs(value))
        return (count < ROUNDS) & promising & (radius > 1e-6)

    def go(state: tuple) -> tuple:
        cell, value, step, _, radius, count = state
        size = jnp.linalg.norm(step)
        there = cell + step * jnp.minimum(1.0, radius / size)
        value_there = local(there)
        better = value_there < value
        cell, value = jnp.where(better, there, cell), jnp.where(better, value_there, value)
        # What was tried and was not better is tried again with a smaller radius.
        radius = jnp.where(better, jnp.minimum(2 * radius, 1.0), 0.25 * jnp.minimum(radius, size))
        return cell, value, *newton(cell)[:2], radius, count + 1

    rounding = jnp.finfo(origin.dtype).eps
    state = (origin, local(origin), *newton(origin)[:2], jnp.ones((), origin.dtype), 0)
    cell, value, *_ = jax.lax.while_loop(goes_on, go, state)
    step, gain, curvature = newton(cell)
    size = jnp.linalg.norm(step)
    # Where a step can gain no more than rounding, the descent has arrived however long the step.
    left = jnp.where(gain > rounding * jnp.abs(value), size, 0.0)
    return cell + jnp.where(size < ARRIVED, step, 0.0), value, left, 0.5 * curvature


def _differences(surface: Surface, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Second differences of the cells at least two from the edge: along both directions, and mixed."""
    f = surface.values.astype(np.float64)
    rows, columns = f.shape
    if min(rows, columns) < 5:
        raise Mistake(f"curvature needs a grid of at least 5 x 5 points, got {rows} x {columns}")

    def at(i: int, j: int) -> np.ndarray:
        i, j = 2 + i * stride, 2 + j * stride
        return f[i : rows - 4 + i, j : columns - 4 + j]

    a, b = (stride * spacing for spacing in surface.spacing)
    first = (at(1, 0) - 2 * at(0, 0) + at(-1, 0)) / a**2
    second = (at(0, 1) - 2 * at(0, 0) + at(0, -1)) / b**2
    mixed = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4 * a * b)
    return first, second, mixed


def _rounding(surface: Surface) -> float:
    """How far rounding of the loss may move a second difference."""
    eps = np.finfo(surface.values.dtype).eps
    return float(8 * eps * np.abs(surface.values).max() / min(surface.spacing) ** 2)


def laplacian(surface: Surface, *, unit: float = 1.0) -> Estimate:
    r"""$\partial^2 f/\partial a^2 + \partial^2 f/\partial b^2$ at every cell at least two from the edge.

    By central differences; the error is what the difference of twice the spacing says of it, half of their
    distance, plus rounding.

    Args:
        surface: the loss on a plane.
        unit: length of a unit of the coordinates; 1 leaves the Laplacian in coordinates.

    Raises:
        Mistake: if the grid has fewer than 5 points a side.
    """
    near, far = (first + second for first, second, _ in (_differences(surface, stride) for stride in (1, 2)))
    return Estimate(near / unit**2, (np.abs(near - far) / 2 + 2 * _rounding(surface)) / unit**2)


def negative_share(surface: Surface) -> Estimate:
    """The share of cells at least two from the edge at which the loss curves downwards in some direction of the plane.

    A cell counts when the smaller eigenvalue of its 2 x 2 Hessian is below 0 by more than its error; the error of the
    share is the share of cells where the sign is not known.

    Args:
        surface: the loss on a plane.

    Raises:
        Mistake: if the grid has fewer than 5 points a side.
    """
    near, far = (_smaller(*_differences(surface, stride)) for stride in (1, 2))
    error = np.abs(near - far) / 2 + 2 * _rounding(surface)
    return Estimate(float(np.mean(near < -error)), float(np.mean(np.abs(near) <= error)))


def _smaller(first: np.ndarray, second: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """The smaller eigenvalue of symmetric 2 x 2 matrices."""
    return 0.5 * (first + second) - np.sqrt(0.25 * (first - second) ** 2 + mixed**2)


def barrier(values: np.ndarray) -> Estimate:
    r"""The height that has to be climbed along a segment, $\max_{s < t} f(t) - f(s)$: 0 where the loss never rises.

    The error is how much the height changes when every other point is left out. A height within rounding is 0.

    Args:
        values: the loss at equally spaced points, from the start to the end.

    Examples:
        >>> import numpy as np
        >>> float(barrier(np.array([4.0, 1.0, 3.0, 0.0, 0.5])).value)
        2.0

    References:
        Lucas et al. (2021), arXiv:2104.11044, section 3.
    """
    numbers = np.asarray(values, dtype=np.float64)

    rounding = 4 * np.finfo(np.asarray(values).dtype).eps * np.abs(numbers).max()

    def height(of: np.ndarray) -> float:
        found = float(np.max(of - np.minimum.accumulate(of)))
        return found if found > rounding else 0.0

    return Estimate(height(numbers), abs(height(numbers) - height(numbers[::2])))

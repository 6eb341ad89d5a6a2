"""Segments and planes: what their coordinates mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from descentlab.landscape import common_plane, random_plane, segment, trajectory_plane
from support.problems import SMALL, started

pytestmark = pytest.mark.usefixtures("float64")


def points(count, seed=0):
    """Parameters of a small layer, drawn at random."""
    _, params = started(SMALL)
    flat, restore = ravel_pytree(params)
    draws = jax.random.normal(jax.random.key(seed), (count, flat.size))
    return [restore(draw) for draw in draws], draws


def flat(tree):
    return np.asarray(ravel_pytree(tree)[0])


def directions(plane):
    return np.stack([flat(one) for one in plane.directions])


def test_a_segment_leads_from_one_point_to_the_other():
    (start, end), rows = points(2)
    line = segment(start, end)
    for t in (0.0, 0.25, 1.0):
        np.testing.assert_allclose(flat(line(jnp.asarray([t]))), (1 - t) * rows[0] + t * rows[1], rtol=1e-12)


def test_a_common_plane_holds_all_three_points_at_the_stated_coordinates():
    (start, *_), rows = points(3)
    plane = common_plane(start, rows[1:])
    found = plane.place(rows)
    np.testing.assert_allclose(found.distance, 0.0, atol=1e-12)
    np.testing.assert_allclose(found.coordinates[:2], [[0, 0], [1, 0]], atol=1e-12)
    away = rows[2] - rows[0]
    np.testing.assert_allclose(np.linalg.norm(found.coordinates[2]) * plane.length, np.linalg.norm(away), rtol=1e-12)
    np.testing.assert_allclose(flat(plane(found.coordinates[2])), rows[2], rtol=1e-10)
    gram = directions(plane) @ directions(plane).T
    np.testing.assert_allclose(gram, plane.length**2 * np.eye(2), atol=1e-10 * gram.max())


def test_a_trajectory_plane_is_that_of_a_path_in_a_plane():
    (start, *_), rows = points(3)
    along, beside = rows[1] - rows[0], rows[2] - rows[0]
    times = np.linspace(0, 1, 9)
    path = rows[0] + times[:, None] * along + (times * (1 - times))[:, None] * beside
    plane = trajectory_plane(start, jnp.asarray(path[1:]))
    found = plane.place(jnp.asarray(path))
    np.testing.assert_allclose(found.distance, 0.0, atol=1e-10)
    np.testing.assert_allclose(found.coordinates[np.asarray([0, -1])], [[0, 0], [1, 0]], atol=1e-10)
    gram = directions(plane) @ directions(plane).T
    np.testing.assert_allclose(gram, plane.length**2 * np.eye(2), atol=1e-9 * gram.max())


def test_the_second_direction_is_the_one_of_largest_spread():
    (start, *_), rows = points(3)
    along = rows[1] - rows[0]
    axes = np.linalg.qr(np.stack([along, *rows[2:], *points(2, seed=1)[1]]).T)[0].T[1:3]
    times = np.linspace(0, 1, 30)
    path = rows[0] + times[:, None] * along + np.outer(3 * np.sin(np.pi * times), axes[0])
    path = path + np.outer(np.sin(2 * np.pi * times), axes[1])
    second = directions(trajectory_plane(start, jnp.asarray(path[1:])))[1]
    np.testing.assert_allclose(abs(second @ axes[0]), np.linalg.norm(second), rtol=1e-6)


def test_place_gives_the_distance_from_the_plane():
    (center, *_), rows = points(2)
    plane = random_plane(center, key=jax.random.key(2))
    basis = np.linalg.qr(directions(plane).T)[0]
    off = np.asarray(rows[1]) - basis @ (basis.T @ np.asarray(rows[1]))
    there = flat(plane(jnp.asarray([0.4, -1.3]))) + off
    found = plane.place(jnp.asarray(there))
    np.testing.assert_allclose(found.coordinates, [0.4, -1.3], rtol=1e-9)
    np.testing.assert_allclose(found.distance, np.linalg.norm(off), rtol=1e-9)


def test_points_on_a_line_span_no_plane():
    (start, _), rows = points(2)
    middle = 0.5 * (rows[0] + rows[1])
    with pytest.raises(ValueError, match="not on one line"):
        common_plane(start, jnp.stack([rows[1], middle]))
    with pytest.raises(ValueError, match="not on one line"):
        common_plane(start, jnp.stack([rows[0], rows[1]]))
    with pytest.raises(ValueError, match="these 2 lie on it; record parameters at more steps"):
        trajectory_plane(start, jnp.stack([middle, rows[1]]))
    with pytest.raises(ValueError, match="the same point"):
        trajectory_plane(start, rows[:1])

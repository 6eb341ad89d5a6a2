"""Grids against point-by-point evaluation."""

import jax
import numpy as np
import pytest

from descentlab.landscape import along, random_plane, segment, surface
from support.naive import WEIGHTS, loss
from support.problems import SMALL, in_numpy, started

pytestmark = pytest.mark.usefixtures("float64")


def test_a_grid_is_the_naive_loss_at_every_point():
    objective, params = started(SMALL)
    plane = random_plane(params, key=jax.random.key(0))
    inputs, targets, at = in_numpy(SMALL)
    steps = [{name: np.asarray(getattr(d, name)) for name in at} for d in plane.directions]
    weights = WEIGHTS[type(SMALL.model.attention)](SMALL.model.attention)
    first, second = np.linspace(-1, 1, 3), np.linspace(0, 2, 4)
    found = surface(objective.loss, plane, first, second)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            there = {name: at[name] + a * steps[0][name] + b * steps[1][name] for name in at}
            np.testing.assert_allclose(found.values[i, j], loss(inputs, targets, there, weights), rtol=1e-10)
    assert found.spacing == (1.0, pytest.approx(2 / 3))


def test_a_grid_does_not_depend_on_the_pieces_and_tells_how_far_it_is():
    objective, params = started(SMALL)
    line = segment(params, jax.tree.map(lambda x: 2 * x, params))
    told = []
    points = np.linspace(0, 1, 6)[:, None]
    cut = along(objective.loss, line, points, pieces=3, progress=lambda done, total: told.append((done, total)))
    np.testing.assert_array_equal(cut, along(objective.loss, line, points))
    assert told == [(2, 6), (4, 6), (6, 6)]
    np.testing.assert_allclose(cut[0], objective.loss(params), rtol=1e-12)


def test_points_that_are_evaluated_together_give_the_same(monkeypatch):
    objective, params = started(SMALL)
    plane = random_plane(params, key=jax.random.key(0))
    alone = surface(objective.loss, plane, np.linspace(-1, 1, 3), np.linspace(-1, 1, 5)).values
    monkeypatch.setattr(jax, "default_backend", lambda: "an accelerator")
    together = surface(objective.loss, plane, np.linspace(-1, 1, 3), np.linspace(-1, 1, 5)).values
    np.testing.assert_allclose(together, alone, rtol=1e-12)

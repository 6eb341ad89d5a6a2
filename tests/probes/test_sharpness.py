"""Sharpness along a run: against dense Hessians, from the vectors of the last look, and along the update."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from descentlab.curvature import Krylov, eigen
from descentlab.data import FullBatch
from descentlab.models import AttentionLayer
from descentlab.optim import GD, Adam
from descentlab.probes import CriticalSharpness, Loss, Parameters, Sharpness
from descentlab.schedule import Every
from support.problems import SMALL, VALUE_ONLY, point_of, run, started

pytestmark = pytest.mark.usefixtures("float64")
LAYER = dataclasses.replace(
    SMALL,
    model=AttentionLayer(heads=2, head_dim=4),
    data=FullBatch(4),
    optimizer=GD(0.02),
    probes={
        "loss": Loss(Every()),
        "parameters": Parameters(Every(10)),
        "sharpness": Sharpness(Every(10), top=2, bottom=1),
        "critical": CriticalSharpness(Every(), tolerance=1e-3),
    },
    steps=40,
)


def dense(experiment, flat):
    objective, params = started(experiment)
    unravel = ravel_pytree(params)[1]
    return np.asarray(jax.hessian(lambda vector: objective.loss(unravel(vector)))(jnp.asarray(flat)))


def test_recorded_eigenvalues_are_those_of_the_hessian_at_the_recorded_parameters():
    record = run([LAYER])[0]
    for place, flat in enumerate(record["parameters"].values[0]):
        spectrum = np.linalg.eigvalsh(dense(LAYER, flat))
        values, errors = (record["sharpness"].sel(quantity=q).values[0, place] for q in ("value", "error"))
        np.testing.assert_allclose(values, [spectrum[-1], spectrum[-2], spectrum[0]], rtol=1e-5)
        assert np.all(errors <= 1.01e-4 * np.abs(values))
    assert record["sharpness"].entries("eigenvalue") == ("top.0", "top.1", "bottom.0")


def test_a_look_from_the_last_vectors_takes_fewer_products(monkeypatch):
    monkeypatch.setattr(eigen, "DENSE_ROWS", 0)
    probe = Sharpness(top=3, method=Krylov(1e-7, 300, verify=False))
    point = point_of(LAYER)
    _, memory = probe.look(point, probe.begin(point))
    moved = dataclasses.replace(point, params=jax.tree.map(lambda leaf: 1.001 * leaf, point.params))
    warm, cold = probe.look(moved, memory)[0], probe(moved)
    np.testing.assert_allclose(warm[:, 0], cold[:, 0], rtol=1e-9)
    assert np.all(warm[:, 2] < cold[:, 2])


def test_along_a_gradient_step_of_a_quadratic_loss_it_is_the_rayleigh_quotient():
    experiment = dataclasses.replace(LAYER, trained=("value",))
    point = point_of(experiment)
    gradient = np.asarray(ravel_pytree(point.gradient)[0])
    curvature = gradient @ dense(experiment, ravel_pytree(point.params)[0]) @ gradient / (gradient @ gradient)
    for rate in (1e-4, 0.3 / curvature, 30 / curvature):
        change = jax.tree.map(lambda leaf, rate=rate: -rate * leaf, point.gradient)
        seen = dataclasses.replace(point, change=change, next_step_size=jnp.asarray(rate))
        value, error, losses = CriticalSharpness(tolerance=1e-4)(seen)
        assert abs(value - curvature) <= error
        assert error <= 1.1e-4 * value
        assert losses < 40


def test_no_value_where_the_loss_never_rises():
    point = point_of(VALUE_ONLY)
    still = dataclasses.replace(
        point, change=jax.tree.map(jnp.zeros_like, point.gradient), next_step_size=jnp.asarray(0.1)
    )
    assert np.isnan(CriticalSharpness()(still)[0])


@pytest.mark.parametrize("optimizer", [GD(0.02), Adam(0.01)])
def test_the_loss_falls_at_a_step_just_when_its_rate_is_below_the_critical_one(optimizer):
    experiment = dataclasses.replace(LAYER, optimizer=optimizer)
    record = run([experiment])[0]
    loss = record["loss"].values[0]
    critical, error = (record["critical"].sel(quantity=q).values[0, :-1] for q in ("sharpness", "error"))
    stable, unstable = critical + error < 2 / optimizer.lr, critical - error > 2 / optimizer.lr
    assert stable.sum() > 10
    assert np.all(np.diff(loss)[stable] <= 0)
    assert np.all(np.diff(loss)[unstable] > 0)


def test_looking_changes_nothing():
    bare = dataclasses.replace(LAYER, probes={"loss": Loss(Every())})
    np.testing.assert_array_equal(run([LAYER])[0]["loss"].values, run([bare])[0]["loss"].values)


def test_a_run_cut_in_segments_keeps_the_vectors():
    np.testing.assert_array_equal(
        run([LAYER], cuts=(7, 20))[0]["sharpness"].values, run([LAYER])[0]["sharpness"].values
    )


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at least one eigenvalue, got 0 and 0"):
        Sharpness(top=0)
    with pytest.raises(ValueError, match="needs the next update; record it during a run"):
        CriticalSharpness()(point_of(SMALL))


def test_the_preconditioned_sharpness_is_that_of_the_steps_of_adam():
    probes = {
        "plain": Sharpness(Every(20)),
        "sharpness": Sharpness(Every(20), preconditioned=True),
        "parameters": Parameters(Every(1)),
    }
    rule = Adam(0.02, eps=1e-4)
    experiment = dataclasses.replace(LAYER, optimizer=rule, probes=probes, steps=20)
    record = run([experiment])[0]
    objective, params = started(experiment)
    unravel = ravel_pytree(params)[1]
    squares = 0.0
    for flat in record["parameters"].values[0]:
        slope = ravel_pytree(jax.grad(objective.loss)(unravel(jnp.asarray(flat))))[0]
        squares = rule.b2 * squares + (1 - rule.b2) * np.asarray(slope) ** 2
    root = np.sqrt((1 - rule.b1**21) * (np.sqrt(squares / (1 - rule.b2**21)) + rule.eps))
    last = dense(experiment, record["parameters"].values[0, -1])
    exact = np.linalg.eigvalsh(last / root / root[:, None])[-1]
    found = record["sharpness"].sel(eigenvalue="top.0", quantity="value").values[0, -1]
    np.testing.assert_allclose(found, exact, rtol=1e-4)
    assert abs(found / record["plain"].sel(eigenvalue="top.0", quantity="value").values[0, -1] - 1) > 0.5
    plain = dataclasses.replace(experiment, optimizer=GD(0.02))
    one = run([plain])[0]
    np.testing.assert_array_equal(one["sharpness"].values, one["plain"].values)

"""The classifier on functions whose stationary points are known, and its flat directions against the Hessian."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from descentlab._describe import replace_at
from descentlab._tree import select
from descentlab.attention import Gaussian, Linear, NormalizedGaussian, Softmax
from descentlab.losses import AbstractLossFunction
from descentlab.objective import Examples, Objective
from descentlab.optim import Armijo
from descentlab.probes import Loss
from descentlab.runs import Run
from descentlab.schedule import At
from descentlab.theory.endings import EndState, in_words
from descentlab.theory.flat import flat_projector
from descentlab.theory.stationary import Kind, classify
from descentlab.training import train
from support.problems import SMALL, started

pytestmark = pytest.mark.usefixtures("float64")
FAST = functools.partial(eqx.filter_jit, compiler_options={"xla_backend_optimization_level": 0})


class Surface(eqx.Module):
    """A model whose output for every example is a function of its one block."""

    at: jax.Array
    function: str = eqx.field(static=True)

    def __call__(self, example):
        return SURFACES[self.function](*self.at)


class AsItIs(AbstractLossFunction):
    """The mean output is the loss."""

    def each(self, outputs, targets):
        return outputs


SURFACES = {
    "bowl": lambda x, y: 1 + x**2 + 3 * y**2 + x**3,
    "zero": lambda x, y: (x * y - 1) ** 2,
    "saddle": lambda x, y: 2 + x**2 - 0.5 * y**2 + y**4,
    "far": lambda x, y: 1 + jnp.exp(-x) + 0.0 * x + (y - 1) ** 2,
    "algebraic": lambda x, y: 1 + 1 / (1 + x**2) + (y - 1) ** 2,
    "quartic": lambda x, y: 1 + x**4 + y**2,
    "slope": lambda x, y: 5 + x + 0.1 * y**2,
}


@FAST
def ending(name, at, start):
    (params, frozen), (start, _) = (select(Surface(place, name), ("at",)) for place in (at, start))
    return classify(Objective(frozen, Examples(jnp.zeros((1, 1)), jnp.zeros((1, 1))), AsItIs()), params, start)


@pytest.mark.parametrize(
    ("name", "at", "kind"),
    [
        ("bowl", (1e-3, -2e-3), Kind.MINIMUM),
        ("zero", (2.0, 0.5001), Kind.ZERO),
        ("saddle", (1e-3, 1e-4), Kind.SADDLE),
        ("far", (7.0, 1.0), Kind.DRIFTING),
        ("algebraic", (60.0, 1.0), Kind.DRIFTING),
        ("quartic", (0.01, 0.0), Kind.DEGENERATE),
        ("slope", (0.0, 1.0), Kind.NOT_CONVERGED),
        ("bowl", (3.0, 1.0), Kind.NOT_CONVERGED),
    ],
)
def test_known_surfaces(name, at, kind):
    found = ending(name, jnp.asarray(at), jnp.asarray((-0.5, 3.0)))
    assert Kind(int(found.kind)) is kind
    if kind is Kind.MINIMUM:
        assert found.smallest.value == pytest.approx(2.0, abs=1e-9)
        assert found.smallest.error < 1e-9
        assert found.polished_gradient < 1e-10
    if kind is Kind.SADDLE:
        assert found.smallest.value == pytest.approx(-1.0, abs=1e-9)
        np.testing.assert_allclose(np.abs(found.direction.at), [0.0, 1.0], atol=1e-6)


def test_every_class_has_a_sentence():
    assert len({kind.sentence for kind in Kind}) == len(Kind)


LAYERS = [
    (Softmax(), ("query",)),
    (Softmax(0.5), ("key",)),
    (Gaussian(0.5), ("query",)),
    (NormalizedGaussian(0.5), ("query",)),
    (Softmax(), ("query", "key")),
    (Gaussian(0.5), ("query", "key")),
    (Linear(), ("query", "key")),
    (Linear(), ("query",)),
    (Linear(), ("key",)),
    (NormalizedGaussian(0.5), ("query", "key")),
    (Softmax(), ("value",)),
    (Softmax(), ("value", "output")),
]


def layer(kernel, trained):
    """More numbers a token than tokens, and a head as wide as there are tokens: flat directions of every kind."""
    experiment = dataclasses.replace(SMALL, trained=trained)
    for path, value in {"model.attention": kernel, "task.dim": 8, "model.head_dim": 3, "model.heads": 2}.items():
        experiment = replace_at(experiment, path, value)
    return experiment


@pytest.mark.parametrize(("kernel", "trained"), LAYERS, ids=str)
def test_flat_directions_are_those_along_which_no_output_changes(kernel, trained):
    """At targets that are met the Hessian is J^T J: it vanishes on what is flat, and here on nothing else."""
    objective, params = started(layer(kernel, trained))

    @FAST
    def found(objective, params):
        met = objective.on(objective.examples._replace(targets=objective.outputs(params)))
        projector = flat_projector(met, params)
        flat, unravel = ravel_pytree(params)
        hessian = jax.hessian(lambda vector: met.loss(unravel(vector)))(flat)
        return projector, hessian

    projector, hessian = (np.asarray(matrix) for matrix in found(objective, params))
    np.testing.assert_allclose(projector @ projector, projector, atol=1e-10)
    assert np.abs(hessian @ projector).max() < 1e-12 * np.abs(hessian).max()
    rank = round(np.trace(projector))
    assert rank > 0
    assert rank <= len(hessian) - np.linalg.matrix_rank(hessian, tol=1e-10 * np.abs(hessian).max())


@pytest.mark.parametrize("kernel", [Softmax(), Gaussian(0.5)], ids=["softmax", "gaussian"])
def test_a_translation_changes_no_output_however_far(kernel):
    objective, params = started(layer(kernel, ("query",)))
    projector = flat_projector(objective, params)
    flat, unravel = ravel_pytree(params)
    move = 10 * projector @ jax.random.normal(jax.random.key(0), flat.shape)
    assert jnp.linalg.norm(move) > 1
    np.testing.assert_allclose(objective.outputs(unravel(flat + move)), objective.outputs(params), atol=1e-11)


@pytest.fixture(scope="module")
def trained():
    """A run to zero loss and one that has only begun."""
    experiment = dataclasses.replace(
        SMALL,
        trained=("query", "key", "value"),
        optimizer=Armijo(),
        steps=400,
        probes={"loss": Loss(), "end": EndState(At((400,)))},
    )
    return experiment, train(experiment, seeds=2)


def test_a_run_is_classified_after_it_as_by_the_probe_at_its_end(trained):
    run = Run(*trained)
    found, recorded = run.look(EndState()), run.trajectory["end"]
    np.testing.assert_array_equal(recorded.sel(quantity="kind").values, found.sel(quantity="kind").values)
    losses = (one.sel(quantity="loss").values for one in (recorded, found))
    np.testing.assert_allclose(*losses, rtol=1e-9, atol=1e-20)
    assert found.sel(quantity="kind").values.tolist() == [[Kind.ZERO], [Kind.ZERO]]
    assert in_words(found, 0).startswith("zero loss (f = ")


def test_a_run_that_has_only_begun_is_not_converged(trained):
    experiment = dataclasses.replace(trained[0], steps=2, probes={"loss": Loss()})
    found = Run(experiment, train(experiment)).look(EndState())
    assert found.sel(quantity="kind").values == Kind.NOT_CONVERGED
    assert "nearest stationary point" in in_words(found, 0)

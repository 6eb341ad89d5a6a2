"""What holds for every probe."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from descentlab.experiment import stored
from descentlab.point import evaluate
from descentlab.probes import AbstractProbe, HeldOut, LayerAttention, Margin
from descentlab.schedule import At
from descentlab.tasks import AbstractTask
from descentlab.trajectory import Series
from support import members
from support.problems import CLASSIFYING, SMALL, started

pytestmark = pytest.mark.usefixtures("float64")


class Known(AbstractTask):
    """A task whose mean loss is known: the mean square of all parameters."""

    def sample(self, count, world, *, key):
        """Nothing is drawn here."""
        raise NotImplementedError

    def population_loss(self, model, world):
        """The mean square."""
        return jnp.mean(ravel_pytree(eqx.filter(model, eqx.is_inexact_array))[0] ** 2)


each = pytest.mark.parametrize("probe", members.examples(AbstractProbe), ids=members.name)


@each
def test_a_value_has_one_shape_at_every_point_and_a_name_for_every_axis(probe):
    experiment = CLASSIFYING if isinstance(probe, HeldOut | LayerAttention | Margin) else SMALL
    objective, start = started(experiment)
    parts = {"signal": jnp.zeros(objective.examples.rows, int), "noise": objective.inputs[:, 0]}
    objective = objective.on(objective.examples._replace(parts=parts))
    held = jax.tree.map(jnp.asarray, stored(experiment))
    known = {"stored": held, "held_out": held and held.development, "task": Known()}

    def value(scale):
        params = jax.tree.map(lambda leaf: scale * leaf, start)
        point = evaluate(objective, params, jnp.asarray(3, jnp.int32), start, jnp.asarray(0.1))
        change = jax.tree.map(lambda leaf: -0.1 * leaf, point.gradient)
        return probe(dataclasses.replace(point, change=change, next_step_size=jnp.asarray(0.1), **known))

    scales = jnp.asarray([1.0, 0.5, -2.0])
    mapped = eqx.filter_jit(jax.vmap(value), compiler_options={"xla_backend_optimization_level": 0})
    values = mapped(scales)
    assert eqx.filter_eval_shape(value, scales[0]).shape == values.shape[1:]
    np.testing.assert_allclose(mapped(scales[::-1])[::-1], values, rtol=1e-9, atol=1e-9)
    for one in values:
        assert np.any(np.isfinite(one))
    Series(np.arange(3), np.asarray(values)[None], probe.axes(start))  # refuses axes that do not name all


@each
def test_when_it_records_is_a_field(probe):
    assert dataclasses.replace(probe, when=At((2,))).when == At((2,))

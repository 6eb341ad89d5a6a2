"""What holds for every optimizer."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.optim import AbstractOptimizer
from descentlab.point import evaluate
from support import members
from support.problems import VALUE_ONLY, started

pytestmark = pytest.mark.usefixtures("float64")


def shapes(tree):
    arrays = [leaf for leaf in jax.tree.leaves(tree) if eqx.is_array(leaf)]
    return jax.tree.structure(tree), [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in arrays]


def lanes_of(optimizer):
    """The optimizer with each of its float fields that is not zero at 0.8 of its value, the optimizer itself first."""
    fields = {f.name: getattr(optimizer, f.name) for f in dataclasses.fields(optimizer)}
    moved = {name: 0.8 * value for name, value in fields.items() if isinstance(value, float) and value}
    return [optimizer, *(dataclasses.replace(optimizer, **{name: value}) for name, value in moved.items())]


@pytest.mark.parametrize("optimizer", members.examples(AbstractOptimizer), ids=members.name)
def test_it_minimises_a_quadratic_with_any_of_its_floats_traced(optimizer):
    objective, params = started(VALUE_ONLY)
    lanes = lanes_of(optimizer)
    floats, rest = zip(*(eqx.partition(one, lambda leaf: isinstance(leaf, float)) for one in lanes), strict=True)
    stacked = jax.tree.map(lambda *leaves: jnp.asarray(leaves), *floats)

    def moved(floats):
        rule = eqx.combine(floats, rest[0])
        point = evaluate(objective, params, jnp.asarray(0, jnp.int32), params, jnp.asarray(jnp.nan))
        first = rule.init(point)

        def body(step, carry):
            params, state, _, _ = carry
            return tuple(rule.step(evaluate(objective, params, step, params, carry[2]), state))

        update = tuple(rule.step(point, first))
        return first, update, jax.lax.fori_loop(1, 40, body, update)

    first, once, after = eqx.filter_jit(eqx.filter_vmap(moved, axis_size=len(lanes)))(stacked)
    assert shapes(first) == shapes(once[1]) == shapes(after[1]), "the state changes its shape"
    assert np.all(np.isfinite(once[2]))
    assert np.all(once[2] >= 0)
    assert np.all(after[3])
    losses = jax.vmap(objective.loss)(after[0])
    assert np.all(losses < 0.5 * objective.loss(params))
    for i in range(1, len(lanes)):
        assert not np.array_equal(losses[i], losses[0]), "a float field has no effect"

"""What holds for every initialiser, task, token distribution, target and read-out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.models import AbstractArchitecture, AbstractInit, AbstractReadout, AttentionLayer
from descentlab.tasks import (
    AbstractAnswer,
    AbstractByteTarget,
    AbstractTarget,
    AbstractTask,
    AbstractTokens,
    Classification,
)
from support import members

pytestmark = pytest.mark.usefixtures("float64")
SHAPE = (2, 4, 3)
DRAWN = [task for task in members.examples(AbstractTask) if not isinstance(task, Classification)]
"""Tasks that make their examples; a data set has a contract of its own."""


def over(interface):
    return pytest.mark.parametrize("member", members.examples(interface), ids=members.name)


def same(one, other):
    return jax.tree.all(jax.tree.map(np.array_equal, one, other))


@over(AbstractInit)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_block_has_the_shape_asked_for_and_comes_from_its_key_alone(member, dtype):
    with jax.enable_x64(dtype == "float64"):
        block = member(SHAPE, key=jax.random.key(3))
        assert block.shape == SHAPE
        assert block.dtype == dtype
        assert np.array_equal(block, member(SHAPE, key=jax.random.key(3)))
        assert np.all(np.isfinite(block))


@over(AbstractTokens)
def test_tokens_are_independent_draws_of_their_key(member):
    tokens = member((5, 3, 4), key=jax.random.key(0))
    assert tokens.shape == (5, 3, 4)
    assert np.array_equal(tokens, member((5, 3, 4), key=jax.random.key(0)))
    assert not np.array_equal(tokens, member((5, 3, 4), key=jax.random.key(1)))
    assert len(np.unique(np.asarray(tokens).reshape(15, 4), axis=0)) == 15


@pytest.mark.parametrize("member", DRAWN, ids=members.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_task_is_determined_by_its_key(member, dtype):
    with jax.enable_x64(dtype == "float64"):
        key = jax.random.key(5)
        example = member.example()
        model = AttentionLayer(heads=2, head_dim=2).init(jnp.ones((3, 4)), key=jax.random.key(0))
        world = member.world(model, key=key)
        inputs, targets, weights, _ = member.sample(2, world, key=key)
        assert weights is None
        assert (example.shape, example.dtype) == (inputs.shape[1:], inputs.dtype)
        assert targets.shape[0] == 2
        for array, discrete, below in ((inputs, 2, member.vocabulary), (targets, targets.ndim, member.classes)):
            if np.issubdtype(array.dtype, np.integer):
                assert array.ndim == discrete
                assert np.all(np.asarray(array) < below)
            else:
                assert array.dtype == dtype
                assert np.all(np.isfinite(array))
        assert np.all(np.asarray(inputs) > 0) if member.vocabulary else inputs.shape == (2, 3, 4)
        assert same(world, member.world(model, key=key))
        assert same(member.sample(2, world, key=key)[:2], (inputs, targets))


@over(AbstractAnswer)
def test_an_answer_has_one_target_a_place_that_its_loss_compares(member):
    symbols = jnp.arange(24).reshape(2, 12) % 12
    targets = member(symbols, slice(-5, -1))
    assert targets.shape[:2] == (2, 4)
    member.loss_function.check((2, 4, 12), targets.shape)
    assert np.isfinite(member.loss_function(jnp.ones((2, 4, 12)), targets))


@over(AbstractTarget)
def test_targets_have_the_shape_of_the_outputs_and_come_from_their_key(member):
    inputs = jax.random.normal(jax.random.key(0), (2, 3, 4))
    model = AttentionLayer(heads=2, head_dim=2).init(inputs[0], key=jax.random.key(1))

    def targets(world_key, key):
        return member(inputs, member.world(model, inputs[0], key=jax.random.key(world_key)), key=jax.random.key(key))

    assert targets(2, 2).shape == (2, 3, 1)
    assert np.array_equal(targets(2, 2), targets(2, 2))
    assert not np.array_equal(targets(2, 2), targets(3, 3))


@over(AbstractByteTarget)
def test_every_byte_has_a_target(member):
    targets = np.asarray(member(jnp.arange(256).reshape(2, 128)))
    assert targets.shape[:2] == (2, 128)
    assert np.all(np.isfinite(targets))
    assert len(np.unique(targets.reshape(256, -1), axis=0)) > 1


@over(AbstractReadout)
def test_a_readout_is_linear_and_of_the_width_of_the_sequence(member):
    one, other = jax.random.normal(jax.random.key(0), (2, 3, 5))
    assert member(one).shape[-1] == 5
    np.testing.assert_allclose(member(2 * one - other), 2 * member(one) - member(other), rtol=0, atol=1e-14)


@over(AbstractArchitecture)
def test_a_model_comes_from_its_key_and_only_the_shape_of_the_example(member):
    example = jax.random.normal(jax.random.key(0), (3, 4))
    model = member.init(example, key=jax.random.key(1))
    assert same(model, member.init(jnp.zeros_like(example), key=jax.random.key(1)))
    assert not same(model, member.init(example, key=jax.random.key(2)))
    assert np.all(np.isfinite(model(example)))

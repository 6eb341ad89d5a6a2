"""Blocks by name."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descentlab._tree import block_names, blocks, norm_squared, select


class Layer(eqx.Module):
    query: jax.Array
    value: jax.Array
    count: int = 3


class Stack(eqx.Module):
    layers: list[Layer]
    output: jax.Array
    places: jax.Array


def stack():
    layers = [Layer(jnp.full((2, 2), i), jnp.full(3, -i)) for i in (1.0, 2.0)]
    return Stack(layers, jnp.ones(4), jnp.arange(3))


def test_a_block_holds_the_arrays_of_its_name_in_all_layers():
    assert block_names(stack()) == ("query", "value", "output")
    assert [array[0, 0] for array in blocks(stack())["query"]] == [1, 2]


@settings(max_examples=7, deadline=None)
@given(st.sets(st.sampled_from(["query", "value", "output"]), min_size=1))
def test_split_takes_the_named_blocks_and_combine_puts_them_back(names):
    trained, rest = select(stack(), tuple(names))
    assert set(block_names(trained)) == names
    assert set(block_names(rest)) == {"query", "value", "output"} - names
    assert rest.places is not None
    assert eqx.tree_equal(eqx.combine(trained, rest), stack())


def test_a_block_that_does_not_exist_is_named_with_its_neighbours():
    with pytest.raises(ValueError, match="did you mean query"):
        select(stack(), ("querry",))
    with pytest.raises(ValueError, match="known are: output, query, value"):
        select(stack(), ("zzz",))
    with pytest.raises(ValueError, match="at least one block"):
        select(stack(), ())


def test_the_squared_norm_is_that_of_all_entries():
    tree = {"a": jnp.asarray([1.0, 2.0]), "b": [jnp.asarray([[2.0]])], "c": None}
    assert norm_squared(tree) == 9
    assert np.shape(norm_squared({})) == ()

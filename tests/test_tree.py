"""Parameters by their path, and what selects them."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descentlab._check import real
from descentlab._definition import Definition, DefinitionError
from descentlab._tree import (
    array_names,
    block_names,
    block_of,
    blocks,
    is_meant,
    named,
    norm_squared,
    parted,
    select,
    with_named,
)
from descentlab.attention import Gaussian
from descentlab.curvature import Hessian
from descentlab.experiment import begin, check
from descentlab.models import AbstractArchitecture, EachToken, Transformer
from descentlab.optim import GD
from descentlab.sweep import Request
from descentlab.sweep import run as sweep
from descentlab.training import train
from support.problems import SMALL


class Kernel(Definition):
    width: float


class Layer(eqx.Module):
    query: jax.Array
    value: jax.Array
    gain: jax.Array
    kernel: Kernel
    count: int = 3


class Stack(eqx.Module):
    layers: list[Layer]
    output: dict[str, jax.Array]
    places: jax.Array


NAMES = [f"layers.{i}.{name}" for i in (0, 1) for name in ("query", "value", "gain")] + ["output.left", "output.right"]


def stack():
    layers = [Layer(jnp.full((2, 2), i), jnp.full(3, -i), jnp.asarray(i), Kernel(jnp.asarray(i))) for i in (1.0, 2.0)]
    return Stack(layers, {"left": jnp.ones(4), "right": jnp.ones(2)}, jnp.arange(3))


def test_names_are_paths_of_inexact_arrays_that_are_no_part_of_a_definition():
    assert array_names(stack()) == NAMES
    assert list(named(stack())) == NAMES
    assert named(stack())["layers.1.gain"].shape == ()
    assert block_names(stack()) == ("query", "value", "gain", "left", "right")
    assert [array[0, 0] for array in blocks(stack())["query"]] == [1, 2]
    assert block_of("layers.3.weight.0") == "weight"


@pytest.mark.parametrize(
    ("selector", "meant"),
    [
        ("layers.0.query", ["layers.0.query"]),
        ("layers.1", NAMES[3:6]),
        ("layers", NAMES[:6]),
        ("query", ["layers.0.query", "layers.1.query"]),
        ("layers.*.value", ["layers.0.value", "layers.1.value"]),
        ("*", NAMES),
        ("layer", []),
        ("quer", []),
    ],
)
def test_what_a_selector_means(selector, meant):
    assert [name for name in NAMES if is_meant(name, selector)] == meant


@settings(max_examples=12, deadline=None)
@given(st.sets(st.sampled_from(NAMES), min_size=1))
def test_selected_and_rest_are_put_together_again(chosen):
    trained, rest = select(stack(), tuple(chosen))
    assert set(array_names(trained)) == chosen
    assert set(array_names(rest)) == set(NAMES) - chosen
    assert rest.places is not None
    assert rest.layers[0].kernel.width == 1
    assert len(jax.tree.leaves(trained)) == len(chosen)
    assert eqx.tree_equal(eqx.combine(trained, rest), stack())


def test_a_name_that_is_also_a_block_is_parted_alone():
    tree = {"weight": jnp.ones(1), "layers": [{"weight": jnp.zeros(1)}]}
    assert array_names(select(tree, ("weight",))[0]) == ["layers.0.weight", "weight"]
    assert array_names(parted(tree, ["weight"])[0]) == ["weight"]


def test_nothing_named_means_everything():
    assert array_names(select(stack(), None)[0]) == NAMES


def test_what_does_not_exist_is_named_with_its_neighbours():
    with pytest.raises(ValueError, match="did you mean query"):
        select(stack(), ("querry",))
    with pytest.raises(ValueError, match="there is no parameter 'layers.2' here"):
        select(stack(), ("layers.2",))
    with pytest.raises(ValueError, match="at least one parameter"):
        select(stack(), ())


def test_two_arrays_of_one_path_are_refused():
    with pytest.raises(ValueError, match="two parameters of the model have the path 'a.b'"):
        named({"a.b": jnp.ones(1), "a": {"b": jnp.zeros(1)}})


def test_arrays_are_put_in_by_name():
    doubled = with_named(stack(), {name: 2 * np.asarray(array) for name, array in named(stack()).items()})
    assert doubled.layers[1].gain == 4
    assert doubled.layers[1].kernel.width == 2
    with pytest.raises(ValueError, match="'layers.0.query' is"):
        with_named(stack(), {})


def test_the_squared_norm_is_that_of_all_entries():
    tree = {"a": jnp.asarray([1.0, 2.0]), "b": [jnp.asarray([[2.0]])], "c": None}
    assert norm_squared(tree) == 9
    assert np.shape(norm_squared({})) == ()


class Perceptron(AbstractArchitecture):
    """Two layers of equinox on every token."""

    def init(self, example, *, key):
        keys = jax.random.split(key)
        layers = [eqx.nn.Linear(4, 5, key=keys[0]), eqx.nn.Lambda(jax.nn.relu), eqx.nn.Linear(5, 1, key=keys[1])]
        return Tokenwise(eqx.nn.Sequential(layers))


class Tokenwise(eqx.Module):
    net: eqx.nn.Sequential

    def __call__(self, example):
        return jax.vmap(self.net)(example)


PERCEPTRON = dataclasses.replace(SMALL, model=Perceptron(), optimizer=GD(0.1), trained=None)


@pytest.mark.usefixtures("float64")
def test_layers_of_any_module_are_trained_by_path():
    names = ["net.layers.0.weight", "net.layers.0.bias", "net.layers.2.weight", "net.layers.2.bias"]
    for trained in (None, ("net.layers.0",), ("bias",), ("*.2.weight",)):
        one = dataclasses.replace(PERCEPTRON, trained=trained)
        start = named(begin(one, key=jax.random.key(0)).objective.model(begin(one, key=jax.random.key(0)).start))
        end = train(one).ends()[0]
        assert list(end) == names
        moved = [name for name in names if np.abs(end[name] - start[name]).max() > 1e-9]
        assert moved == [name for name in names if trained is None or is_meant(name, trained[0])], trained
    lane = begin(PERCEPTRON, key=jax.random.key(0))
    whole = Hessian(lane.objective, lane.start)
    assert list(whole.blocks) == names
    np.testing.assert_allclose(
        whole["net.layers.0.bias", "net.layers.2"].dense(), whole.dense()[20:25, 25:], atol=1e-14
    )


class Gained(AbstractArchitecture):
    """A linear map with a learned gain, a scalar."""

    start: float = eqx.field(default=0.5, converter=real)

    def init(self, example, *, key):
        return Gain(jax.random.normal(key, (4, 1)), jnp.asarray(self.start))


class Gain(eqx.Module):
    weight: jax.Array
    gain: jax.Array

    def __call__(self, example):
        return self.gain * example @ self.weight


@pytest.mark.usefixtures("float64")
def test_a_scalar_is_trained_like_any_parameter():
    several = [dataclasses.replace(PERCEPTRON, model=Gained(start), trained=("gain",)) for start in (0.5, 2.0)]
    for one, found in zip(several, sweep([Request(one, (0,)) for one in several]), strict=True):
        lane = begin(one, key=jax.random.key(0))
        inputs, targets = np.asarray(lane.objective.inputs), np.asarray(lane.objective.targets)
        seen, gain = inputs @ np.asarray(lane.objective.frozen.weight), one.model.start
        for loss in found["loss"].values[0]:
            error = gain * seen - targets
            np.testing.assert_allclose(loss, 0.5 * np.sum(error**2) / 2, rtol=1e-12)
            gain = gain - 0.1 * np.sum(error * seen) / 2
        assert found.ends()[0]["gain"].shape == ()


@pytest.mark.usefixtures("float64")
def test_hyperparameters_in_a_trained_model_are_not_trained_where_they_vary_by_lane():
    model = Transformer(Gaussian(0.5), width=4, depth=1, heads=1, hidden=4, readout=EachToken(1), dropout=0.1)
    base = dataclasses.replace(PERCEPTRON, model=model)
    several = [
        dataclasses.replace(base, model=dataclasses.replace(model, skip=skip, dropout=drop, attention=Gaussian(c)))
        for skip, drop, c in ((1.0, 0.1, 0.5), (0.5, 0.3, 2.0))
    ]
    for one, found in zip(several, sweep([Request(one, (0,)) for one in several]), strict=True):
        names = array_names(begin(one, key=jax.random.key(0)).start)
        assert list(found.ends()[0]) == names
        assert not [name for name in names if "skip" in name or "dropout" in name or name.endswith(".c")]
        np.testing.assert_allclose(found["loss"].values, train(one)["loss"].values, rtol=1e-9)


class Loose(AbstractArchitecture):
    """A model that keeps a float of its definition as a field of its own."""

    factor: float = eqx.field(default=0.5, converter=real)

    def init(self, example, *, key):
        return Gain(jax.random.normal(key, (4, 1)), self.factor)  # not an array: no parameter was meant


def test_a_number_that_would_be_trained_by_accident_is_refused():
    with pytest.raises(DefinitionError, match="the model of Loose keeps 'gain', a number of its definition"):
        check(dataclasses.replace(PERCEPTRON, model=Loose()))

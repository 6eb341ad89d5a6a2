"""Quantities of trained models that papers speak of, against NumPy."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab._definition import DefinitionError
from descentlab._tree import array_names, select, with_named
from descentlab.attention import Gaussian, NoScaling, Softmax
from descentlab.curvature import Gram
from descentlab.data import FullBatch, Padded
from descentlab.experiment import begin
from descentlab.losses import CrossEntropy, Logistic
from descentlab.models import AttentionLayer, MeanPool, Normal
from descentlab.objective import Examples
from descentlab.optim import GD
from descentlab.probes import (
    Changed,
    GramShares,
    Loss,
    Margin,
    Products,
    Rank,
    RelativeDistance,
    Saturation,
    WithKernel,
    ZeroGradients,
)
from descentlab.runs import Run
from descentlab.schedule import At
from descentlab.stopping import LossBelow
from descentlab.study import _frozen, _unreached
from descentlab.tasks import AbstractTask
from descentlab.training import train
from support.problems import SMALL

pytestmark = pytest.mark.usefixtures("float64")
LAST = At((4,))


class Patches(AbstractTask):
    """A signal among three patches; its place and the noise of each example are known."""

    @property
    def loss_function(self):
        """Signs."""
        return Logistic()

    def sample(self, count, world, *, key):
        """The signal is the first coordinate."""
        keys = jax.random.split(key, 3)
        signs = jax.random.rademacher(keys[0], (count,), float)
        places = jax.random.randint(keys[1], (count,), 0, 3)
        patches = 0.3 * jax.random.normal(keys[2], (count, 3, 4))
        noise = patches[:, 0]
        patches = jax.vmap(lambda x, place, sign: x.at[place].set(2 * sign * jnp.eye(4)[0]))(patches, places, signs)
        return Examples(patches, signs[:, None], parts={"signal": places, "noise": noise})


PATCHES = dataclasses.replace(
    SMALL,
    task=Patches(),
    data=FullBatch(6),
    model=AttentionLayer(Softmax(scaling=NoScaling()), heads=2, head_dim=3, readout=MeanPool()),
    optimizer=GD(0.5),
    trained=("query", "key", "value"),
    steps=4,
)


def recorded(experiment, probe):
    """What a probe says at the end of a run, and that end: objective, trained part and whole model."""
    found = train(dataclasses.replace(experiment, probes={"it": probe}))
    lane = begin(experiment, key=jax.random.key(0))
    model = with_named(lane.objective.model(lane.start), found.ends()[0])
    return found["it"], lane.objective, select(model, array_names(lane.start))[0], model


def test_products_are_those_of_the_parts_that_the_task_names():
    series, objective, _, model = recorded(PATCHES, Products("query", ("signal", "noise"), LAST))
    parts = objective.examples.parts
    signal = np.asarray(objective.inputs)[np.arange(6), np.asarray(parts["signal"])]
    assert np.all(np.abs(signal[:, 0]) == 2)
    for name, vectors in (("signal", signal), ("noise", np.asarray(parts["noise"]))):
        for head in (0, 1):
            found = series.sel(part=name, head=head).values[0, 0]
            np.testing.assert_allclose(found, vectors @ np.asarray(model.query)[head], rtol=1e-12)


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (Products("query", ("shape",), LAST), "have no part 'shape' .parts: noise, signal."),
        (Products("quer", ("signal",), LAST), "must mean one parameter, 'quer' means none"),
        (Rank("output", LAST), "means no trained parameter, got 'output'; there are query, key, value"),
    ],
)
def test_what_is_not_there_is_named(probe, message):
    with pytest.raises(DefinitionError, match=message):
        train(dataclasses.replace(PATCHES, probes={"it": probe}))


@pytest.mark.parametrize(("data", "count"), [(FullBatch(6), 6), (Padded(4, 6), 4)])
def test_margins_of_signs_are_outputs_times_signs(data, count):
    series, objective, _, model = recorded(dataclasses.replace(PATCHES, data=data), Margin(LAST))
    margins = np.asarray(jax.vmap(model)(objective.inputs) * objective.targets)[:count]
    np.testing.assert_allclose(series.values[0, 0], [margins.min(), margins.mean()], rtol=1e-10)


def test_margins_of_classes_are_gaps_to_the_next_class():
    outputs = np.random.default_rng(0).normal(size=(5, 3))
    targets = np.array([0, 2, 1, 1, 0])
    others = [[o for c, o in enumerate(row) if c != t] for row, t in zip(outputs, targets, strict=True)]
    expected = outputs[np.arange(5), targets] - np.max(others, axis=1)
    np.testing.assert_allclose(CrossEntropy().margins(jnp.asarray(outputs), jnp.asarray(targets)), expected, rtol=1e-14)
    with pytest.raises(DefinitionError, match="a margin needs classes or signs, and SquaredError compares numbers"):
        train(dataclasses.replace(SMALL, probes={"it": Margin(LAST)}, steps=4))


@pytest.mark.parametrize("data", [FullBatch(3), Padded(2, 3)])
def test_shares_of_the_gram_matrix_are_those_of_its_blocks(data):
    series, objective, params, model = recorded(dataclasses.replace(SMALL, data=data, steps=4), GramShares(LAST))
    whole = np.trace(Gram(objective, params).dense())
    for block in ("query", "key", "value", "output"):
        alone, rest = select(model, (block,))
        trace = np.trace(Gram(dataclasses.replace(objective, frozen=rest), alone).dense())
        np.testing.assert_allclose(series.sel(block=block).values[0, 0], [trace, trace / whole], rtol=1e-10)


def test_ranks_count_the_directions_of_all_heads():
    series, _, params, _ = recorded(PATCHES, Rank("query", LAST))
    matrix = np.concatenate(list(np.asarray(params.query)), axis=1)
    singular = np.linalg.svd(matrix, compute_uv=False)
    found = series.sel(parameter="query").values[0, 0]
    np.testing.assert_allclose(found, [4, (singular**2).sum() / singular[0] ** 2], rtol=1e-10)


def test_relative_distances_are_in_units_of_the_start():
    series, _, params, _ = recorded(PATCHES, RelativeDistance(LAST))
    start = begin(PATCHES, key=jax.random.key(0)).start
    for block in ("query", "key", "value"):
        before, after = (np.asarray(getattr(tree, block)) for tree in (start, params))
        ratio = np.linalg.norm(after - before) / np.linalg.norm(before)
        np.testing.assert_allclose(series.sel(block=block).values[0, 0], ratio, rtol=1e-9)


def test_saturation_is_the_largest_share_of_a_row():
    series, objective, _, model = recorded(PATCHES, Saturation(0.6, LAST))
    largest = np.asarray(jax.vmap(model.weights)(objective.inputs)).max(axis=-1)
    assert 0 < np.mean(largest >= 0.6) < 1
    np.testing.assert_allclose(series.values[0, 0], [largest.mean(), np.mean(largest >= 0.6)], rtol=1e-10)


def test_another_kernel_is_looked_at_and_not_trained():
    changed = Changed(WithKernel(Gaussian(0.5)), Loss(LAST), LAST)
    experiment = dataclasses.replace(PATCHES, probes={"it": changed, "loss": Loss(LAST)})
    found, plain = train(experiment), train(dataclasses.replace(PATCHES, probes={"loss": Loss(LAST)}))
    np.testing.assert_allclose(found["loss"].values, plain["loss"].values, rtol=1e-13)
    lane = begin(PATCHES, key=jax.random.key(0))
    model = with_named(lane.objective.model(lane.start), found.ends()[0])
    other = eqx.tree_at(lambda one: one.attention, model, Gaussian(0.5))
    margins = np.asarray(jax.vmap(other)(lane.objective.inputs) * lane.objective.targets)
    np.testing.assert_allclose(found["it"].values[0, 0], np.log1p(np.exp(-margins)).mean(), rtol=1e-10)
    assert abs(found["it"].values[0, 0] - found["loss"].values[0, 0]) > 1e-3


class Halved(eqx.Module):
    """No attention."""

    def __call__(self, example):
        return example / 2


def test_a_model_without_a_kernel_cannot_get_another():
    with pytest.raises(DefinitionError, match="WithKernel needs a model with one attention kernel, got Halved"):
        WithKernel(Softmax())(Halved())


def test_zero_gradients_are_counted_and_said():
    """A value block of zeros gives queries and keys no gradient, and itself one."""
    still = dataclasses.replace(PATCHES, model=dataclasses.replace(PATCHES.model, value=Normal(0.0)), steps=0)
    still = dataclasses.replace(still, probes={"zero": ZeroGradients(At((0,)))}, until=LossBelow(1e-9))
    found = train(still, seeds=2)
    counts = {block: found["zero"].sel(block=block).values[:, 0].tolist() for block in ("query", "key", "value")}
    assert counts == {"query": [24.0, 24.0], "key": [24.0, 24.0], "value": [0.0, 0.0]}
    said = [*_unreached([Run(still, found)]), *_frozen([Run(still, found)])]
    assert said == [
        "2 of 2 lanes with a stopping rule never got there",
        "gradients of exactly 0 hold up to 24 entries of query at the end of 2 of 2 lanes",
        "gradients of exactly 0 hold up to 24 entries of key at the end of 2 of 2 lanes",
    ]
    assert _unreached([Run(PATCHES, found)]) == []

"""Worlds, held-out and fresh examples, padding, and examples of any shape, in a run."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab._check import real
from descentlab._describe import structure
from descentlab._tree import with_named
from descentlab.curvature import GaussNewton, Gram, Hessian, Krylov, krylov_extremes
from descentlab.data import FullBatch, Minibatch, Online, Padded
from descentlab.experiment import Experiment, begin, check, stored
from descentlab.given import Given
from descentlab.losses import Logistic
from descentlab.models import AbstractArchitecture, AttentionLayer, MeanPool
from descentlab.objective import Examples
from descentlab.optim import GD
from descentlab.probes import FeatureSpectrum, GramSpectrum, HeldOut, Loss, PopulationLoss, TokenRank
from descentlab.schedule import At, Every
from descentlab.sweep import Request
from descentlab.sweep import run as sweep
from descentlab.tasks import AbstractTask, Arrays, InRange, Teacher, TextWindows, TokenRegression
from descentlab.theory.certificate import Certified
from descentlab.theory.certificates import CERTIFICATES
from descentlab.theory.endings import EndState
from descentlab.theory.lipschitz_search import LipschitzSearch
from descentlab.training import train
from support.problems import CLASSIFYING, SMALL

pytestmark = pytest.mark.usefixtures("float64")
KEY = jax.random.key(3)


class Halfspace(AbstractTask):
    """Signs of Gaussian vectors along a direction that is drawn once a lane; the margin is a known part."""

    dim: int = 3
    scale: float = eqx.field(default=1.0, converter=real)

    @property
    def loss_function(self):
        """Signs."""
        return Logistic()

    def world(self, model, *, key):
        """The direction."""
        return jax.random.normal(jax.random.fold_in(key, 7), (self.dim,))

    def sample(self, count, world, *, key):
        """Vectors as sequences of one token."""
        vectors = self.scale * jax.random.normal(key, (count, 1, self.dim))
        along = vectors[:, 0] @ world
        return Examples(vectors, jnp.sign(along)[:, None], parts={"margin": jnp.abs(along)})


class Pair(eqx.Module):
    """A linear map of the sum of two inputs."""

    weight: jax.Array

    def __call__(self, example):
        return (example["first"] + example["second"]["deep"]) @ self.weight


class PairSum(AbstractArchitecture):
    """A model whose input is a dictionary."""

    def init(self, example, *, key):
        """Random weights."""
        return Pair(jax.random.normal(key, (example["first"].shape[-1], 2)))


class Pairs(AbstractTask):
    """Inputs in a dictionary; targets are a fixed linear map of their difference, so that nothing fits exactly."""

    def sample(self, count, world, *, key):
        """Five numbers twice."""
        first, second = jax.random.normal(key, (2, count, 5))
        return Examples({"first": first, "second": {"deep": second}}, (first - second)[:, :2])

    def population_loss(self, model, world):
        """E |(x + y) W - (x - y)_{1,2}|^2 / 2 = |W - E|^2 / 2 + |W + E|^2 / 2 with E the first two columns of 1."""
        eye = jnp.eye(5)[:, :2]
        return 0.5 * (jnp.sum((model.weight - eye) ** 2) + jnp.sum((model.weight + eye) ** 2))


SIGNS = dataclasses.replace(SMALL, task=Halfspace(), data=FullBatch(6), held_out=50, model=AttentionLayer(heads=1))
PAIRS = Experiment(
    task=Pairs(), data=FullBatch(7), model=PairSum(), optimizer=GD(0.05), trained=None,
    probes={"loss": Loss(Every())}, steps=8, held_out=400,
)  # fmt: skip


@pytest.mark.parametrize("target", [Teacher(AttentionLayer(heads=1, head_dim=2)), InRange()])
def test_fresh_examples_keep_what_the_lane_has_in_common(target):
    task = TokenRegression(tokens=3, dim=4, target=target)
    lane = begin(dataclasses.replace(SMALL, task=task), key=KEY)
    for key in jax.random.split(jax.random.key(9), 3):
        examples = task.sample(5, lane.world, key=key)
        np.testing.assert_array_equal(examples.targets, jax.vmap(lane.world)(examples.inputs))
    assert not np.allclose(task.sample(5, lane.world, key=KEY).inputs, examples.inputs)


def test_what_is_held_out_changes_nothing_else_and_has_a_key_of_its_own():
    with_none, with_some = (begin(dataclasses.replace(SIGNS, held_out=n), key=KEY) for n in (0, 50))
    assert with_none.held_out is None
    np.testing.assert_array_equal(with_none.objective.inputs, with_some.objective.inputs)
    assert with_some.held_out.inputs.shape == (50, 1, 3)
    np.testing.assert_array_equal(
        np.sign(with_some.held_out.inputs[:, 0] @ with_some.world), with_some.held_out.targets[:, 0]
    )
    seen, held = (np.asarray(one).reshape(-1, 3) for one in (with_some.objective.inputs, with_some.held_out.inputs))
    assert np.abs(seen[:, None] - held).sum(axis=-1).min() > 1e-6


@pytest.mark.parametrize(
    ("task", "most", "message"),
    [
        (Arrays(Given("x", np.arange(24.0).reshape(6, 2, 2)), Given("y", np.ones((6, 2)))), 4, "hold 6 samples, 7"),
        (TextWindows(Given("t", np.arange(20, dtype=np.uint8)), window=4, dim=8), 14, "at least 21 bytes for 17"),
    ],
)
def test_of_so_many_examples_none_is_both_trained_on_and_held_out(task, most, message):
    assert task.distinct == most + 2
    base = dataclasses.replace(SMALL, task=task, data=FullBatch(2), held_out=most)
    lane, without = begin(base, key=KEY), begin(dataclasses.replace(base, held_out=0), key=KEY)
    np.testing.assert_array_equal(lane.objective.inputs, without.objective.inputs)
    every = np.concatenate([lane.objective.inputs, lane.held_out.inputs]).reshape(most + 2, -1)
    assert len(np.unique(every, axis=0)) == most + 2
    with pytest.raises(ValueError, match=message):
        check(dataclasses.replace(base, held_out=most + 1))


def test_held_out_numbers_of_signs_are_those_of_the_final_model():
    probes = {"held": HeldOut(At((12,))), "train": HeldOut(At((12,)), "train", 4)}
    found = train(dataclasses.replace(SIGNS, probes=probes, optimizer=GD(0.3)), seeds=[3])
    lane = begin(SIGNS, key=KEY)
    model = with_named(lane.objective.model(lane.start), found.ends()[0])
    for name, part in (("held", lane.held_out), ("train", lane.objective.examples.at(slice(4)))):
        margins = np.asarray(jax.vmap(model)(part.inputs))[:, :, 0] * part.targets
        loss, accuracy = found[name].values[0, 0]
        np.testing.assert_allclose(loss, np.log1p(np.exp(-margins)).mean(), rtol=1e-10)
        assert accuracy == np.mean(np.asarray(margins) > 0)


def test_held_out_examples_of_a_data_set_are_its_development_part_or_some_of_it():
    held = stored(CLASSIFYING)
    some = begin(dataclasses.replace(CLASSIFYING, held_out=5), key=KEY, stored=jax.tree.map(jnp.asarray, held)).held_out
    assert some.rows == 5
    for tokens, label in zip(np.asarray(some.inputs), np.asarray(some.targets), strict=True):
        assert label in held.development.targets[(held.development.inputs == tokens).all(axis=1)]
    probes = {"all": HeldOut(At((0,))), "five": HeldOut(At((0,)), examples=5)}
    found = train(dataclasses.replace(CLASSIFYING, probes=probes, steps=0))
    lane = begin(CLASSIFYING, key=jax.random.key(0), stored=jax.tree.map(jnp.asarray, held))
    for name, count in (("all", held.development.inputs.shape[0]), ("five", 5)):
        outputs = np.asarray(jax.vmap(lane.objective.model(lane.start))(held.development.inputs[:count]))
        right = np.mean(outputs.argmax(axis=1) == held.development.targets[:count])
        np.testing.assert_allclose(found[name].values[0, 0, 1], right, rtol=1e-14)


def test_every_step_of_online_data_sees_fresh_examples_of_the_lanes_own_world():
    data = Online(5)
    lane = begin(dataclasses.replace(SIGNS, data=data), key=KEY)
    drawn = [data.at(lane.objective, SIGNS.task, lane.source(None), step, key=lane.key) for step in jnp.arange(4)]
    for one in drawn:
        np.testing.assert_array_equal(jnp.sign(one.inputs[:, 0] @ lane.world), one.targets[:, 0])
        np.testing.assert_allclose(one.examples.parts["margin"], jnp.abs(one.inputs[:, 0] @ lane.world))
    numbers = np.concatenate([np.asarray(one.inputs).ravel() for one in drawn])
    assert len(np.unique(numbers)) == numbers.size
    # A stream of its own: no draw of a run repeats the keys of its start, of batches or of dropout.
    keys = [jax.random.split(lane.key, 8), jax.vmap(lambda s: jax.random.fold_in(lane.key, s))(jnp.arange(50))]
    stream = jax.vmap(lambda s: jax.random.fold_in(jax.random.fold_in(lane.key, 2**32 - 1), s))(jnp.arange(50))
    taken = {tuple(key) for some in keys for key in np.asarray(jax.random.key_data(some)).tolist()}
    assert not taken & {tuple(key) for key in np.asarray(jax.random.key_data(stream)).tolist()}


def test_online_training_of_a_lane_is_the_same_alone_and_among_others():
    base = dataclasses.replace(SIGNS, data=Online(5), steps=6)
    others = [dataclasses.replace(base, task=Halfspace(scale=s)) for s in (1.0, 2.0)]
    one, two = sweep([Request(other, (0, 1)) for other in others])
    np.testing.assert_allclose(one["loss"].values, train(others[0], seeds=2)["loss"].values, rtol=1e-12)
    assert not np.allclose(one["loss"].values, two["loss"].values, rtol=1e-3)


@pytest.mark.parametrize(
    "task",
    [
        Arrays(Given("x", np.ones((6, 2, 2))), Given("y", np.ones((6, 2)))),
        TextWindows(Given("t", np.arange(10, dtype=np.uint8)), window=4, dim=8),
    ],
)
def test_a_task_with_so_many_examples_is_refused_online_since_fresh_ones_would_be_held_out_ones(task):
    with pytest.raises(ValueError, match=f"{type(task).__name__} has 6 in all; choose Minibatch"):
        check(dataclasses.replace(SMALL, task=task, data=Online(2)))


@pytest.mark.parametrize("data", [Online(2), Minibatch(2, samples=4), Padded(2, room=3)])
@pytest.mark.parametrize(
    "probe", [*(Certified(certificate=one) for one in CERTIFICATES), LipschitzSearch(), EndState()]
)
def test_theorems_are_refused_where_examples_change_or_count_differently(probe, data):
    with pytest.raises(ValueError, match=f"are for a FullBatch, got {type(data).__name__}"):
        train(dataclasses.replace(SMALL, data=data, probes={"theorem": probe}))


def test_a_data_set_online_gives_distinct_training_examples():
    data, held = Online(40), jax.tree.map(jnp.asarray, stored(CLASSIFYING))
    lane = begin(dataclasses.replace(CLASSIFYING, data=data), key=KEY, stored=held)
    drawn = data.at(lane.objective, CLASSIFYING.task, lane.source(held), jnp.asarray(3), key=lane.key)
    assert sorted(map(tuple, np.asarray(drawn.inputs))) == sorted(map(tuple, np.asarray(held.train.inputs)))


def test_a_padded_run_is_the_run_on_its_first_examples():
    data = Padded(3, room=5)
    padded = dataclasses.replace(SMALL, data=data, optimizer=GD(0.1))
    lane = begin(padded, key=KEY)
    first = lane.objective.examples.at(slice(3))
    arrays = Arrays(Given("x", np.asarray(first.inputs)), Given("y", np.asarray(first.targets)))
    plain = dataclasses.replace(padded, task=arrays, data=FullBatch(3))
    np.testing.assert_allclose(train(padded, [3])["loss"].values, train(plain, [3])["loss"].values, rtol=1e-12)
    own = begin(plain, key=KEY)
    for kind in (Hessian, GaussNewton):
        np.testing.assert_allclose(
            kind(lane.objective, lane.start).dense(), kind(own.objective, own.start).dense(), rtol=0, atol=1e-12
        )
    rows = own.objective.residual(own.start).size
    matrix = Gram(lane.objective, lane.start).dense()
    np.testing.assert_allclose(matrix[:rows, :rows], Gram(own.objective, own.start).dense(), rtol=0, atol=1e-12)
    assert not matrix[rows:].any()


def test_spectra_of_a_padded_run_are_those_of_its_examples():
    wide = dataclasses.replace(SMALL, task=TokenRegression(tokens=2, dim=6), model=AttentionLayer(heads=1), steps=0)
    padded = dataclasses.replace(wide, data=Padded(2, room=3))
    lane = begin(padded, key=KEY)
    first = lane.objective.examples.at(slice(2))
    arrays = Arrays(Given("x", np.asarray(first.inputs)), Given("y", np.asarray(first.targets)))
    plain = dataclasses.replace(padded, task=arrays, data=FullBatch(2))
    own = begin(plain, key=KEY)
    probes = {"gram": GramSpectrum(At((0,))), "features": FeatureSpectrum(At((0,))), "tokens": TokenRank()}
    ours, theirs = (train(dataclasses.replace(one, probes=probes), [3]) for one in (padded, plain))
    for name in probes:
        assert theirs[name].values[0, 0, 0] > 1e-3
        np.testing.assert_allclose(ours[name].values[..., :2], theirs[name].values[..., :2], rtol=1e-10)
    np.testing.assert_array_equal(ours["features"].values[..., 2], theirs["features"].values[..., 2])
    np.testing.assert_array_equal(ours["tokens"].values, theirs["tokens"].values)
    ours, theirs = (krylov_extremes(one.objective, one.start, Krylov()) for one in (lane, own))
    np.testing.assert_allclose(ours.smallest.value, theirs.smallest.value, rtol=1e-10)
    np.testing.assert_allclose(ours.largest.value, theirs.largest.value, rtol=1e-10)


def test_numbers_of_samples_are_lanes_of_one_program():
    several = [dataclasses.replace(SMALL, data=Padded(n, room=4)) for n in (1, 2, 4)]
    assert len({structure(one) for one in several}) == 1
    for one, found in zip(several, sweep([Request(one, (0, 1)) for one in several]), strict=True):
        np.testing.assert_allclose(found["loss"].values, train(one, seeds=2)["loss"].values, rtol=1e-12)
    full = train(dataclasses.replace(SMALL, data=FullBatch(4)), seeds=2)
    np.testing.assert_allclose(found["loss"].values, full["loss"].values, rtol=1e-12)


@pytest.mark.parametrize(("samples", "room"), [(2.5, 4), (0, 4), (5, 4)])
def test_padding_counts_whole_samples_that_fit(samples, room):
    with pytest.raises(ValueError, match=f"Padded.samples must be a whole number from 1 to room={room}"):
        Padded(samples, room)


def test_inputs_are_trees_everywhere():
    found = train(dataclasses.replace(PAIRS, probes={"loss": Loss(Every()), "population": PopulationLoss(At((0, 8)))}))
    lane = begin(PAIRS, key=jax.random.key(0))
    inputs, targets = lane.objective.inputs, np.asarray(lane.objective.targets)
    sums, weight = np.asarray(inputs["first"] + inputs["second"]["deep"]), np.asarray(lane.start.weight)
    for loss in found["loss"].values[0]:
        error = sums @ weight - targets
        np.testing.assert_allclose(loss, 0.5 * (error**2).sum() / 7, rtol=1e-12)
        weight = weight - 0.05 * sums.T @ error / 7
    batched = train(dataclasses.replace(PAIRS, data=Minibatch(3, samples=7)))
    assert np.isfinite(batched["loss"].values).all()
    whole, parts = (Hessian(lane.objective, lane.start, batch=size).dense() for size in (None, 3))
    np.testing.assert_allclose(whole, np.kron(sums.T @ sums, np.eye(2)) / 7, rtol=0, atol=1e-13)
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-13)
    np.testing.assert_allclose(
        Gram(lane.objective, lane.start).dense(), np.kron(sums @ sums.T, np.eye(2)) / 7, rtol=0, atol=1e-13
    )
    exact = found["population"].values[0]
    held = lane.held_out
    outputs = (held.inputs["first"] + held.inputs["second"]["deep"]) @ lane.start.weight
    each = 0.5 * np.sum((np.asarray(outputs) - np.asarray(held.targets)) ** 2, axis=1)
    assert abs(each.mean() - exact[0]) < 4 * each.std() / np.sqrt(400)


def test_a_population_loss_is_asked_of_tasks_that_know_it():
    with pytest.raises(ValueError, match="TokenRegression does not know it"):
        train(dataclasses.replace(SMALL, probes={"loss": PopulationLoss()}))


def test_a_pooled_model_reads_any_number_of_outputs():
    pooled = dataclasses.replace(SIGNS, model=AttentionLayer(heads=1, readout=MeanPool()))
    assert np.isfinite(train(dataclasses.replace(pooled, steps=1))["loss"].values).all()

"""Full batches, minibatches and data sets in a run."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab._definition import DefinitionError
from descentlab.data import FullBatch, Minibatch
from descentlab.experiment import Experiment, check, stored
from descentlab.lanes import Lanes
from descentlab.models import Classify, EachToken, NoPositions, Transformer
from descentlab.optim import Adam
from descentlab.probes import GramSpectrum, HeldOut, Loss
from descentlab.schedule import At, Every
from descentlab.tasks import TokenRegression
from descentlab.training import prepare, train
from support.problems import CLASSIFYING, SMALL, run, started

pytestmark = pytest.mark.usefixtures("float64")


def test_a_minibatch_is_drawn_anew_at_every_step_and_uniformly():
    objective, _ = started(dataclasses.replace(SMALL, data=Minibatch(4, samples=3)))
    assert objective.inputs.shape[0] == 3
    key = jax.random.key(7)

    def drawn(step):
        at = Minibatch(4, samples=3).at(objective, SMALL.task, None, step, key=key)
        same = jnp.all(at.inputs[:, None] == objective.inputs[None], axis=(2, 3))
        assert at.targets.shape == (4, 3, 1)
        return jnp.argmax(same, axis=1), same.any(axis=1), at.targets

    rows, found, targets = jax.vmap(drawn)(jnp.arange(3000))
    assert np.all(found)
    np.testing.assert_array_equal(targets, np.asarray(objective.targets)[np.asarray(rows)])
    counts = np.bincount(np.asarray(rows).ravel(), minlength=3)
    assert np.abs(counts - 4000).max() < 4.5 * np.sqrt(12000 * 2 / 9)
    assert len(np.unique(np.asarray(rows), axis=0)) == 81


def test_a_task_that_makes_its_examples_needs_their_number():
    with pytest.raises(ValueError, match=re.escape("Minibatch.samples must be given")):
        check(dataclasses.replace(SMALL, data=Minibatch(4)))


def test_a_minibatch_of_a_data_set_is_taken_from_its_training_part():
    experiment = CLASSIFYING
    held = stored(experiment)
    objective, _ = started(experiment)
    training = jax.tree.map(jnp.asarray, held.train)
    at = experiment.data.at(objective, experiment.task, training, jnp.asarray(2), key=jax.random.key(0))
    assert at.inputs.shape == (4, 6)
    for tokens, label in zip(np.asarray(at.inputs), np.asarray(at.targets), strict=True):
        places = np.flatnonzero((held.train.inputs == tokens).all(axis=1))
        assert label in held.train.targets[places]


def test_the_full_batch_of_a_data_set_has_distinct_examples_and_no_more_than_there_are():
    objective, _ = started(dataclasses.replace(CLASSIFYING, data=FullBatch(40)))
    held = stored(CLASSIFYING).train
    order = np.lexsort(np.asarray(objective.inputs).T)
    np.testing.assert_array_equal(np.asarray(objective.inputs)[order], held.inputs[np.lexsort(held.inputs.T)])
    with pytest.raises(ValueError, match="this part of the data set has 40 examples, 41 were asked for"):
        check(dataclasses.replace(CLASSIFYING, data=FullBatch(41)))


def test_held_out_numbers_are_those_of_the_final_model_on_the_part():
    probes = {"loss": Loss(Every()), "held": HeldOut(At((30,)), part="test"), "some": HeldOut(At((30,)), examples=7)}
    one = run([dataclasses.replace(CLASSIFYING, optimizer=Adam(0.02), probes=probes, steps=30)])[0]
    model = _final(CLASSIFYING, one)
    held = stored(CLASSIFYING)
    for name, part, count in (("held", held.test, 20), ("some", held.development, 7)):
        outputs = np.stack([model(jnp.asarray(tokens)) for tokens in part.inputs[:count]])
        classes = part.targets[:count]
        logs = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(
            one[name].sel(quantity="loss").values[0, 0], -logs[np.arange(count), classes].mean(), rtol=1e-10
        )
        np.testing.assert_allclose(
            one[name].sel(quantity="accuracy").values[0, 0], (outputs.argmax(axis=1) == classes).mean(), rtol=1e-12
        )


def _final(experiment, trajectory):
    from descentlab._tree import with_named

    objective, params = started(experiment)
    return with_named(objective.model(params), trajectory.ends()[0])


def test_a_transformer_learns_a_rule_and_seeds_are_lanes():
    probes = {"held": HeldOut(At((0, 300)), part="test")}
    model = dataclasses.replace(CLASSIFYING.model, width=8, positions=NoPositions())
    experiment = dataclasses.replace(
        CLASSIFYING, model=model, data=Minibatch(16), optimizer=Adam(0.02), probes=probes, steps=300
    )
    both = train(experiment, seeds=2)
    assert np.all(both["held"].sel(quantity="accuracy").values[:, 1] >= 0.9)
    loss = both["held"].sel(quantity="loss").values
    assert np.all(loss[:, 1] < 0.5 * loss[:, 0])
    # Rounding grows along a run of Adam, so that lanes are compared early.
    probes = {"held": HeldOut(At((5,)), part="test")}
    short = dataclasses.replace(experiment, probes=probes, steps=5)
    np.testing.assert_allclose(
        train(short, seeds=[1])["held"].values, train(short, seeds=2)["held"].values[1:], rtol=1e-9
    )


def test_dropout_draws_at_every_step_and_not_on_held_out_examples():
    probes = {"loss": Loss(Every()), "held": HeldOut(Every())}
    still = dataclasses.replace(CLASSIFYING, data=FullBatch(8), probes=probes, steps=3)
    still = dataclasses.replace(still, optimizer=Adam(1e-15))  # moves no weight by more than that a step
    dropping = dataclasses.replace(still, model=dataclasses.replace(still.model, dropout=0.5))
    calm, noisy = run([still])[0], run([dropping])[0]
    np.testing.assert_allclose(calm["loss"].values, calm["loss"].values[0, 0], rtol=1e-9)
    assert len(np.unique(np.round(noisy["loss"].values[0], 9))) == 4
    np.testing.assert_allclose(noisy["held"].values, calm["held"].values, rtol=1e-9)


def test_least_squares_is_asked_for_where_a_residual_is_needed():
    with pytest.raises(DefinitionError, match="only least squares has a residual, this task has CrossEntropy"):
        prepare(Lanes((dataclasses.replace(CLASSIFYING, probes={"gram": GramSpectrum()}),), (0,)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocabulary": 4}, "Transformer.vocabulary must be at least 5 for this task, got 4"),
        ({"readout": Classify(1, 3)}, "this task has 2 classes, the model 1 outputs"),
    ],
)
def test_tokens_and_classes_without_a_place_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        check(dataclasses.replace(CLASSIFYING, model=dataclasses.replace(CLASSIFYING.model, **fields)))


def test_held_out_examples_are_asked_for():
    with pytest.raises(ValueError, match="needs Experiment.held_out above 0"):
        prepare(Lanes((dataclasses.replace(SMALL, probes={"held": HeldOut()}),), (0,)))


def test_a_read_out_of_the_wrong_kind_is_refused():
    wrong = dataclasses.replace(CLASSIFYING.model, readout=EachToken(2))
    with pytest.raises(ValueError, match="one vector a sequence"):
        check(dataclasses.replace(CLASSIFYING, model=wrong))


def test_a_transformer_fits_real_tokens_by_least_squares():
    model = Transformer(width=8, depth=1, heads=2, hidden=8, readout=EachToken(1))
    experiment = Experiment(
        task=TokenRegression(tokens=3, dim=4),
        data=FullBatch(2),
        model=model,
        optimizer=Adam(0.02),
        trained=None,
        probes={"loss": Loss(At((0, 300)))},
        steps=300,
    )
    loss = train(experiment)["loss"].values[0]
    assert loss[1] < 1e-3 * loss[0]

"""Sums that are right, columns that sum to nine as often as said, and both losses against loops."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.data import FullBatch
from descentlab.experiment import Experiment, check
from descentlab.models import EachToken, LinearNetwork, Transformer
from descentlab.tasks import Addition, NextDigits, SamePlaces
from support.problems import started

PLUS, EQUALS = 10, 11
SMALL = Experiment(
    task=Addition(3),
    data=FullBatch(4),
    model=Transformer(
        width=4, depth=1, hidden=None, causal=True, vocabulary=13, readout=EachToken(12, places=Addition(3).answered)
    ),
    trained=("query", "value"),
)


def symbols(digits=5, count=200, seed=0):
    return np.asarray(Addition(digits).sample(count, None, key=jax.random.key(seed)).inputs) - 1


def read(sequence):
    return int("".join(str(digit) for digit in sequence))


@pytest.mark.parametrize("digits", [1, 5, 12])
def test_every_sequence_is_a_sum_that_is_right(digits):
    rows = symbols(digits)
    assert rows.shape == (200, 3 * digits + 3)
    for row in rows:
        first, plus, second, equals, total = np.split(row, np.cumsum([digits, 1, digits, 1]))
        assert (plus, equals) == (PLUS, EQUALS)
        assert read(first) + read(second) == read(total)


def test_padding_is_no_symbol_and_every_token_has_a_place():
    tokens = np.asarray(Addition().sample(200, None, key=jax.random.key(0)).inputs)
    assert set(tokens.ravel()) == set(range(1, 13))
    assert Addition().vocabulary == 13


def nines(seed, count=40):
    rows = symbols(count=count, seed=seed)
    return int((rows[:, :5] + rows[:, 6:11] == 9).sum())


def test_a_fifth_of_batches_have_a_fifth_of_their_columns_made_to_sum_to_nine():
    """Otherwise a column sums to 9 in one case of ten, so that batches fall into two kinds that do not overlap."""
    batches = 400
    found = np.asarray([nines(seed) for seed in range(batches)])
    made = found > 38
    assert abs(made.sum() - 0.2 * batches) < 4 * np.sqrt(0.2 * 0.8 * batches)
    for kind, mean, variance in ((~made, 20.0, 200 * 0.09), (made, 40 + 16.0, 160 * 0.09)):
        assert abs(found[kind].mean() - mean) < 4 * np.sqrt(variance / kind.sum())


def test_digits_are_uniform():
    counts = np.bincount(np.concatenate([symbols(seed=seed)[:, :5].ravel() for seed in range(20)]), minlength=10)
    assert np.all(np.abs(counts - 2000) < 4.5 * np.sqrt(20000 * 0.09))


@pytest.mark.usefixtures("float64")
def test_the_loss_of_the_next_digits_is_that_of_the_loops():
    objective, params = started(SMALL)
    outputs, rows = np.asarray(objective.outputs(params)), np.asarray(objective.inputs) - 1
    total = 0.0
    for sample, row in zip(outputs, rows, strict=True):
        for place, wanted in enumerate(row[-4:]):
            total += np.log(np.exp(sample[place]).sum()) - sample[place, wanted]
    np.testing.assert_allclose(objective.loss(params), total / (4 * 4), rtol=1e-13)


@pytest.mark.usefixtures("float64")
def test_the_loss_of_the_same_places_is_the_published_sum_over_twice_the_samples():
    objective, params = started(dataclasses.replace(SMALL, task=Addition(3, SamePlaces())))
    outputs, rows = np.asarray(objective.outputs(params)), np.asarray(objective.inputs) - 1
    total = 0.0
    for sample, row in zip(outputs, rows, strict=True):
        for place, symbol in enumerate(row[-5:-1]):
            total += sum((output - (at == symbol)) ** 2 for at, output in enumerate(sample[place]))
    np.testing.assert_allclose(objective.loss(params), total / (2 * 4), rtol=1e-13)


@pytest.mark.usefixtures("float64")
def test_outputs_are_those_of_the_places_before_the_answer():
    objective, params = started(SMALL)
    model = objective.model(params)
    whole = dataclasses.replace(model, readout=dataclasses.replace(model.readout, places=None))
    every = jax.vmap(whole)(objective.inputs)
    np.testing.assert_array_equal(objective.outputs(params), every[:, -5:-1])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (dataclasses.replace(SMALL.model, vocabulary=12), "Transformer.vocabulary must be at least 13"),
        (LinearNetwork(outputs=12, vocabulary=12, places=(-5, -1)), "LinearNetwork.vocabulary must be at least 13"),
        (
            dataclasses.replace(SMALL.model, readout=EachToken(11, places=(-5, -1))),
            "12 classes, the model 11",
        ),
        (dataclasses.replace(SMALL.model, readout=EachToken(12)), "choose a read-out"),
    ],
)
def test_models_without_a_place_for_every_token_and_class_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        check(dataclasses.replace(SMALL, model=model, trained=None))


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="Addition.digits must be a finite number above 0, got 0"):
        Addition(0)


def test_answers_are_read_off_whole_sequences():
    rows = jnp.asarray(symbols(2, 3))
    places = slice(*Addition(2).answered)
    np.testing.assert_array_equal(NextDigits()(rows, places), rows[:, -3:])
    np.testing.assert_array_equal(np.argmax(SamePlaces()(rows, places), axis=-1), rows[:, -4:-1])

"""What is read or computed outside of compiled programs depends on the lane's own floats."""

import dataclasses

import equinox as eqx
import numpy as np
import pytest

from descentlab import FullBatch, train
from descentlab._describe import digest, structure
from descentlab.data import Minibatch
from descentlab.datasets import OwnText
from descentlab.lanes import Lanes
from descentlab.models import AttentionLayer, MeanPool
from descentlab.probes import Loss
from descentlab.schedule import Every
from descentlab.sweep import Request
from descentlab.sweep import run as sweep
from descentlab.tasks import Classification
from support.members import LABELLED
from support.problems import CLASSIFYING, SMALL, run
from support.untraced import AboveLevel, Geometric, Share, Signal

SIGNALS = [
    dataclasses.replace(
        SMALL,
        task=Classification(Signal(snr)),
        data=FullBatch(4),
        model=AttentionLayer(heads=1, output_dim=2, readout=MeanPool()),
        steps=4,
    )
    for snr in (0.1, 3.0)
]


def test_lanes_that_differ_in_a_float_of_their_data_set_train_on_their_own_data():
    together = sweep([Request(one, (0, 1)) for one in SIGNALS])
    for one, found in zip(SIGNALS, together, strict=True):
        alone = train(one, seeds=2)
        assert found["loss"].values.tobytes() == alone["loss"].values.tobytes()
        assert all(found.final[name].tobytes() == block.tobytes() for name, block in alone.final.items())
    losses = [found["loss"].values[:, -1] for found in together]
    assert not np.allclose(*losses, rtol=0.05)


def test_lanes_of_different_data_sets_are_no_lanes_of_one_program():
    with pytest.raises(ValueError, match="may differ in their floats only"):
        Lanes(tuple(SIGNALS), (0, 0))


@pytest.mark.parametrize("kind", [Signal, Share, Geometric])
def test_floats_outside_of_programs_are_structure(kind):
    one, other = kind(0.5), kind(0.75)
    assert structure(one) == structure(kind(0.5))
    assert structure(one) != structure(other)
    assert digest(one) != digest(other)


def test_floats_of_static_fields_are_structure():
    class Fastened(AboveLevel):
        ratio: float = eqx.field(default=2.0, static=True)

    assert structure(Fastened(ratio=2.0)) != structure(Fastened(ratio=3.0))
    assert structure(Fastened(1.0)) == structure(Fastened(2.0))


def test_a_data_set_with_given_arrays_is_trained_on():
    task = Classification(OwnText(LABELLED, length=6, development=1, test=0))
    model = dataclasses.replace(CLASSIFYING.model, vocabulary=256)
    found = train(dataclasses.replace(CLASSIFYING, task=task, model=model, data=Minibatch(2), steps=3))
    assert found.finished.all()
    assert np.isfinite(found["loss"].values).all()


def test_schedules_and_batchings_may_have_floats():
    experiments = [
        dataclasses.replace(SMALL, data=Share(share), probes={"loss": Loss(Geometric(factor))})
        for share, factor in ((0.2, 2.0), (0.3, 3.0))
    ]
    first, second = sweep([Request(one, (0,)) for one in experiments])
    assert first["loss"].steps.tolist() == [0, 1, 2, 4, 8]
    assert second["loss"].steps.tolist() == [0, 1, 3, 9]
    for share, factor, found in ((2, 2.0, first), (3, 3.0, second)):
        same = dataclasses.replace(SMALL, data=FullBatch(share), probes={"loss": Loss(Every())})
        steps = Geometric(factor).steps(SMALL.steps)
        np.testing.assert_allclose(found["loss"].values, train(same)["loss"].values[:, steps], rtol=1e-12)


def test_labels_are_those_of_the_lane():
    experiments = [dataclasses.replace(SMALL, probes={"above": AboveLevel(level)}, steps=1) for level in (0.0, 0.25)]
    first, second = run(experiments)
    assert first["above"].entries("quantity") == ("above 0",)
    assert second["above"].entries("quantity") == ("above 0.25",)
    np.testing.assert_allclose(
        first["above"].sel(quantity="above 0").values - 0.25,
        second["above"].sel(quantity="above 0.25").values,
        rtol=1e-12,
    )

"""A value of the wrong class is refused where it is written down, with the classes that fit."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab import Experiment, FullBatch, Given, train
from descentlab._definition import INDEX, DefinitionError
from descentlab.attention import Gaussian, Softmax
from descentlab.datasets import IMDb
from descentlab.experiment import check
from descentlab.models import AttentionLayer, Classify, LinearNetwork, MeanPool, Normal, Transformer
from descentlab.optim import GD, Clipped, GramGD
from descentlab.probes import Loss
from descentlab.schedule import At, Every
from descentlab.tasks import Addition, Arrays, Classification, InRange, Teacher, TextWindows, TokenRegression
from support.untraced import Signal

KERNELS = (
    "Softmax, Gaussian, NormalizedGaussian, ALiBi, HeadGaussian, Linear(,| or) ReLU.*"  # then those of other tests
)


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (Transformer, {"attention": Classify()}, f"attention must be {KERNELS}, got Classify; .* Transformer.readout"),
        (AttentionLayer, {"attention": Softmax}, f"must be {KERNELS}, got the class Softmax itself; write Softmax"),
        (AttentionLayer, {"readout": Classify()}, "must be PerToken, MeanPool or SumPool, got Classify"),
        (AttentionLayer, {"heads": 2.0}, "AttentionLayer.heads must be a whole number, got 2.0"),
        (AttentionLayer, {"heads": True}, "AttentionLayer.heads must be a whole number, got True"),
        (AttentionLayer, {"head_dim": "4"}, "AttentionLayer.head_dim must be a whole number or None, got '4'"),
        (AttentionLayer, {"residual": 1}, "AttentionLayer.residual must be True or False, got 1"),
        (Transformer, {"heads": "2"}, "Transformer.heads must be a whole number, got '2'"),
        (LinearNetwork, {"places": (1, 2, 3)}, "places must be a tuple of 2 numbers or None, got"),
        (At, {"at": [0, "a"]}, "At.at must be a tuple"),
        (GD, {"lr": "0.1"}, "GD.lr must be a number, got '0.1'"),
        (Normal, {"scale": None}, "Normal.scale must be a number, got None"),
        (Clipped, {"rule": 0.1}, "Clipped.rule must be .*GD, GramGD, .* got 0.1"),
        (At, {"at": 3}, "At.at must be a tuple .each entry a whole number., got 3"),
        (FullBatch, {"samples": np.int64(3)}, "FullBatch.samples must be a whole number, got .*; write 3"),
        (FullBatch, {"samples": INDEX + 1}, f"got {INDEX + 1}; no number of things is above {INDEX}"),
        (InRange, {"blocks": (1,)}, "InRange.blocks must be a tuple .each entry a text., got"),
        (Teacher, {"architecture": Softmax()}, "Teacher.architecture must be .*AttentionLayer.*, got Softmax"),
        (Arrays, {"given_inputs": np.ones(2), "given_targets": 1}, "Arrays.given_inputs must be Given, got array"),
        (TextWindows, {"text": "a text"}, "TextWindows.text must be Given, got 'a text'"),
        (TokenRegression, {"duplicates": 0.5}, "TokenRegression.duplicates must be a whole number, got 0.5"),
        (Classification, {"dataset": GD()}, "Classification.dataset must be .*IMDb, .*got GD"),
        (Loss, {"when": 5}, "Loss.when must be .*Every, At.*, got 5"),
        (Experiment, {"task": GD()}, "Experiment.task must be .*; GD fits Experiment.optimizer"),
        (
            Experiment,
            {"trained": "value"},
            "Experiment.trained must be a tuple .* or None, got 'value'",
        ),
        (Experiment, {"probes": Loss()}, "Experiment.probes must be a dictionary .each value .*Loss, .*, got Loss"),
        (Experiment, {"probes": {"loss": GD()}}, "Experiment.probes must be a dictionary"),
        (Experiment, {"probes": {1: Loss()}}, "Experiment.probes must be named by texts, got 1; write '1'"),
        (Experiment, {"trained": ("value", "value")}, "Experiment.trained must name each block once, got value, value"),
        (GD, {"lr": np.ones(2)}, "GD.lr must be a number, got array"),
        (Experiment, {"steps": 1e3}, "Experiment.steps must be a whole number, got 1000.0"),
        (Experiment, {"precision": "float16"}, "precision must be 'float32' or 'float64', got 'float16'"),
        (Experiment, {"origin": GD()}, "Experiment.origin must be Experiment or None, got GD"),
    ],
)
@pytest.mark.usefixtures("without_type_checker")
def test_a_value_of_the_wrong_class_is_refused(kind, fields, said):
    with pytest.raises(DefinitionError, match=said):
        kind(**fields)


def test_what_fits_is_taken():
    assert GD(1).lr == 1.0
    assert AttentionLayer(head_dim=None).head_dim is None
    assert Given("list", [1.0, 2.0]).value.shape == (2,)
    assert Experiment(trained=["value"]).trained == ("value",)


def test_a_class_of_the_users_own_is_checked_and_its_own_check_sees_right_classes():
    class Own(Every):
        kernel: Softmax | Gaussian = Softmax()
        anything: object = None

        def __check_init__(self):
            assert isinstance(self.kernel, Softmax | Gaussian)

    Own(kernel=Gaussian(), anything={1, 2})
    with pytest.raises(DefinitionError, match="Own.kernel must be Softmax or Gaussian, got 3"):
        Own(kernel=3)
    with pytest.raises(DefinitionError, match="Own.k must be a whole number, got 'a'"):
        Own(k="a")


def test_traced_values_pass():
    @jax.jit
    def halved(rate):
        return dataclasses.replace(GD(rate), lr=rate / 2).lr

    assert halved(jnp.asarray(0.5)) == 0.25
    assert jax.tree.map(lambda _: None, GD()).lr is None
    assert eqx.tree_at(lambda one: one.lr, GD(), 3.0).lr == 3.0


@pytest.mark.parametrize("task", [Addition(), Classification(IMDb())])
def test_numbers_of_tokens_need_a_model_that_embeds_them(task):
    with pytest.raises(DefinitionError, match="gives token numbers, and AttentionLayer reads vectors only; .*Tra"):
        check(Experiment(task=task))


def test_a_layer_on_classes_is_told_what_its_outputs_must_be():
    task = Classification(Signal())
    with pytest.raises(ValueError, match=r"outputs must have the shape \(4, 'classes'\).*MeanPool"):
        check(Experiment(task=task, model=AttentionLayer(output_dim=2)))
    with pytest.raises(ValueError, match="this task has 2 classes, the model 1 outputs; choose .*output_dim=2"):
        check(dataclasses.replace(Experiment(task=task), model=AttentionLayer(readout=MeanPool())))


def test_a_rule_for_residuals_says_so_of_classes():
    experiment = Experiment(
        task=Classification(Signal()), model=AttentionLayer(output_dim=2, readout=MeanPool()), optimizer=GramGD()
    )
    with pytest.raises(DefinitionError, match="only least squares has a residual"):
        train(experiment)

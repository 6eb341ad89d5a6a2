"""Flags from definitions: paths, classes by name, and that only what was given is an override."""

import dataclasses
import re
from typing import Annotated

import numpy as np
import pytest
import tyro

from descentlab import Experiment
from descentlab.attention import Gaussian, NormalizedGaussian, ReLU
from descentlab.cli import flags
from descentlab.cli.discovery import UsageError
from descentlab.formats import DataError
from descentlab.models import AttentionLayer, Fixed, Zero
from descentlab.optim import Armijo
from descentlab.schedule import Every
from descentlab.stopping import LossBelow
from descentlab.tasks import Teacher, TextWindows


@dataclasses.dataclass(frozen=True)
class Options:
    """Those of the test."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    size: int = 1


def overrides(*arguments: str, base: Experiment | None = None) -> dict:
    options = Options(base or Experiment())
    return flags.parse(options, list(arguments), prog="descentlab run it", description="A test.")[1]


def test_nothing_given_overrides_nothing():
    assert overrides() == {}
    assert overrides("--size", "2") == {}


def test_values_have_the_type_of_their_field():
    found = overrides(
        *("--model.heads", "4", "--optimizer.lr=2", "--model.head-dim", "None", "--precision", "float32"),
        *("--model.residual", "--trained", "value", "query", "--model.query.scale", "2e-3"),
    )
    assert found == {
        "model.heads": 4,
        "optimizer.lr": 2.0,
        "model.head_dim": None,
        "precision": "float32",
        "model.residual": True,
        "trained": ("value", "query"),
        "model.query.scale": 2e-3,
    }
    assert isinstance(found["optimizer.lr"], float)
    assert overrides("--model.no-residual") == {"model.residual": False}
    assert overrides("--model.head_dim", "3") == {"model.head_dim": 3}


def test_a_value_equal_to_the_default_is_an_override_when_it_is_given():
    assert overrides("--model.heads", "2") == {"model.heads": 2}


@pytest.mark.parametrize("name", ["normalized-gaussian", "normalizedgaussian", "NormalizedGaussian"])
def test_a_class_is_chosen_by_its_name(name):
    assert overrides("--model.attention", name) == {"model.attention": NormalizedGaussian()}
    assert overrides(f"--model.attention={name}", "--size", "2") == {"model.attention": NormalizedGaussian()}


def test_a_chosen_class_has_its_defaults_and_its_own_flags():
    assert overrides("--model.attention", "relu") == {"model.attention": ReLU()}
    assert overrides("--model.attention", "gaussian", "--model.attention.c", "0.3") == {
        "model.attention": Gaussian(c=0.3)
    }
    assert overrides("--optimizer.halvings", "7", "--optimizer", "armijo", "--model.heads", "1") == {
        "optimizer": Armijo(halvings=7),
        "model.heads": 1,
    }
    assert overrides("--model.value", "zero") == {"model.value": Zero()}
    assert overrides("--until", "loss-below", "--until.loss", "0.2") == {"until": LossBelow(0.2)}


def test_classes_are_chosen_inside_chosen_classes():
    found = overrides(
        *("--task.target", "teacher", "--task.target.architecture", "attention-layer"),
        *("--task.target.architecture.attention", "gaussian", "--task.target.architecture.heads", "4"),
    )
    assert found == {"task.target": Teacher(AttentionLayer(attention=Gaussian(), heads=4))}


def test_the_fields_of_probes_have_flags():
    found = overrides("--probes.loss.when", "every", "--probes.loss.when.k", "3", "--probes.gradient.when.per-decade=5")
    assert found == {"probes.loss.when": Every(3), "probes.gradient.when.per_decade": 5}


def test_given_data_are_files(tmp_path):
    array = np.arange(8.0).reshape(2, 2, 2)
    np.save(tmp_path / "v.npy", array)
    (tmp_path / "text").write_bytes(b"\xff\x00 any encoding " * 10)
    found = overrides("--model.value", "fixed", "--model.value.array", str(tmp_path / "v.npy"))["model.value"]
    assert isinstance(found, Fixed)
    assert np.array_equal(found.array.value, array)
    base = Experiment(task=TextWindows())
    text = overrides("--task.text", str(tmp_path / "text"), base=base)["task.text"]
    assert text.value.tobytes() == (tmp_path / "text").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model.attention", "gausian"], "no attention 'gausian' for --model.attention; did you mean gaussian"),
        (["--model.attention"], "wanted the name of a class after --model.attention, got nothing"),
        (["--model.attention.c", "1"], "Softmax has no field 'c'.*choose another class: --model.attention .*gaussian"),
        (["--model.heds", "1"], "AttentionLayer has no field 'heds'; did you mean heads"),
        (["--modle.heads", "1"], "Experiment has no field 'modle'; did you mean model"),
        (["--heads", "1"], "there is no flag --heads; did you mean --model.heads"),
        (["--setps", "1"], "there is no flag --setps; did you mean --steps"),
        (["--probes.los.when.k", "1"], "no probe 'los'; did you mean loss"),
        (["--model.heads.more", "1"], "model.heads is a value without fields"),
        (["--task.target", "teacher"], "Teacher needs architecture; add --task.target.architecture"),
        (["--model.value", "fixed"], "Fixed needs array; add --model.value.array"),
        (["--model.value", "fixed", "--model.value.array", "nowhere.npy"], "nowhere.npy cannot be read: No such file"),
    ],
)
def test_unknown_names_are_met_with_the_nearest_ones(arguments, said):
    with pytest.raises((UsageError, DataError), match=said):
        overrides(*arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model.heads", "two"], "Error parsing --model.heads: invalid literal for int"),
        (["--model.heads", "0"], "AttentionLayer.heads must be a finite number above 0, got 0"),
        (["--model.query.scale", "-1"], "Normal.scale must be a finite number, at least 0, got -1.0"),
        (["--optimizer.lr", "-1e-3"], "GD.lr must be a finite number above 0, got -0.001"),
        (["--optimizer.lr", "nan"], "GD.lr must be a finite number above 0, got nan"),
        (["--task.tokens", "-3"], "TokenRegression.tokens must be a finite number above 0, got -3"),
        (["--data.samples", "0"], "FullBatch.samples must be a finite number above 0, got 0"),
        (["--precision", "float16"], "invalid choice 'float16'"),
        (["extra"], "Unrecognized options: extra"),
    ],
)
def test_refused_values_end_with_code_2(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        overrides(*arguments)
    assert ended.value.code == 2
    text = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said in text
    assert "Traceback" not in text


def test_help_names_flags_defaults_and_classes(capsys):
    with pytest.raises(SystemExit) as ended:
        overrides("--model.attention", "gaussian", "--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for part in ("--model.heads INT", "number of heads", "(default: 2)", "--model.attention.c", "--optimizer.lr FLOAT"):
        assert part in text
    # A kernel that another module defines is offered too, after those of the package.
    offered = re.search(r"--model.attention \{([^}]*)\} \(default: gaussian\)", text)
    assert offered is not None
    assert {"softmax", "gaussian", "normalized-gaussian", "linear", "relu"} <= set(offered[1].split(","))


@dataclasses.dataclass(frozen=True)
class WithData(Options):
    """Options with a flag of the name of a field."""

    data: str | None = None


def test_a_flag_outside_the_definition_goes_before_a_field_of_its_name():
    parsed, found = flags.parse(
        WithData(Experiment()), ["--data", "folder", "--data.samples", "3"], prog="descentlab run it", description=""
    )
    assert parsed.data == "folder"
    assert found == {"data.samples": 3}
    assert parsed.experiment.data.samples == 3

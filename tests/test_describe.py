"""Definitions as plain data and back, over structures that are put together at random."""

import dataclasses
import hashlib
import importlib
import json
import subprocess
import sys
import types

import equinox as eqx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descentlab import _classes, _describe, attention, models, optim, probes, schedule, tasks
from descentlab._definition import LATER, Definition, DefinitionError
from descentlab._describe import describe, digest, given_arrays, replace_at, restore, structure, value_at
from descentlab.data import FullBatch
from descentlab.experiment import Experiment
from descentlab.given import Given
from support.members import TEXT
from support.problems import SMALL


def recipes(kind, *args, **fields):
    """Strategies for the fields of a class. Checked constructors draw random numbers, so they run in the test."""
    return st.tuples(st.just(kind), st.tuples(*args), st.fixed_dictionaries(fields))


def made(recipe):
    if isinstance(recipe, tuple) and recipe and isinstance(recipe[0], type):
        kind, args, fields = recipe
        return kind(*map(made, args), **{name: made(value) for name, value in fields.items()})
    return {name: made(value) for name, value in recipe.items()} if isinstance(recipe, dict) else recipe


positive = st.floats(1e-6, 1e6)
size = st.integers(1, 9)
kernels = st.one_of(recipes(attention.Softmax), recipes(attention.Gaussian, st.none() | positive))
arrays = recipes(Given, st.just("array"), st.lists(st.floats(-9, 9), min_size=1, max_size=4).map(np.array))
starts = st.one_of(recipes(models.Normal, positive), recipes(models.Zero), recipes(models.Fixed, arrays))
layers = recipes(models.AttentionLayer, attention=kernels, heads=size, query=starts, residual=st.booleans())
blocks = st.sampled_from([("value",), ("query", "key")])
targets = st.one_of(
    recipes(tasks.Noise, positive), recipes(tasks.InRange, blocks, positive), recipes(tasks.Teacher, layers)
)
whens = st.one_of(
    recipes(schedule.Every, size), recipes(schedule.At, st.tuples(size, size)), recipes(schedule.LogSpaced, size)
)
experiments = recipes(
    Experiment,
    task=recipes(tasks.TokenRegression, tokens=size, dim=size, target=targets),
    data=recipes(FullBatch, size),
    model=layers,
    optimizer=st.one_of(recipes(optim.GD, positive), recipes(optim.Armijo), recipes(optim.GradientFlow, positive)),
    trained=blocks,
    probes=st.dictionaries(st.text(min_size=1, max_size=5), recipes(probes.Loss, whens), min_size=1, max_size=3),
    steps=st.integers(0, 10**6),
    precision=st.sampled_from(["float32", "float64"]),
)


def floats_of(definition):
    return eqx.filter(definition, lambda leaf: isinstance(leaf, float))


@settings(max_examples=12, deadline=None)
@given(experiments)
def test_restore_inverts_describe_through_json(recipe):
    definition = made(recipe)
    data = json.loads(json.dumps(describe(definition)))
    back = restore(data, {sha: given.value for sha, given in given_arrays(definition).items()})
    assert describe(back) == data
    assert digest(back) == digest(definition)
    assert floats_of(back) == floats_of(definition)


@settings(max_examples=12, deadline=None)
@given(experiments, experiments)
def test_digests_are_equal_exactly_where_descriptions_are(one, other):
    one, other = made(one), made(other)
    assert (digest(one) == digest(other)) == (describe(one) == describe(other))
    if structure(one) != structure(other):
        assert digest(one) != digest(other)


@settings(max_examples=8, deadline=None)
@given(experiments, positive)
def test_replacing_and_reading_at_a_path_are_inverse(recipe, scale):
    definition = made(recipe)
    for path, value in (("model.query", models.Normal(scale)), ("steps", 3), ("model.attention", attention.ReLU())):
        changed = replace_at(definition, path, value)
        assert value_at(changed, path) == value
        assert digest(replace_at(changed, path, value_at(definition, path))) == digest(definition)


def test_the_order_in_which_probes_are_named_does_not_count():
    one = {"a": probes.Loss(), "b": probes.StepSize()}
    other = dict(reversed(one.items()))
    first, second = (dataclasses.replace(SMALL, probes=named) for named in (one, other))
    assert digest(first) == digest(second)


def test_a_probe_is_reached_by_its_name():
    changed = replace_at(SMALL, "probes.loss.when.k", 5)
    assert changed.probes["loss"].when.k == 5
    assert SMALL.probes["loss"].when.k == 1


def test_integers_given_for_floats_are_floats():
    assert digest(optim.GD(1)) == digest(optim.GD(1.0))
    assert structure(optim.GD(1)) == structure(optim.GD(0.25))
    assert structure(models.Normal(2)) == structure(models.Normal(0.5))


def test_whole_numbers_strings_and_presence_of_a_float_are_structure():
    for path, value in (("steps", 13), ("precision", "float32"), ("model.attention", attention.Gaussian(None))):
        assert structure(replace_at(SMALL, path, value)) != structure(SMALL)


def test_content_identifies_a_given_array_and_its_name_does_not():
    one, renamed = Given("a", np.arange(3.0)), Given("b", np.arange(3.0))
    assert digest(one) == digest(renamed)
    others = [np.arange(3), np.arange(3.0)[::-1], np.arange(3.0)[None], np.arange(3.0, dtype=np.float32)]
    assert len({digest(Given("a", value)) for value in others} | {digest(one)}) == 5
    strided = np.arange(6.0)[::2]
    assert Given("a", strided).sha256 == Given("a", strided.copy()).sha256


def test_a_digest_is_the_same_in_another_process():
    code = "from support.problems import SMALL; print(SMALL.digest)"
    env = {"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "7"}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == SMALL.digest


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_no_definition(number):
    with pytest.raises(ValueError, match="finite"):
        describe({"x": number})


@pytest.mark.parametrize("thing", [object(), np.ones(2), {1, 2}])
def test_what_is_no_plain_data_is_refused(thing):
    with pytest.raises(TypeError, match="definition"):
        describe(thing)


@pytest.mark.parametrize("path", ["nothing", "model.nothing", "probes.nothing", "steps.x", ""])
def test_a_path_to_nowhere_is_refused(path):
    with pytest.raises(ValueError, match="no field"):
        replace_at(SMALL, path, 1)


def test_a_refused_value_is_refused_by_its_owner():
    with pytest.raises(ValueError, match="GD.lr"):
        replace_at(SMALL, "optimizer.lr", -1.0)


@pytest.mark.parametrize(
    "path", ["builtins:eval", "os:system", "json:JSONDecoder", "descentlab.nowhere:X", "descentlab.__main__:X", "x", ""]
)
def test_only_definitions_are_restored(path):
    with pytest.raises(DefinitionError):
        restore({"class": path}, {})


OWN = """
from pathlib import Path
from descentlab.attention import AbstractAttention
Path(__file__).with_suffix(".ran").touch()
class Own(AbstractAttention):
    share: float = 0.5
    def weights(self, query, key, mask=None):
        return query @ key.T
"""


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    """A file that leaves a mark when it is run, which `import own_kernel_file` would find."""
    path = tmp_path / "own_kernel_file.py"
    path.write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield path
    sys.modules.pop("own_kernel_file", None)


def test_a_definition_imports_nothing_and_says_what_is_missing(own_file):
    data = {"class": "own_kernel_file:Own", "scaling": describe(attention.InverseSqrt()), "share": 0.25}
    with pytest.raises(DefinitionError, match="class Own of the module own_kernel_file.*--classes own_kernel_file.py"):
        restore(data, {})
    assert not own_file.with_suffix(".ran").exists()
    found = restore(data, {}, files=[own_file])
    assert found.share == 0.25
    assert describe(found) == data
    assert type(restore(data, {})) is type(found)


def test_a_class_of_a_module_that_was_imported_is_found(own_file):
    kind = importlib.import_module("own_kernel_file").Own
    assert restore(describe(kind(0.75)), {}) == kind(0.75)


def test_an_attribute_that_a_module_would_have_to_make_is_not_asked_for(monkeypatch):
    lazy = types.ModuleType("lazy_module")
    lazy.__getattr__ = lambda name: pytest.fail(f"{name} was asked for")
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    with pytest.raises(DefinitionError, match="lazy_module, which has no such class"):
        restore({"class": "lazy_module:Anything"}, {})


def test_a_class_with_other_fields_is_another_version():
    data = describe(optim.GD())
    with pytest.raises(DefinitionError, match="GD has the field 'rate' only in the kept definition"):
        restore(data | {"rate": 1.0}, {})
    with pytest.raises(DefinitionError, match="GD has the field 'lr' only here"):
        restore({"class": data["class"]}, {})


class Grown(Definition):
    """A definition that got its last two fields after some were stored."""

    size: int = 2
    rate: float = eqx.field(default=0.5, metadata=LATER)
    start: models.AbstractInit = eqx.field(default_factory=models.Zero, metadata=LATER)


def test_a_field_that_came_later_counts_only_where_it_is_not_what_it_was():
    before = {"class": describe(Grown())["class"], "size": 3}
    back = restore(before, {})
    assert back == Grown(3, 0.5, models.Zero())
    assert describe(back)["start"] == {"class": "descentlab.models:Zero"}
    shown = hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()[:32]
    assert digest(back) == shown
    assert len({digest(one) for one in (back, Grown(3, 0.25), Grown(3, start=models.Normal(0.5)), Grown(2))}) == 4
    assert structure(back) == structure(Grown(3, 0.25)) == shown
    assert structure(back) != structure(Grown(3, start=models.Normal(0.5)))
    later = {"class": before["class"], "size": 3, "rate": 0.25}
    assert digest(restore(later, {})) == digest(Grown(3, 0.25))


def test_a_definition_is_shown_by_public_names_and_identified_wherever_its_class_lies(monkeypatch):
    one, moved = models.Transformer(), models.Transformer()
    data, before = describe(one), digest(one)
    assert data["class"] == "descentlab.models:Transformer"
    assert describe(SMALL)["class"] == "descentlab:Experiment"
    for name in ("descentlab.models.transformer:Transformer", "descentlab.models.gone:Transformer"):
        assert restore(data | {"class": name}, {}) == one
    monkeypatch.setattr(models.Transformer, "__module__", "descentlab.optim.transformer")
    monkeypatch.setattr(_describe, "public_name", _classes.public_name.__wrapped__)
    assert describe(moved)["class"] == "descentlab.optim.transformer:Transformer"
    assert digest(moved) == before


def test_probes_may_have_the_names_of_a_description():
    named = dataclasses.replace(SMALL, probes={"class": probes.Loss(), "given": probes.Loss(), "sha256": probes.Loss()})
    assert digest(restore(describe(named), {})) == digest(named)
    assert digest(named) != digest(dataclasses.replace(named, probes=named.probes | {"given": probes.StepSize()}))


def test_a_missing_array_is_missed():
    with pytest.raises(KeyError):
        restore(describe(TEXT), {})

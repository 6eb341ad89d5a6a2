"""What holds for every definition of the package, and that each has an example."""

import dataclasses
import importlib
import json
from collections import Counter

import pytest

from descentlab._classes import class_at, public_name
from descentlab._definition import LATER, Definition, Untraced
from descentlab._describe import describe, digest, given_arrays, replace_at, restore, structure
from descentlab.data import Padded
from support import members

INTERFACES = [kind for kind in members.interfaces() if kind is not members.MATRICES]
DEFINITIONS = [example for kind in INTERFACES for example in members.examples(kind)] + members.OTHERS
each = pytest.mark.parametrize("definition", [d for d in DEFINITIONS if d is not None], ids=members.name)


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda kind: kind.__name__)
def test_every_final_class_of_an_interface_has_an_example(interface):
    without = [kind.__name__ for kind in members.members(interface) if kind not in members.EXAMPLES]
    assert members.members(interface)
    assert not without, f"add an example of {', '.join(without)} to tests/support/members.py"


FINAL = [
    kind
    for kind in members.members(Definition)
    if kind not in (Definition, Untraced) and not kind.__module__.startswith("descentlab.cli.")
]
"""Classes that may be stored."""


@pytest.mark.parametrize("kind", FINAL, ids=lambda kind: kind.__name__)
def test_a_class_is_exported_by_its_package_and_found_by_its_public_name(kind):
    name = public_name(kind)
    place = name.partition(":")[0]
    assert class_at(name) is kind
    assert hasattr(importlib.import_module(place), "__path__") or place.count(".") == 1, f"export it beside {name}"
    assert not any(part.startswith("_") for part in name.replace(":", ".").split("."))


def test_no_two_classes_have_one_name():
    """Their own names stand for them in digests, so that a class may be moved."""
    counts = Counter(kind.__name__ for kind in FINAL)
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("kind", FINAL, ids=lambda kind: kind.__name__)
def test_a_field_that_came_later_has_a_default(kind):
    later = [field for field in dataclasses.fields(kind) if LATER.items() <= field.metadata.items()]
    missing = dataclasses.MISSING
    assert all(field.default is not missing or field.default_factory is not missing for field in later)


@each
def test_a_definition_comes_back_equal_from_its_description(definition):
    data = json.loads(json.dumps(describe(definition)))
    arrays = {sha: given.value for sha, given in given_arrays(definition).items()}
    back = restore(data, arrays)
    assert type(back) is type(definition)
    assert describe(back) == describe(definition)
    assert digest(back) == digest(definition)
    assert structure(back) == structure(definition)


@each
def test_a_float_changes_the_digest_and_not_the_structure(definition):
    floats = [f.name for f in dataclasses.fields(definition) if isinstance(getattr(definition, f.name), float)]
    for name in floats:
        other = definition.room if isinstance(definition, Padded) else getattr(definition, name) * 0.75 + 0.0625
        changed = replace_at(definition, name, float(other))  # a number of samples is whole
        assert digest(changed) != digest(definition)
        assert structure(changed) == structure(definition)
    assert digest(dataclasses.replace(definition)) == digest(definition)


@each
def test_a_definition_prints_in_fewer_than_forty_lines(definition):
    assert 0 < len(str(definition).splitlines()) < 40

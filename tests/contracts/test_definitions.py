"""What holds for every definition of the package, and that each has an example."""

import dataclasses
import json

import pytest

from descentlab._describe import describe, digest, given_arrays, replace_at, restore, structure
from support import members

INTERFACES = [kind for kind in members.interfaces() if kind is not members.MATRICES]
DEFINITIONS = [example for kind in INTERFACES for example in members.examples(kind)] + members.OTHERS
each = pytest.mark.parametrize("definition", [d for d in DEFINITIONS if d is not None], ids=members.name)


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda kind: kind.__name__)
def test_every_final_class_of_an_interface_has_an_example(interface):
    without = [kind.__name__ for kind in members.members(interface) if kind not in members.EXAMPLES]
    assert members.members(interface)
    assert not without, f"add an example of {', '.join(without)} to tests/support/members.py"


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
        changed = replace_at(definition, name, getattr(definition, name) * 0.75 + 0.0625)
        assert digest(changed) != digest(definition)
        assert structure(changed) == structure(definition)
    assert digest(dataclasses.replace(definition)) == digest(definition)


@each
def test_a_definition_prints_in_fewer_than_forty_lines(definition):
    assert 0 < len(str(definition).splitlines()) < 40

"""Given arrays: one hash for one content, which stays true and is computed once."""

import hashlib

import numpy as np
import pytest

from descentlab import Given


def test_the_hash_is_of_type_shape_and_bytes():
    value = np.arange(6.0).reshape(2, 3)
    expected = hashlib.sha256(b"<f8(2, 3)" + value.tobytes()).hexdigest()
    assert Given("a", value).sha256 == expected
    assert Given("b", np.asfortranarray(value)).sha256 == expected
    assert Given("c", value.astype(">f8")).sha256 == expected
    others = [value.ravel(), value.astype(np.float32), value + 1, np.float64(3.0), np.array([3.0])]
    assert len({Given("d", np.asarray(other)).sha256 for other in others}) == 5


def test_the_hash_is_computed_once_an_object(monkeypatch):
    given = Given("large", np.zeros(5_000_000))
    calls = []
    sha256 = hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", lambda *data: calls.append(1) or sha256(*data))
    assert len({given.sha256 for _ in range(50)}) == 1
    assert len(calls) == 1


def test_what_changes_the_array_outside_does_not_change_the_given_one():
    value = np.zeros(3)
    given = Given("mine", value)
    before = given.sha256
    value[0] = 1.0
    assert given.value[0] == 0.0
    assert Given("again", given.value).sha256 == before
    with pytest.raises(ValueError, match="read-only"):
        given.value[0] = 1.0


@pytest.mark.parametrize("dtype", ["U3", "S3", "O", "c16", "g", "M8[s]"])
def test_what_cannot_be_kept_is_refused_before_anything_is_computed(dtype):
    with pytest.raises(ValueError, match="mine must hold real numbers .*, got .*; convert it"):
        Given("mine", np.zeros(3, dtype=dtype))

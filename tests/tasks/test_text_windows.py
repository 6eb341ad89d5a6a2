"""Windows of a text against a plain reading of its bytes."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descentlab.given import Given
from descentlab.tasks import LetterClass, TextWindows, Vowel
from descentlab.tasks.text_windows import bundled_text

KEY = jax.random.key(3)
SAMPLE = b"He said: \xc3\xa9t\xc3\xa9!\n\tNine 99 oxen, AND some yaks; \x00\xff end."


def windows(text, **fields):
    return TextWindows(Given("text", np.frombuffer(text, dtype=np.uint8)), **{"window": 5, "dim": 6, **fields})


def read(task, text, count):
    """Windows with the byte after each, as plain bytes, by the key that the task uses."""
    starts = jax.random.choice(KEY, len(text) - task.window, (count,), replace=False)
    return [text[int(s) : int(s) + task.window + 1] for s in starts]


@pytest.mark.parametrize("position_scale", [0.0, 1.0])
def test_equal_bytes_are_equal_tokens_exactly_without_positions(position_scale):
    task = windows(b"aabbaabab" * 4, position_scale=position_scale)
    with jax.enable_x64(True):
        for sample, said in zip(
            np.asarray(task.sample(8, None, key=KEY).inputs), read(task, b"aabbaabab" * 4, 8), strict=True
        ):
            distinct = len(set(said[:5])) if position_scale == 0 else 5
            assert len(np.unique(sample, axis=0)) == distinct
            if position_scale == 0:
                for i in range(5):
                    for j in range(5):
                        assert np.array_equal(sample[i], sample[j]) == (said[i] == said[j])


def test_tokens_are_embedding_plus_position():
    with jax.enable_x64(True):
        bare, placed = (
            np.asarray(windows(SAMPLE, position_scale=p).sample(9, None, key=KEY).inputs) for p in (0.0, 2.0)
        )
    positions = (np.sqrt(5) * placed - bare) / 2
    np.testing.assert_allclose(positions, np.broadcast_to(positions[0], positions.shape), rtol=0, atol=1e-14)
    assert len(np.unique(np.round(positions[0], 9), axis=0)) == 5


def test_a_vowel_that_follows_is_plus_one():
    task = windows(SAMPLE)
    with jax.enable_x64(True):
        inputs = task.sample(20, None, key=KEY).inputs
        targets = np.asarray(task.sample(inputs.shape[0], None, key=KEY).targets)
    expected = [[1 if chr(b) in "aeiouAEIOU" else -1 for b in said[1:]] for said in read(task, SAMPLE, 20)]
    np.testing.assert_array_equal(targets[..., 0], expected)


def test_the_class_of_the_byte_that_follows_is_one_hot():
    def place(byte):
        if byte < 128 and chr(byte).isalpha():
            return 0 if chr(byte) in "aeiouAEIOU" else 1
        return 2 if chr(byte) in " \t\r\n" else 3

    task = windows(SAMPLE, target=LetterClass())
    with jax.enable_x64(True):
        inputs = task.sample(20, None, key=KEY).inputs
        targets = np.asarray(task.sample(inputs.shape[0], None, key=KEY).targets)
    expected = [[np.eye(4)[place(b)] for b in said[1:]] for said in read(task, SAMPLE, 20)]
    np.testing.assert_array_equal(targets, expected)


def test_windows_lie_at_distinct_places_and_reach_every_one():
    text = bytes(range(40, 60))
    task = windows(text, position_scale=0.0)
    with jax.enable_x64(True):
        firsts = np.asarray(task.sample(15, None, key=KEY).inputs)[:, 0]
    assert len(np.unique(firsts, axis=0)) == 15
    with pytest.raises(ValueError, match="at least 21 bytes for 16 windows of 5, got 20"):
        task.sample(16, None, key=KEY)


@settings(max_examples=10, deadline=None)
@given(st.binary(min_size=9, max_size=9))
def test_any_bytes_are_a_text(data):
    task = windows(data)
    inputs = task.sample(4, None, key=KEY).inputs
    targets = task.sample(inputs.shape[0], None, key=KEY).targets
    assert np.all(np.isfinite(inputs))
    assert np.all(np.abs(targets) == 1)


def test_all_bytes_have_their_own_embedding():
    text = bytes(range(256)) + b"?"
    inputs = windows(text, window=1, position_scale=0.0).sample(256, None, key=KEY).inputs
    assert len(np.unique(np.asarray(inputs)[:, 0], axis=0)) == 256


@pytest.mark.parametrize("text", [b"", b"abcde"])
def test_a_text_without_a_window_is_refused(text):
    with pytest.raises(ValueError, match="at least 6 bytes for 1 windows of 5"):
        windows(text)


def test_impossible_sizes_are_refused():
    for field in ("window", "dim"):
        with pytest.raises(ValueError, match=f"TextWindows.{field}"):
            windows(SAMPLE, **{field: 0})
    with pytest.raises(ValueError, match="TextWindows.position_scale"):
        windows(SAMPLE, position_scale=-0.1)


def test_the_text_that_comes_with_the_package_is_text():
    text = bytes(bundled_text().value).decode()
    assert len(text) > 1000
    assert "St. Petersburgh" in text
    assert Vowel() == TextWindows().target


@pytest.mark.parametrize("value", [np.ones(40), np.ones((40, 2), np.uint8), np.float64(3.0)])
def test_an_array_that_is_no_text_is_refused(value):
    said = r"TextWindows.text must be the bytes of a text, uint8 with one axis, got \S+ of shape .*; give a text file"
    with pytest.raises(ValueError, match=said):
        TextWindows(Given("it.npy", np.asarray(value)))

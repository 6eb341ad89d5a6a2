"""MNIST from idx files, packed or not, one half or both, whole and broken."""

import gzip
import os
import re
import shutil

import numpy as np
import pytest

from descentlab.datasets import MNIST, DataError, folder, mnist
from descentlab.datasets.parts import shuffled

COUNTS = {"train": 40, "t10k": 20}


def digits(half):
    random = np.random.default_rng(len(half))
    count = COUNTS[half]
    return random.integers(0, 256, (count, 28, 28), dtype=np.uint8), (np.arange(count) % 10).astype(np.uint8)


def idx(array, magic=None):
    head = [2051 if array.ndim == 3 else 2049, *array.shape]
    return np.array([magic or head[0], *head[1:]], dtype=">i4").tobytes() + array.tobytes()


def write(place, half, packed=True, **changed):
    place.mkdir(parents=True, exist_ok=True)
    images, labels = digits(half)
    for name, content in (("images-idx3", idx(images)), ("labels-idx1", idx(labels))):
        content = changed.get(name[:6], content)
        (place / f"{half}-{name}-ubyte{'.gz' * packed}").write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("inside", ["", "mnist", "MNIST/raw"])
def test_digits_are_cut_into_patches(data, packed, inside):
    for half in COUNTS:
        write(data / inside, half, packed)
    splits = MNIST(patch=14, development=10).load()
    images, labels = digits("train")
    assert [len(part.inputs) for part in splits] == [30, 10, 20]
    assert splits.train.inputs.dtype == np.float32
    order = shuffled(40)
    first, image = splits.train.inputs[0], images[order[0]]
    corners = [image[:14, :14], image[:14, 14:], image[14:, :14], image[14:, 14:]]
    for token, corner in zip(first, corners, strict=True):
        np.testing.assert_allclose(token, corner.ravel() / 255, rtol=1e-6)
    # One of each class is held out; which, is decided by the shuffled order alone.
    last = [max(place for place in range(40) if labels[order[place]] == digit) for digit in range(10)]
    assert splits.development.targets.tolist() == [labels[order[place]] for place in sorted(last)]
    assert splits.train.targets.tolist() == [labels[order[place]] for place in range(40) if place not in last]
    assert splits.test.targets.tolist() == digits("t10k")[1][shuffled(20)].tolist()


def test_pixels_as_tokens_are_the_image(data):
    for half in COUNTS:
        write(data, half)
    tokens = MNIST(patch=1).load().test.inputs
    np.testing.assert_array_equal(np.rint(tokens * 255).reshape(20, 28, 28), digits("t10k")[0][shuffled(20)])


@pytest.mark.parametrize(("part", "half"), [("train", "train"), ("test", "t10k")])
def test_one_half_alone_is_divided_in_three(data, part, half):
    write(data, half)
    splits = MNIST(parts=(part,), development=5).load()
    assert [len(one.inputs) for one in splits] == [COUNTS[half] - 10, 5, 5]
    found = np.concatenate([one.inputs for one in splits]).reshape(COUNTS[half], -1)
    assert len(np.unique(found, axis=0)) == COUNTS[half]


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    nowhere = {key: source._replace(url=f"http://127.0.0.1:9/{source.name}") for key, source in mnist.SOURCES.items()}
    monkeypatch.setattr(mnist, "SOURCES", nowhere)


def test_what_is_missing_is_said_only_where_it_is_asked_for(data, offline):
    write(data, "t10k")
    assert len(MNIST(parts=("test",)).load().train.inputs) == 16
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz or .*; or do with .*: parts=\('test',\)"):
        MNIST().load()
    (data / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.gz or [^;]*; or download [^;]*DESCENTLAB_DATA$"):
        MNIST(parts=("test",)).load()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": idx(np.zeros(19, np.uint8))}, "has 19 labels for the 20 images"),
        ({"labels": idx(np.full(20, 11, np.uint8))}, "holds the label 11, digits from 0 to 9"),
        (
            {"labels": idx(np.zeros((20, 28, 28), np.uint8))},
            "no idx file with 1 axes of bytes: it must begin with .* 2049, got 2051",
        ),
        ({"images": idx(np.zeros(20, np.uint8))}, "no idx file with 3 axes of bytes"),
        ({"images": idx(digits("t10k")[0])[:-5]}, r"has 15,675 bytes for the shape \(20, 28, 28\)"),
        ({"images": idx(np.zeros((20, 14, 56), np.uint8))}, "holds images of 14 x 56 pixels, 28 x 28 were wanted"),
        ({"images": b""}, "no idx file with 3 axes of bytes"),
    ],
)
def test_a_wrong_file_is_refused(data, change, said):
    write(data, "t10k", **change)
    with pytest.raises(DataError, match=said):
        MNIST(parts=("test",)).load()


def test_a_truncated_file_is_refused(data):
    write(data, "t10k")
    path = data / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte.gz is not a whole gzip file \(.*\); get it again"):
        MNIST(parts=("test",)).load()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"patch": 0}, "must divide 28: 1, 2, 4, 7, 14 or 28, got 0"),
        ({"patch": 5}, "must divide 28: 1, 2, 4, 7, 14 or 28, got 5"),
        ({"parts": ()}, "must name train, test or both, got ()"),
        ({"parts": ("dev",)}, "must name train, test or both, got ('dev',)"),
        ({"development": -1}, "at least 0, got -1"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        MNIST(**fields)


def test_the_original_digits(given):
    if folder.find(["mnist/t10k-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"]) is None:
        pytest.skip("no MNIST in the data folder")
    splits = MNIST(parts=("test",)).load()
    assert [part.inputs.shape for part in splits] == [(8000, 16, 49), (1000, 16, 49), (1000, 16, 49)]
    assert splits.train.inputs.max() == 1
    shares = np.bincount(splits.test.targets) / np.bincount(np.concatenate([part.targets for part in splits]))
    np.testing.assert_allclose(shares, 0.1, atol=0.001)


def test_a_pipe_in_the_data_folder_is_named_and_not_waited_for(data):
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        os.mkfifo(data / name)
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte is a pipe or device; write its content to a file"):
        MNIST(parts=("test",)).load()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["{}.{}", "raw/{}.{}", "MNIST/{}-{}", "{0}-{1}/{0}-{1}"])
def test_files_are_found_under_the_names_that_unpackers_and_mirrors_give(data, name, packed):
    if packed and name.count("{") > 2:
        pytest.skip("only unpacked files lie in folders of their own name")
    write(data / "else", "t10k")
    whole = {kind: (data / "else" / f"t10k-{kind}-ubyte.gz").read_bytes() for kind in ("images-idx3", "labels-idx1")}
    shutil.rmtree(data / "else")
    for kind, content in whole.items():
        first, second = kind.split("-")
        path = data / (name.format(f"t10k-{first}", f"{second}-ubyte") + ".gz" * packed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if packed else gzip.decompress(content))
    assert len(MNIST(parts=("test",)).load().train.inputs) == 16


def test_names_that_are_nearly_right_are_named(data):
    for name in ("T10k-Images-idx3-ubyte", "T10k-Labels-idx1-ubyte"):
        (data / name).write_bytes(b"")
    with pytest.raises(DataError, match="T10k-Images-idx3-ubyte seems to be t10k-images-idx3-ubyte.gz"):
        MNIST(parts=("test",)).load()


def test_a_shuffled_order_is_a_permutation_that_is_always_the_same():
    assert shuffled(10).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]
    assert sorted(shuffled(1000)) == list(range(1000))
    # The mean place of the first half in a random order, with five standard errors of a half of 1,000 numbers.
    assert abs(shuffled(1000)[:500].mean() - 499.5) < 5 * np.sqrt(1000**2 / 12 / 500 / 2)

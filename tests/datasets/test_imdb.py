"""IMDb from archives and folders in the original layout, whole and broken."""

import io
import re
import shutil
import tarfile

import numpy as np
import pytest

from descentlab.datasets import DataError, IMDb, folder, imdb

REVIEWS = 6


def reviews():
    """Reviews by their place in the archive; the text names its own place."""
    found = {}
    for part in ("train", "test"):
        for label, rating in (("neg", 2), ("pos", 9)):
            for number in range(REVIEWS):
                found[f"aclImdb/{part}/{label}/{number}_{rating}.txt"] = f"{part} {label} {number} é".encode()
    return found | {"aclImdb/README": b"read me", "aclImdb/train/unsup/0_0.txt": b"no label"}


def write_archive(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in reversed(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture(params=["archive", "folder"])
def place(request, data, monkeypatch):
    """What writes files as the data set, packed or not, and the text that a broken one is called by."""
    monkeypatch.setattr(imdb, "REVIEWS", REVIEWS)

    def write(files):
        shutil.rmtree(data / "aclImdb", ignore_errors=True)
        if request.param == "archive":
            write_archive(data / "aclImdb_v1.tar.gz", files)
            return
        for name, content in files.items():
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_bytes(content)

    return write


def texts(examples):
    return [bytes(row).rstrip(b"\0").decode() for row in examples.inputs]


def test_every_review_is_in_one_part_with_its_class(place):
    place(reviews())
    dataset = IMDb(length=40, development=4)
    splits = dataset.load()
    assert texts(splits.train) == [f"train {label} {i} é" for i in range(4) for label in ("neg", "pos")]
    assert texts(splits.development) == [f"train {label} {i} é" for i in (4, 5) for label in ("neg", "pos")]
    assert texts(splits.test) == [f"test {label} {i} é" for i in range(6) for label in ("neg", "pos")]
    for examples in splits:
        assert examples.inputs.dtype == np.uint8
        named = [dataset.classes[label][:3] for label in examples.targets]
        assert named == [text.split()[1] for text in texts(examples)]
    again = dataset.load()
    assert all(
        np.array_equal(a, b) for one, two in zip(splits, again, strict=True) for a, b in zip(one, two, strict=True)
    )


def test_long_reviews_are_cut_and_short_ones_padded_at_the_end(place):
    files = reviews() | {"aclImdb/test/neg/0_2.txt": b"abcdefghij"}
    place(files)
    for length, wanted in ((4, b"abcd"), (10, b"abcdefghij"), (13, b"abcdefghij\0\0\0")):
        tokens = IMDb(length=length, development=0).load().test.inputs
        assert tokens.shape == (12, length)
        assert bytes(tokens[0]) == wanted


def test_the_whole_training_part_may_be_trained_on(place):
    place(reviews())
    splits = IMDb(length=8, development=0).load()
    assert splits.train.inputs.shape == (12, 8)
    assert splits.development.inputs.shape == (0, 8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"aclImdb/test/pos/4_9.txt": None}, "test/pos has 5 of 6 reviews .* first that is missing is number 4"),
        ({"aclImdb/train/neg/7_1.txt": b"text"}, "train/neg has 7 reviews, 6 were wanted"),
        ({"aclImdb/train/neg/3_2.txt": b""}, "train/neg/3_2.txt is empty"),
        ({"aclImdb/train/neg/3_2.txt": b"ab\0c"}, "3_2.txt is not text: a zero byte at position 2"),
        ({"aclImdb/train/neg/3_8.txt": b"good"}, "has rating 8 of 10 but lies among neg"),
    ],
)
def test_an_incomplete_or_wrong_data_set_is_refused_with_its_reason(place, change, said):
    files = {name: content for name, content in (reviews() | change).items() if content is not None}
    place(files)
    with pytest.raises(DataError, match=said):
        IMDb(development=2).load()
    place(reviews())
    IMDb(development=2).load()


def test_an_empty_folder_is_refused(data):
    (data / "aclImdb").mkdir()
    with pytest.raises(DataError, match="aclImdb is incomplete: train/neg has 0 of 12500 reviews"):
        IMDb().load()


@pytest.mark.parametrize("cut", [0.5, 0.999, 0.0])
def test_a_truncated_archive_is_refused(data, monkeypatch, cut):
    monkeypatch.setattr(imdb, "REVIEWS", REVIEWS)
    path = data / "aclImdb_v1.tar.gz"
    write_archive(path, reviews())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(DataError, match=r"aclImdb_v1.tar.gz is (not a whole|incomplete)"):
        IMDb(development=2).load()
    path.write_bytes(whole[:-12] + bytes(4) + whole[-8:])
    with pytest.raises(DataError, match=r"aclImdb_v1.tar.gz is not a whole gzip file \(.*\); get it again"):
        IMDb(development=2).load()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"length": 0}, "IMDb.length must be a finite number above 0, got 0"),
        ({"development": 7}, "must be even and below 25000, got 7"),
        ({"development": 25000}, "must be even and below 25000, got 25000"),
        ({"development": -2}, "at least 0, got -2"),
    ],
)
def test_numbers_that_cannot_be_are_refused(fields, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        IMDb(**fields)


def test_the_original_data(given):
    if folder.find([imdb.SOURCE.name, "aclImdb"]) is None:
        pytest.skip("no IMDb in the data folder")
    splits = IMDb(length=256).load()
    assert [part.inputs.shape for part in splits] == [(20_000, 256), (5000, 256), (25_000, 256)]
    for part in splits:
        assert part.targets.mean() == 0.5
        padded = part.inputs == 0
        assert not np.any(padded[:, :-1] & ~padded[:, 1:])
        assert not np.any(padded[:, 0])
        assert np.all(part.inputs.max(axis=1) < 256)

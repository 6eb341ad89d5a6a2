"""Files and folders: whole or absent, flushed to the disk, and told apart from what was written."""

import os

import pytest

from descentlab import _files as files


def test_a_file_takes_the_place_of_another_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "folder" / ("n" * 250)
    with files.replacing(path) as file:
        file.write(b"first")
        assert not path.exists()
    assert path.read_bytes() == b"first"
    with pytest.raises(TypeError), files.replacing(path) as file:
        file.writelines([b"second", "no bytes"])
    assert path.read_bytes() == b"first"
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_folders_that_are_there_stay_and_the_others_are_made(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_bytes(b"first")
    places = [tmp_path / "old", tmp_path / "below" / "new"]
    files.write_folders([(place, {"file": b"second"}) for place in places], tmp_path / "beside")
    assert [(place / "file").read_bytes() for place in places] == [b"first", b"second"]
    assert not (tmp_path / "beside").exists()


def test_nothing_is_half_made_where_something_else_has_the_name(tmp_path):
    (tmp_path / "taken").write_bytes(b"a file")
    with pytest.raises(OSError, match="taken|Not a directory"):
        files.write_folders([(tmp_path / "taken", {"file": b"content"})], tmp_path / "beside")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_file_system_that_cannot_flush_a_folder_is_lived_with(tmp_path, monkeypatch):
    flush = os.fsync

    def refuse(number: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{number}"):
            raise OSError(22, "Invalid argument")
        flush(number)

    monkeypatch.setattr(os, "fsync", refuse)
    with files.replacing(tmp_path / "file") as file:
        file.write(b"content")
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_seal_is_broken_by_any_change():
    content = files.seal(b'{"sha256": "' + files.BLANK.encode() + b'", "rest": 1}')
    sha256 = content[12:76].decode()
    assert files.is_sealed(content, sha256)
    for place in range(len(content)):
        changed = bytes([*content[:place], content[place] ^ 1, *content[place + 1 :]])
        assert not files.is_sealed(changed, changed[12:76].decode(errors="replace"))
    for wrong in (None, "", 3, "0" * 64, sha256[:-1]):
        assert not files.is_sealed(content, wrong)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, PermissionError(13, "no", "file")])
def test_what_says_nothing_about_the_bytes_is_no_damage(error):
    with pytest.raises(error if isinstance(error, type) else type(error)), files.decoding("file"):
        raise error


class Panic(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Panic("no\nmore"), "it cannot be read: Panic: no"),
        (ValueError("bad"), "it cannot be read: ValueError: bad"),
        (FileNotFoundError(2, "none", "it"), "it is missing"),
        (OSError(5, "Input/output error", "it"), "it cannot be read: Input/output error"),
    ],
)
def test_what_a_reader_raises_is_damage(error, said):
    with pytest.raises(files.Damage) as caught, files.decoding("it"):
        raise error
    assert str(caught.value) == said

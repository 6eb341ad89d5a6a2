"""Files and folders that are whole or absent, and that are still what was written.

A file is written beside its place and moved there by one rename, so no reader meets half of it. The rename outlasts a
loss of power once the folder that holds the name has been flushed to the disk too. SHA-256 tells whether a file has
changed since: that of another file, or its own, which stands in its text in the place of 64 zeros.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "BLANK",
    "Damage",
    "checksum",
    "decoding",
    "is_sealed",
    "listed",
    "make_folder",
    "read",
    "remove",
    "replacing",
    "seal",
    "verify",
    "write_folders",
]

BLANK = "0" * 64
"""What stands for a file's own SHA-256 while that is computed."""

FLUSHES = 16
"""Flushes that are asked for at once: a disk does many together in about the time of one."""

_MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)

_PASSING = (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)


class Damage(Exception):
    """A file is missing or not what was written; says in what way."""


@contextlib.contextmanager
def replacing(path: Path, beside: Path | None = None) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path`, in one step, when the block ends without an error.

    Args:
        path: the file's place; missing folders are made.
        beside: where it is written, on the same disk; `None` is a name of its own next to `path`.

    Raises:
        OSError: if it cannot be written; `path` is as it was then.
    """
    beside = beside or path.with_name(f".{uuid.uuid4().hex}")
    try:
        for folder in {beside.parent, path.parent}:
            make_folder(folder)
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _flush(path.parent)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def write_folders(folders: Iterable[tuple[Path, Mapping[str, bytes]]], beside: Path) -> None:
    """Make folders with these files, each whole or not at all.

    A folder that is already there is another process's copy of the same data and stays.

    Args:
        folders: the place and the files of each, by name.
        beside: a folder on the same disk that nobody else uses; it is made, and removed at the end.

    Raises:
        OSError: if one cannot be written; those that are in their places are whole.
    """
    try:
        make_folder(beside)
        places, written = [], []
        for number, (path, files) in enumerate(folders):
            new = beside / str(number)
            new.mkdir()
            for name, content in files.items():
                (new / name).write_bytes(content)
                written.append(new / name)
            places.append((new, path))
        with ThreadPoolExecutor(FLUSHES) as pool:
            list(pool.map(_flush, written))
            list(pool.map(_flush, [new for new, _ in places]))
            for path in {path.parent for _, path in places}:
                make_folder(path)
            for new, path in places:
                _place(new, path)
            list(pool.map(_flush, {path.parent for _, path in places}))
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _place(new: Path, path: Path) -> None:
    """Give a whole folder its name, unless another process was first."""
    try:
        os.rename(new, path)
    except OSError:
        if not path.is_dir():
            raise


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder that outlasts a loss of power, and those above it."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for one in missing:
        _flush(one.parent)


def listed(folder: Path) -> list[Path]:
    """What lies in a folder, in order; nothing where there is none."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _flush(path: Path) -> None:
    """Have a file's content, or a folder's list of names, on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot do this for a folder
            raise
    finally:
        os.close(number)


_checksums: dict[tuple[int, ...], str] = {}
"""SHA-256 of the files that were looked at, by what changes whenever a file does."""


def _mark(path: Path) -> tuple[int, ...]:
    """Inode, size and times of a file: while they stay, so does its content.

    Raises:
        Damage: if it is no regular file, of which reading might never end.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise Damage(f"{path.name} is no file")
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def checksum(path: Path) -> str:
    """SHA-256 of a file, computed once a process as long as the file does not change.

    Raises:
        Damage: if it is no regular file.
        OSError: if it cannot be read.
    """
    mark = _mark(path)
    if mark not in _checksums:
        with path.open("rb") as file:
            _checksums[mark] = hashlib.file_digest(file, "sha256").hexdigest()
    return _checksums[mark]


def verify(path: Path, sha256: str) -> None:
    """Compare a file with its checksum.

    Raises:
        Damage: if it is another file than was written.
        OSError: if it cannot be read.
    """
    _compare(path, checksum(path), sha256)


def read(path: Path, sha256: str | None = None) -> bytes:
    """The content of a file, compared with its checksum where that is given.

    Raises:
        Damage: if it is another file than was written.
        OSError: if it cannot be read.
    """
    mark = _mark(path)
    content = path.read_bytes()
    if sha256 is not None:
        if mark not in _checksums:
            _checksums[mark] = hashlib.sha256(content).hexdigest()
        _compare(path, _checksums[mark], sha256)
    return content


def _compare(path: Path, found: str, wanted: str) -> None:
    if found != wanted:
        raise Damage(f"{path.name} has changed since it was written: SHA-256 {found[:12]}, wanted {wanted[:12]}")


def seal(content: bytes) -> bytes:
    """The content with its SHA-256 in the place of its first 64 zeros (`BLANK`)."""
    return content.replace(BLANK.encode(), hashlib.sha256(content).hexdigest().encode(), 1)


def is_sealed(content: bytes, sha256: object) -> bool:
    """Whether this is the SHA-256 that `seal` put into the content, and nothing has changed since."""
    if not isinstance(sha256, str) or len(sha256) != len(BLANK):
        return False
    blank = content.replace(sha256.encode(), BLANK.encode(), 1)
    return hashlib.sha256(blank).hexdigest() == sha256


@contextlib.contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever a reader raises at the bytes of a file, which it cannot read, into `Damage`.

    Readers of foreign formats raise what they like, polars even what is no `Exception`. The wish to stop and want of
    memory say nothing about the bytes and pass.

    Args:
        name: of the file.

    Raises:
        Damage: if it is missing, or not in its format.
        OSError: if it is there and the system refuses to show it.
    """
    try:
        yield
    except (Damage, *_PASSING):
        raise
    except _MISSING as error:
        raise Damage(f"{name} is missing") from error
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise Damage(f"{name} cannot be read: {error.strerror}") from error
    except BaseException as error:
        raise Damage(f"{name} cannot be read: {type(error).__name__}: {error}".splitlines()[0]) from error

"""Files below a folder or in a tar archive."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from descentlab.formats.base import DataError, decoding, read_bytes
from descentlab.formats.packed import unpacked

__all__ = ["is_tar", "read_files", "read_tar"]

_BLOCK = 512


def is_tar(content: bytes) -> bool:
    """Whether bytes are a tar archive, by their first block; archives from before 1988 have no mark there."""
    if content[257:262] == b"ustar":
        return True
    try:
        tarfile.TarInfo.frombuf(content[:_BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def read_files(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """The wanted files below a folder or in a tar archive (`.gz` or not), with their path there, `/` between folders.

    Args:
        path: the folder or archive.
        wanted: says of a path there whether its file is.

    Raises:
        DataError: if one cannot be read to its end, or is a pipe or a device.
    """
    if not os.path.isdir(path):
        yield from read_tar(read_bytes(path), str(path), wanted)
        return
    for root, folders, names in os.walk(path, onerror=_refuse):
        folders.sort()
        for folder in (Path(root, name) for name in folders):
            if folder.is_symlink() and wanted(folder.relative_to(path).as_posix()):
                raise DataError(f"{folder} is a link to a folder and would be left out; put the folder in its place")
        for file in (Path(root, name) for name in sorted(names)):
            name = file.relative_to(path).as_posix()
            if wanted(name):
                yield name, read_bytes(file)


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be read: {error.strerror or error}") from error


def read_tar(content: bytes, name: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """The wanted files of a tar archive in memory: unpacked at once, several times faster than streaming.

    Args:
        content: the bytes, packed with gzip or not.
        name: their file, for messages.
        wanted: says of a path in the archive whether its file is.

    Raises:
        DataError: if it is damaged, has no end, or a wanted file is sparse.
    """
    plain = unpacked(content, name)
    what, remedy = "a whole tar archive", "get it again"
    with decoding(name, what, remedy):
        archive = tarfile.open(fileobj=io.BytesIO(plain), mode="r:")  # noqa: SIM115 there is nothing to close
    while True:
        with decoding(name, what, remedy):
            member = archive.next()
        if member is None:
            break
        if member.size < 0:  # a reader that goes on would go back, and round for ever
            raise DataError(f"{name} is damaged: it says that {member.name!r} has {member.size} bytes; {remedy}")
        if member.isdir() or not wanted(member.name):
            continue
        if member.issparse() or not member.isfile():
            came = "is stored with holes" if member.issparse() else "is a link or a device"
            raise DataError(f"{name}: {member.name!r} {came}; write the archive without --sparse, with --dereference")
        if len(plain) < member.offset_data + member.size:
            raise DataError(f"{name} is damaged or incomplete: it breaks off within {member.name!r}; {remedy}")
        yield member.name, plain[member.offset_data : member.offset_data + member.size]
    # The reader takes any damaged head for the end. A whole archive ends in zeros.
    if plain[archive.offset : archive.offset + _BLOCK] != bytes(_BLOCK):
        raise DataError(f"{name} is damaged or incomplete: it breaks off at byte {archive.offset:,}; {remedy}")

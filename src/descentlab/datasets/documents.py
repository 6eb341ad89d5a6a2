"""Labelled documents as bytes, and their tokens: what text data sets share."""

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from descentlab.datasets.base import DataError
from descentlab.objective import Examples

__all__ = ["Documents", "byte_examples", "documents", "files_of_archive", "read_files"]


class Documents(NamedTuple):
    """Texts one after the other, with their classes.

    Attributes:
        content: the bytes of all texts.
        ends: where each text ends in them.
        labels: the class of each.
    """

    content: np.ndarray
    ends: np.ndarray
    labels: np.ndarray


def documents(texts: Mapping[str, bytes], labels: Sequence[int]) -> Documents:
    """Texts by name, checked, as one array.

    Raises:
        DataError: if one is empty or not text.
    """
    for name, text in texts.items():
        if not text:
            raise DataError(f"{name} is empty; every text must have at least one byte, remove it or fill it")
        if b"\0" in text:
            raise DataError(
                f"{name} is not text: a zero byte at position {text.index(0)}; save it as UTF-8, or remove it"
            )
    ends = np.cumsum([len(text) for text in texts.values()], dtype=np.int64)
    content = np.frombuffer(b"".join(texts.values()), dtype=np.uint8)
    return Documents(content, ends, np.asarray(labels, dtype=np.int32))


def byte_examples(texts: Documents, which: np.ndarray, length: int) -> Examples:
    """The first `length` bytes of each chosen text as tokens, padded with 0 at the end.

    Args:
        texts: the texts.
        which: the numbers of those wanted.
        length: tokens of an example.

    Returns:
        uint8 tokens of axes example and time, int32 classes.
    """
    tokens = np.zeros((len(which), length), dtype=np.uint8)
    starts = np.concatenate([[0], texts.ends[:-1]])[which]
    stops = np.minimum(texts.ends[which], starts + length)
    for row, start, stop in zip(tokens, starts.tolist(), stops.tolist(), strict=True):
        row[: stop - start] = texts.content[start:stop]
    return Examples(tokens, texts.labels[which])


def read_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder or in a tar archive (`.gz` or not), with its path there, `/` between folders.

    Raises:
        DataError: if it cannot be read to its end.
    """
    try:
        yield from _files_of_folder(path) if path.is_dir() else files_of_archive(path.read_bytes(), path.name)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _files_of_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def files_of_archive(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Files of a tar archive in memory: the whole is unpacked at once, which is several times faster than streaming.

    Raises:
        DataError: if it is damaged.
    """
    try:
        plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            for member in archive:
                if member.isfile():
                    yield member.name, plain[member.offset_data : member.offset_data + member.size]
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name} is damaged or incomplete ({error}); get it again") from error

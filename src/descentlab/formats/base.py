"""What every format shares: the error, the file, and the turning of any failure into that error."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from descentlab._check import short
from descentlab.mistake import Mistake

__all__ = ["DataError", "decoding", "read_bytes"]


class DataError(Mistake):
    """Data cannot be used: what was wanted, what came, what to do."""


@contextlib.contextmanager
def decoding(name: str, wanted: str, remedy: str = "get it again") -> Iterator[None]:
    """Turn whatever a decoder raises into a `DataError`.

    Decoders of damaged bytes raise what they like: the errors of their own and of every library below them, those of
    Python's parser, recursion and memory. A mistake of ours inside such a block would be misreported as the
    file's, so a block holds calls of decoders and nothing else.

    Args:
        name: the file.
        wanted: what it should be, with its article.
        remedy: what to do.

    Raises:
        DataError: if the block raises; one that it raises itself passes as it is.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{name} is not {wanted} ({_said(error)}); {remedy}") from error


def _said(error: Exception) -> str:
    """The words of a decoder on one line, cut where they are long."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, MemoryError):
        return "larger than the memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return short(" ".join(str(error).split()) or type(error).__name__)


def read_bytes(path: str | os.PathLike[str], wanted: str = "a file", most: int | None = None) -> bytes:
    """The content of a regular file: a pipe or a device could keep the reader waiting, or fill the memory, for ever.

    Args:
        path: the file.
        wanted: what it should be, with its article.
        most: bytes that it may have; `None` sets no bound.

    Raises:
        DataError: if it cannot be read, is no regular file, or is larger than that.
    """
    with _explained(path, wanted):
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            came = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or device; write its content to a file"
            raise DataError(f"wanted {wanted}, but {path} is {came}")
        if most is not None and found.st_size > most:
            raise DataError(f"wanted {wanted} of at most {most:,} bytes, but {path} has {found.st_size:,}")
        return Path(path).read_bytes()


@contextlib.contextmanager
def _explained(path: str | os.PathLike[str], wanted: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise DataError(f"wanted {wanted}, but {short(str(path))} cannot be read: {_said(error)}") from error

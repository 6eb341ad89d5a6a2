"""Packed bytes, unpacked to a size in proportion to theirs."""

import gzip
import io

from descentlab.formats.base import DataError, decoding

__all__ = ["most_unpacked", "unpacked"]

_RATIO = 100
_ALWAYS = 64 * 2**20


def most_unpacked(size: int) -> int:
    """Bytes that so many packed bytes may unpack to: a hundred times as many, and 64 MiB in any case.

    Text and images pack ten times smaller at most; deflate reaches 1,032 times, on bytes that are all alike.
    """
    return max(_ALWAYS, _RATIO * size)


def unpacked(content: bytes, name: str) -> bytes:
    """The bytes in a gzip file; others as they are.

    Args:
        content: the bytes.
        name: their file, for messages.

    Raises:
        DataError: if they are damaged, cut short, or unpack to more than `most_unpacked` says.
    """
    if content[:2] != b"\x1f\x8b":
        return content
    most = most_unpacked(len(content))
    with decoding(name, "a whole gzip file"), gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        found = file.read(most + 1)
    if len(found) > most:
        raise DataError(
            f"{name} has {len(content):,} bytes and unpacks to more than {most:,}, far more than text or images do; "
            "if it is what you want, unpack it yourself and give what comes out"
        )
    return found

"""Arrays of bytes from idx files, the format of MNIST."""

import math

import numpy as np

from descentlab.formats.base import DataError, decoding
from descentlab.formats.packed import unpacked

__all__ = ["read_idx"]

_UNSIGNED_BYTE = 0x08


def read_idx(content: bytes, name: str, axes: int) -> np.ndarray:
    """The array in the bytes of an idx file, packed with gzip or not: type and number of axes, shape, entries.

    Args:
        content: the bytes.
        name: their file, for messages.
        axes: of the array that is wanted.

    Returns:
        Unsigned bytes; they cannot be written to.

    Raises:
        DataError: if they are damaged, of another type or number of axes, or of another size than their shape says.
    """
    data = unpacked(content, name)
    begin = 4 * (axes + 1)
    magic, *shape = (int(number) for number in np.frombuffer(data[:begin].ljust(begin, b"\0"), dtype=">u4"))
    wanted = 256 * _UNSIGNED_BYTE + axes
    if magic != wanted:
        came = f"got {magic}" if len(data) >= 4 else f"but it has {len(data)} bytes"
        raise DataError(
            f"{name} is no idx file with {axes} axes of bytes: it must begin with the number {wanted}, {came}"
        )
    if len(data) - begin != math.prod(shape):
        raise DataError(f"{name} has {max(0, len(data) - begin):,} bytes for the shape {tuple(shape)}; get it again")
    with decoding(name, "an idx file"):  # an axis may be too long beside one of length 0
        return np.frombuffer(data, dtype=np.uint8, offset=begin).reshape(shape)

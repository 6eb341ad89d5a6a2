"""Arrays from files that NumPy wrote: `.npy` with one, `.npz` with several under names."""

import io
import math
import warnings
import zipfile

import numpy as np

from descentlab.formats.base import DataError, decoding
from descentlab.formats.packed import most_unpacked

__all__ = ["finite", "read_npy", "read_npz"]

_KINDS = "biufcSU"
"""Kinds of entries that are read: truth values, numbers and texts of fixed length."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How NumPy packs. Other methods reach any ratio, and ask for memory by numbers in the file."""


def read_npy(content: bytes, name: str) -> np.ndarray:
    """The array in the bytes of an `.npy` file; it cannot be written to.

    Memory beyond that of `content` is asked for only where the byte order is not this machine's.

    Args:
        content: the bytes.
        name: their file, for messages.

    Raises:
        DataError: if they are no such file, hold something else than plain numbers or texts, or have another size than
            the shape in their head says.
    """
    stream = io.BytesIO(content)
    wanted, remedy = "an array that numpy.save wrote", "write it again with numpy.save"
    with decoding(name, wanted, remedy), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes in a damaged head, or one of Python 2
        shape, by_column, dtype = _head(stream)
    if dtype.hasobject or dtype.kind not in _KINDS or not dtype.itemsize or dtype.subdtype is not None:
        held = "pickled objects" if dtype.hasobject else f"entries of type {dtype}"
        raise DataError(f"{name} holds {held}, plain numbers were wanted; write them with numpy.save or numpy.savez")
    came, size = len(content) - stream.tell(), math.prod(shape) * dtype.itemsize
    if came != size or not all(type(one) is int and one >= 0 for one in shape):
        raise DataError(
            f"{name} says that its array has the shape {shape}, {size:,} bytes, but it holds {came:,} bytes of them; "
            "write it again"
        )
    with decoding(name, wanted, remedy):  # the shape may still have too many axes, or one that is too long beside a 0
        array = np.frombuffer(content, dtype=dtype, offset=stream.tell()).reshape(
            shape, order="F" if by_column else "C"
        )
    return array.astype(dtype.newbyteorder("="), copy=False)


def _head(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version not in ((2, 0), (3, 0)):
        raise ValueError(f"its format has the version {version}")
    return np.lib.format.read_array_header_2_0(stream)  # the third version differs in names of fields alone


def read_npz(content: bytes, name: str) -> dict[str, np.ndarray]:
    """The arrays by name in the bytes of an `.npz` file.

    Args:
        content: the bytes.
        name: their file, for messages.

    Raises:
        DataError: if they are no such file, are damaged, hold something else than arrays or two of one name, or unpack
            to more than `most_unpacked` says.
    """
    wanted, remedy = "an .npz file that numpy.savez wrote", "write it again with numpy.savez"
    with decoding(name, wanted, remedy), zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        _check_members(members, len(content), name)
        return {
            member.filename.removesuffix(".npy"): read_npy(
                archive.read(member), f"{name}: {member.filename.removesuffix('.npy')}"
            )
            for member in members
        }


def _check_members(members: list[zipfile.ZipInfo], size: int, name: str) -> None:
    """Raise before anything is unpacked.

    Raises:
        DataError: if a member is no array as NumPy packs them, or all together claim too much.
    """
    names = [member.filename for member in members]
    for member in members:
        if not member.filename.endswith(".npy"):
            raise DataError(f"{name} holds {member.filename!r}, which is no array; write it with numpy.savez")
        if names.count(member.filename) > 1:
            raise DataError(f"{name} holds two arrays of the name {member.filename!r}; write it with numpy.savez")
        if member.compress_type not in _METHODS or member.flag_bits & 1:
            how = "is encrypted" if member.flag_bits & 1 else f"is packed by method {member.compress_type} of zip"
            raise DataError(f"{name}: {member.filename!r} {how}; write it with numpy.savez")
    claimed, most = sum(member.file_size for member in members), most_unpacked(size)
    if claimed > most:
        raise DataError(
            f"{name} has {size:,} bytes and says that it unpacks to {claimed:,}, at most {most:,} were wanted; "
            "write it with numpy.savez, without compression"
        )


def finite(name: str, array: np.ndarray) -> np.ndarray:
    """The array, if it holds finite real numbers.

    Args:
        name: what it is called, for messages.
        array: the array.

    Raises:
        DataError: if it does not.
    """
    if array.dtype.kind not in "iuf":
        raise DataError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if not np.all(np.isfinite(array)):
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise DataError(f"{name} must be finite, got {array[place]} at index {place}; remove or replace it")
    return array

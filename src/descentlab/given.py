"""Data that a definition refers to: an array under a name, identified by the hash of its content."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
from safetensors.numpy import load, save

from descentlab import _files as files
from descentlab._definition import Definition
from descentlab.mistake import Mistake

__all__ = ["Given", "KeptArrays"]


_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))

_KEPT = ("bool", "float16", "float32", "float64", *_INTEGERS)
"""Types of number that a store can keep."""


def _frozen(value: Any) -> Any:
    """A copy of an array that nobody can change, so that its hash stays true; what is no array stays."""
    if not isinstance(value, np.ndarray | list):
        return value
    array = np.array(value, order="C")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    array.flags.writeable = False
    return array


class Given(Definition):
    """An array that the user gives, with the name under which it came.

    Two arrays with the same dtype, shape and bytes are the same data whatever their names; `sha256` is the
    identity that goes into a definition's digest, while the store keeps the array itself.

    Args:
        name: where it came from, for people to read (a file name, `"inputs"`).
        value: the array; it is copied, so that nothing can change it.

    Raises:
        Mistake: if it is an array of something that cannot be kept.
    """

    name: str
    value: np.ndarray = eqx.field(converter=_frozen)

    def __check_init__(self):
        value = self.value
        if isinstance(value, np.ndarray) and value.dtype.name not in _KEPT:
            raise Mistake(
                f"{self.name} must hold real numbers (booleans, integers or floats of at most 64 bits), got "
                f"{value.dtype}; convert it"
            )

    @property
    def sha256(self) -> str:
        """SHA-256 over dtype, shape and bytes, as 64 hexadecimal digits; computed once an object."""
        known = vars(self).get("_sha256")
        if known is None:
            known = _identity(np.asarray(self.value))
            if not np.asarray(self.value).flags.writeable:
                object.__setattr__(self, "_sha256", known)
        return known


def _identity(value: np.ndarray) -> str:
    value = np.asarray(value, order="C")
    found = hashlib.sha256(f"{value.dtype.str}{value.shape}".encode())
    found.update(value.data if value.size else b"")
    return found.hexdigest()


FILE = "array.safetensors"

_SHA256 = re.compile("[0-9a-f]{64}")


class KeptArrays(Mapping[str, np.ndarray]):
    """Given arrays in a folder, by their hash, which is verified when one is read.

    Args:
        root: the folder; it need not exist.
    """

    def __init__(self, root: Path):
        self.root = root
        self._whole: set[tuple[str, str]] = set()

    @staticmethod
    def encode(given: Given) -> dict[str, bytes]:
        """The files of an array's folder."""
        return {FILE: save({"array": np.asarray(given.value, order="C")})}

    def fault(self, sha256: str) -> str:
        """What is wrong with an array: missing, or another one than was written; empty where nothing is.

        Raises:
            OSError: if the system refuses to show it.
        """
        try:
            self._verify(sha256)
        except files.Damage as error:
            return str(error)
        return ""

    def _verify(self, sha256: str) -> None:
        """Compare an array with its hash, once a process as long as its file does not change.

        Raises:
            Damage: if it is missing, or another one than was written.
            OSError: if the system refuses to show it.
        """
        with files.decoding(FILE):
            path = self.root / sha256 / FILE
            key = (sha256, files.checksum(path))
            if key not in self._whole:
                (array,) = load(files.read(path)).values()
                if _identity(array) != sha256:
                    raise files.Damage(f"{FILE} has changed since it was written")
                self._whole.add(key)

    def __getitem__(self, sha256: str) -> np.ndarray:
        """The array.

        Raises:
            Damage: if it is missing, or another one than was written.
            OSError: if the system refuses to show it.
        """
        fault = self.fault(sha256)
        if fault:
            raise files.Damage(f"{self.root / sha256}: {fault}")
        return next(iter(load((self.root / sha256 / FILE).read_bytes()).values()))

    def __iter__(self) -> Iterator[str]:
        return (sha256 for sha256 in self.names() if not self.fault(sha256))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def names(self) -> list[str]:
        """The hashes of all arrays that were written, also of those that are damaged."""
        return (
            sorted(one.name for one in self.root.iterdir() if _SHA256.fullmatch(one.name)) if self.root.is_dir() else []
        )

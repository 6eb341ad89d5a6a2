"""Data that a definition refers to: an array under a name, identified by the hash of its content."""

import hashlib

import equinox as eqx
import numpy as np

from descentlab._definition import Definition


class Given(Definition):
    """An array that the user gives, with the name under which it came.

    Two arrays with the same dtype, shape and bytes are the same data whatever their names; `sha256` is the
    identity that goes into a definition's digest, while the store keeps the array itself.

    Args:
        name: where it came from, for people to read (a file name, `"inputs"`).
        value: the array.
    """

    name: str
    value: np.ndarray = eqx.field(
        converter=lambda value: np.ascontiguousarray(value) if isinstance(value, list) else value
    )

    @property
    def sha256(self) -> str:
        """SHA-256 over dtype, shape and bytes, as 64 hexadecimal digits."""
        value = np.ascontiguousarray(self.value)
        head = f"{value.dtype.str}{value.shape}".encode()
        return hashlib.sha256(head + value.tobytes()).hexdigest()

"""What NumPy computes with, whoever made it."""

from typing import Any, Protocol, runtime_checkable

import numpy as np

__all__ = ["ArrayLike", "SupportsArray"]


@runtime_checkable
class SupportsArray(Protocol):
    """What NumPy makes an array of: arrays and single numbers of its own and of JAX."""

    def __array__(self, *args: Any, **options: Any) -> np.ndarray: ...


ArrayLike = SupportsArray | float

"""How far two right computations of one number may lie apart, from precision and size."""

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["rounding"]


def rounding(operations: int, dtype: DTypeLike = np.float64) -> float:
    """The bound n u / (1 - n u) on the relative error of n roundings in a row (Higham 2002, Lemma 3.1).

    Relative to the sum of the sizes of all terms where terms are added, and to the largest singular value for what is
    derived from a matrix with as many rows.
    """
    unit = operations * float(np.finfo(dtype).eps) / 2
    assert unit < 0.1, f"{operations} roundings leave no digit in {np.dtype(dtype)}"
    return unit / (1 - unit)

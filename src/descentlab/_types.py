"""Array aliases and the axis alphabet used in every signature.

Axes: `batch` samples, `time` tokens of a sample, `dim` token width, `heads`, `head` width of one head,
`out` read-out width, `row` entries of the stacked residual, `param` flat trained parameters, `lane`.
Capital single letters name matrices of the formulas (`B`, `J`, `K`).
"""

from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer, PRNGKeyArray, PyTree

ArrayLike = Array | np.ndarray | float

__all__ = ["Any", "Array", "ArrayLike", "Bool", "Float", "Int", "Integer", "PRNGKeyArray", "PyTree"]

"""Numbers that the paper's authors published with their code: means of 20 repeats at width 128.

Slopes are least squares of log norm on log scale: *small* over the seven smallest scales of twenty (0.01 to 0.09),
*large* over the seven largest (1.13 to 10). Their draws and seeds are not ours.
"""

SOURCE = "Ormaniec et al. 2024"
FILES = f"{SOURCE}, stored results"

SCALES = (0.01, 10 ** (-2 + 18 / 19), 10 ** (-2 + 39 / 19), 10.0)
"""Scales of the embeddings at which values are compared: the first, seventh, fourteenth and last of twenty."""

Quantity = tuple[str, str]
"""A block, and the part of its Hessian."""

SINGLE: dict[Quantity, tuple[float, float, float, float]] = {
    ("value", "outer"): (3.73e-4, 2.85e-2, 6.93, 365),
    ("value", "hessian"): (3.82e-4, 2.82e-2, 7.26, 357),
    ("query", "outer"): (2.86e-12, 1.28e-6, 9.53, 5.38e4),
    ("query", "functional"): (7.27e-10, 3.57e-5, 15.4, 1.01e5),
    ("query", "hessian"): (7.28e-10, 3.55e-5, 17.7, 1.26e5),
}
"""Norms of one layer, softmax, no normalisation, at the four scales."""

SMALL: dict[Quantity, float] = {
    ("value", "outer"): 1.98,
    ("value", "hessian"): 1.98,
    ("query", "outer"): 5.98,
    ("query", "functional"): 4.97,
    ("query", "hessian"): 4.97,
}
"""Slopes of the same at small scales."""

NORMALISED: dict[Quantity, float] = {
    ("query", "outer"): -1.99,
    ("value", "outer"): -1.95,
    ("query", "functional"): -1.03,
    ("value", "functional"): -2.03,
}
"""Slopes of one layer, softmax, pre-norm, at large scales."""

NORMALISED_ALL: dict[Quantity, float] = {
    ("value", "outer"): -1.2,
    ("value", "functional"): -1.3,
    ("value", "hessian"): -1.2,
    ("query", "outer"): -1.2,
    ("query", "functional"): -0.7,
    ("query", "hessian"): -0.6,
}
"""Slopes of the same over all scales, as printed in the figure."""

NORMALISED_RATIO = (4.6, 0.089)
"""Norm of the value block over that of the query block at the first and the last scale, softmax, pre-norm."""

LINEAR_NETWORK = (1.53e5, 5.4e4, 1.9e4, 6.4e3, 2.2e3)
"""Norms of one layer of a deep linear network at the third scale, by depth from 1 to 5; squares summed."""

LARGEST = 1e-3
"""What entries of value and output blocks reach in the picture of the Hessian (width 16)."""

MODES = {"value": 1.6e-5, "query": 7e-7}
"""Most frequent size of an entry with softmax, read off a histogram (width 16)."""

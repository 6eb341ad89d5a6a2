"""What is true of a kernel whatever its numbers: stated once, beside the kernel, and read wherever theory asks."""

import dataclasses

__all__ = ["KernelFacts"]


@dataclasses.dataclass(frozen=True)
class KernelFacts:
    r"""Properties of an attention matrix S, of which a kernel states those that it has; nothing is known of the others.

    Attributes:
        row_by_row: row k of S depends on query k and on the keys, not on other queries.
        rows_sum_to_one: $\sum_j S_{kj} = 1$ where a key is unmasked.
        positive: $S_{kj} > 0$ for unmasked keys, in exact arithmetic.
        smooth: S is infinitely often differentiable in queries and keys.
        products_only: queries and keys enter through their products $q_k^\top k_j$ alone.
        distances_only: they enter through their distances $\lVert q_k - k_j \rVert$ alone.
        softmax_rows: a row is the softmax of scores, products or negative squared distances times a factor: a number
            added to all scores of a row changes nothing.
    """

    row_by_row: bool = False
    rows_sum_to_one: bool = False
    positive: bool = False
    smooth: bool = False
    products_only: bool = False
    distances_only: bool = False
    softmax_rows: bool = False

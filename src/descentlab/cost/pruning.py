r"""Which weights of a trained model can go: scores by size, gradient or curvature, entry by entry or head by head.

    magnitude |w|,   first order |w dL/dw|,   second order w^2 F / 2,

the second with the diagonal F of the empirical Fisher matrix, the mean of squared gradients of single examples, which
stands for the Hessian at a minimum. Arrays go by name, as a trajectory keeps them.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from descentlab.mistake import Mistake

__all__ = ["CRITERIA", "heads", "pruned", "pruned_heads"]

Arrays = Mapping[str, np.ndarray]

HEADED = ("query", "key", "value", "output")
"""Blocks whose first axis counts heads."""


def _magnitude(weight: np.ndarray, gradient: np.ndarray, fisher: np.ndarray) -> np.ndarray:
    del gradient, fisher
    return np.abs(weight)


def _first_order(weight: np.ndarray, gradient: np.ndarray, fisher: np.ndarray) -> np.ndarray:
    del fisher
    return np.abs(weight * gradient)


def _second_order(weight: np.ndarray, gradient: np.ndarray, fisher: np.ndarray) -> np.ndarray:
    del gradient
    return 0.5 * weight**2 * fisher


CRITERIA: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "magnitude": _magnitude,
    "first order": _first_order,
    "second order": _second_order,
}
"""From weights, mean gradient and diagonal Fisher matrix to what removing an entry is expected to cost."""


def _share(sparsity: float) -> None:
    """Raise unless a share lies between 0 and 1.

    Raises:
        Mistake: if it does not.
    """
    if not 0 <= sparsity <= 1:
        raise Mistake(f"a sparsity must lie between 0 and 1, got {sparsity}")


def pruned(arrays: Arrays, scores: Arrays, sparsity: float) -> dict[str, np.ndarray]:
    """Arrays with the entries of the lowest scores set to zero, over all scored arrays together.

    Args:
        arrays: all blocks by name.
        scores: of those that may be pruned, by name; an entry each.
        sparsity: share of the scored entries that goes, 0 to 1.

    Returns:
        All blocks; entries of equal score go in the order of the arrays.

    Raises:
        Mistake: if the sparsity is not between 0 and 1.

    Examples:
        >>> pruned({"w": np.array([3.0, -1.0])}, {"w": np.array([3.0, 1.0])}, 0.5)["w"].tolist()
        [3.0, 0.0]
    """
    _share(sparsity)
    flat = np.concatenate([np.ravel(score) for score in scores.values()])
    kept = np.ones(flat.size, dtype=bool)
    kept[np.argsort(flat, kind="stable")[: round(sparsity * flat.size)]] = False
    found, at = {name: np.array(array) for name, array in arrays.items()}, 0
    for name, score in scores.items():
        found[name] = np.where(kept[at : at + score.size].reshape(score.shape), found[name], 0)
        at += score.size
    return found


def heads(scores: Arrays) -> dict[tuple[str, int], float]:
    """The summed score of every head, by the path of its layer (empty in a model of one) and its number.

    Args:
        scores: of entries, by name; blocks other than those of heads do not count.
    """
    found: dict[tuple[str, int], float] = {}
    for name, score in scores.items():
        layer, _, block = name.rpartition(".")
        if block in HEADED:
            for head, one in enumerate(score):
                found[layer, head] = found.get((layer, head), 0.0) + float(np.sum(one))
    return found


def pruned_heads(arrays: Arrays, scores: Arrays, count: int) -> tuple[dict[str, np.ndarray], Sequence[tuple[str, int]]]:
    """Arrays with the heads of the lowest summed scores set to zero.

    Args:
        arrays: all blocks by name.
        scores: of entries, by name.
        count: how many heads go.

    Returns:
        All blocks, and the heads that went.

    Raises:
        Mistake: if there are not so many heads.
    """
    ranked = sorted(heads(scores).items(), key=lambda scored: scored[1])
    if not 0 <= count <= len(ranked):
        raise Mistake(f"wanted to prune {count} heads, but the model has {len(ranked)}")
    gone = [head for head, _ in ranked[:count]]
    found = {name: np.array(array) for name, array in arrays.items()}
    for name, array in found.items():
        layer, _, block = name.rpartition(".")
        if block in HEADED:
            array[[head for at, head in gone if at == layer]] = 0
    return found, gone

"""Parts that are held out from the examples at hand."""

import numpy as np

from descentlab.datasets.base import DataError

__all__ = ["divided", "shuffled"]


def shuffled(count: int) -> np.ndarray:
    """So many numbers from 0 in a random order, the same on every machine and every time.

    The first or last examples of a data set are seldom like the others, so parts are cut from a shuffled one, unless
    neighbours belong together.
    """
    # Only the bits of a generator are the same in all versions of NumPy, not what is made of them.
    return np.argsort(np.random.PCG64(0).random_raw(count), kind="stable")


def divided(labels: np.ndarray, *counts: int | None) -> list[np.ndarray]:
    """Numbers of the examples that stay, then of those of each part that is held out, every class in proportion.

    A part is the end of each class, so it is determined by the order of the examples.

    Args:
        labels: the class of each example.
        counts: size of each part; `None` stands for a tenth of all examples.

    Raises:
        DataError: if a class has nothing left.
    """
    left = np.arange(len(labels))
    parts = []
    for count in counts:
        held = _tail_of_each_class(labels[left], len(labels) // 10 if count is None else count)
        parts.append(left[held])
        left = left[~held]
    gone = sorted(set(labels.tolist()) - set(labels[left].tolist()))
    if gone or not len(left):
        sizes = [len(part) for part in parts]
        raise DataError(
            f"{len(labels)} examples with {sizes} held out leave nothing to train on in class number "
            f"{', '.join(map(str, gone)) or 0}; hold out fewer, or give more examples"
        )
    return [left, *parts]


def _tail_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Which examples are the last of their class, `count` in all."""
    held = np.zeros(len(labels), dtype=bool)
    classes, sizes = np.unique(labels, return_counts=True)
    quotas = sizes * min(count, len(labels)) / max(len(labels), 1)
    counts = np.floor(quotas).astype(int)
    missing = min(count, len(labels)) - counts.sum()
    counts[np.argsort(counts - quotas, kind="stable")[:missing]] += 1
    for label, size, part in zip(classes, sizes, counts, strict=True):
        held[np.flatnonzero(labels == label)[size - part :]] = True
    return held

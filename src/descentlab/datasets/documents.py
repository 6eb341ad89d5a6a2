"""Labelled documents as bytes, and their tokens: what text data sets share."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from descentlab.formats import DataError
from descentlab.objective import Examples

__all__ = ["Documents", "byte_examples", "documents"]


class Documents(NamedTuple):
    """Texts one after the other, with their classes.

    Attributes:
        content: the bytes of all texts.
        ends: where each text ends in them.
        labels: the class of each.
    """

    content: np.ndarray
    ends: np.ndarray
    labels: np.ndarray


def documents(texts: Mapping[str, bytes], labels: Sequence[int]) -> Documents:
    """Texts by name, checked, as one array.

    Raises:
        DataError: if one is empty or not text.
    """
    for name, text in texts.items():
        if not text:
            raise DataError(f"{name} is empty; every text must have at least one byte, remove it or fill it")
        if b"\0" in text:
            raise DataError(
                f"{name} is not text: a zero byte at position {text.index(0)}; save it as UTF-8, or remove it"
            )
    ends = np.cumsum([len(text) for text in texts.values()], dtype=np.int64)
    content = np.frombuffer(b"".join(texts.values()), dtype=np.uint8)
    return Documents(content, ends, np.asarray(labels, dtype=np.int32))


def byte_examples(texts: Documents, which: np.ndarray, length: int) -> Examples:
    """The first `length` bytes of each chosen text as tokens, padded with 0 at the end.

    Args:
        texts: the texts.
        which: the numbers of those wanted.
        length: tokens of an example.

    Returns:
        uint8 tokens of axes example and time, int32 classes.
    """
    tokens = np.zeros((len(which), length), dtype=np.uint8)
    starts = np.concatenate([[0], texts.ends[:-1]])[which]
    stops = np.minimum(texts.ends[which], starts + length)
    for row, start, stop in zip(tokens, starts.tolist(), stops.tolist(), strict=True):
        row[: stop - start] = texts.content[start:stop]
    return Examples(tokens, texts.labels[which])

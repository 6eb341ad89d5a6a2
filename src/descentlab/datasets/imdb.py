"""IMDb: 50,000 film reviews, byte by byte, with their sentiment."""

import re
from pathlib import Path

import numpy as np

from descentlab._check import not_negative, positive
from descentlab.datasets.base import AbstractDataset, DataError
from descentlab.datasets.documents import Documents, byte_examples, documents
from descentlab.datasets.folder import Source, cached, fetch, fingerprint
from descentlab.datasets.parts import divided
from descentlab.formats import read_files
from descentlab.mistake import Mistake
from descentlab.objective import Splits

__all__ = ["IMDb"]

SOURCE = Source(
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
)
REVIEWS = 12_500
"""Reviews of each class in each part."""

_CLASSES = ("neg", "pos")
_PARTS = ("train", "test")
_REVIEW = re.compile(r"(?:.*/)?(train|test)/(neg|pos)/[0-9]{1,9}_[0-9]{1,2}\.txt")


class IMDb(AbstractDataset):
    """Film reviews as bytes, of two classes: 25,000 to train on, 25,000 for the test.

    Token k of an example is byte k of the review, from 1 to 255; 0 is padding. Reviews of one film have neighbouring
    numbers, so the development part is the end of the training part, not a random draw from it: a draw would put
    reviews of the same films on both sides. Examples alternate between the classes, so that any
    first ones are balanced.

    The data folder holds `aclImdb_v1.tar.gz`, or `aclImdb` as it was unpacked.

    Args:
        length: tokens of an example; longer reviews are cut, shorter ones padded.
        development: training reviews that are held out, half of each class.

    Raises:
        Mistake: if `length` is not above 0, or `development` is not even or leaves nothing to train on.

    References:
        A. L. Maas, R. E. Daly, P. T. Pham, D. Huang, A. Y. Ng, C. Potts, *Learning word vectors for sentiment
        analysis*, ACL 2011.
    """

    length: int = 1024
    development: int = 5000

    def __check_init__(self):
        positive(self, "length")
        not_negative(self, "development")
        if self.development % 2 or self.development >= 2 * REVIEWS:
            raise Mistake(
                f"IMDb.development must be even and below {2 * REVIEWS}, got {self.development}; choose another number"
            )

    def load(self) -> Splits:
        """The examples: uint8 tokens of axes example and time, int32 classes (0 negative, 1 positive).

        Raises:
            DataError: if the reviews are missing, incomplete or damaged.
        """
        path = fetch((SOURCE.name, "aclImdb"), SOURCE)
        arrays = cached("imdb", f"imdb 1 {REVIEWS} {fingerprint(path)}", lambda: _read(path))
        train, test = (Documents(*(arrays[f"{part} {name}"] for name in Documents._fields)) for part in _PARTS)
        stay, held = divided(train.labels, self.development)
        return Splits(
            train=byte_examples(train, stay, self.length),
            development=byte_examples(train, held, self.length),
            test=byte_examples(test, np.arange(len(test.labels)), self.length),
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return ("negative", "positive")

    @property
    def vocabulary(self) -> int:
        """Bytes, and padding in the place of the zero byte."""
        return 256


def _read(path: Path) -> dict[str, np.ndarray]:
    """The reviews of an archive or folder, classes in turn.

    Raises:
        DataError: if reviews are missing or are not what their place says.
    """
    parts: dict[str, dict[tuple[int, int], tuple[str, bytes]]] = {part: {} for part in _PARTS}
    for name, text in read_files(path, lambda name: _REVIEW.fullmatch(name) is not None):
        part, label, file = name.split("/")[-3:]
        number, rating = file.removesuffix(".txt").split("_")
        if (int(rating) > 5) != (label == "pos"):
            raise DataError(f"{path}: {name} has rating {rating} of 10 but lies among {label}; get the data again")
        parts[part][int(number), _CLASSES.index(label)] = (name, text)
    arrays = {}
    for part, reviews in parts.items():
        _check_whole(path, part, list(reviews))
        order = sorted(reviews)
        texts = documents({f"{path}: {reviews[place][0]}": reviews[place][1] for place in order}, [c for _, c in order])
        arrays |= {f"{part} {name}": value for name, value in texts._asdict().items()}
    return arrays


def _check_whole(path: Path, part: str, places: list[tuple[int, int]]) -> None:
    """Raise unless every review of a part is there.

    Raises:
        DataError: if one is missing.
    """
    for label, name in enumerate(_CLASSES):
        numbers = {number for number, of in places if of == label}
        if missing := set(range(REVIEWS)) - numbers:
            raise DataError(
                f"{path} is incomplete: {part}/{name} has {len(numbers)} of {REVIEWS} reviews (NUMBER_RATING.txt), the "
                f"first that is missing is number {min(missing)}; get the data again from {SOURCE.url}"
            )
        if len(numbers) > REVIEWS:
            raise DataError(f"{path}: {part}/{name} has {len(numbers)} reviews, {REVIEWS} were wanted; get it again")

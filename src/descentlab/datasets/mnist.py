"""MNIST: handwritten digits, cut into patches."""

from pathlib import Path

import numpy as np

from descentlab._check import not_negative
from descentlab.datasets.base import AbstractDataset, DataError
from descentlab.datasets.folder import Source, fetch, find
from descentlab.datasets.parts import divided, shuffled
from descentlab.formats import read_bytes, read_idx
from descentlab.mistake import Mistake
from descentlab.objective import Examples, Splits

__all__ = ["MNIST"]

_HOST = "https://ossci-datasets.s3.amazonaws.com/mnist"
SOURCES = {
    ("train", "images"): Source(
        f"{_HOST}/train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    ("train", "labels"): Source(
        f"{_HOST}/train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    ("test", "images"): Source(
        f"{_HOST}/t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
    ("test", "labels"): Source(
        f"{_HOST}/t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
}
_SIDE = 28
_PARTS = ("train", "test")


class MNIST(AbstractDataset):
    """Handwritten digits: a token is a square patch of pixels, with numbers from 0 (black) to 1.

    Token k of an example is patch k, left to right and top to bottom; its entries are its pixels in the same order.
    The data folder holds the four idx files, packed (`.gz`) or not, itself or in a folder `mnist`, `MNIST` or
    `MNIST/raw`, under their names with `-idx` or `.idx`. Either half will do: with `parts` only one of them is read,
    and the test is cut from it like the development part. Each half is shuffled before it is cut, always in the same
    way: the digits of the first half of the test are easier than those of the second.

    Args:
        patch: pixels on a side of a patch: 1, 2, 4, 7, 14 or 28.
        parts: the halves that are read: train, test or both.
        development: digits that are held out from the training part, and for the test if only one half is read; `None`
            takes a tenth.

    Raises:
        Mistake: if patches do not fill a digit, or there is no such half.

    References:
        Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, *Gradient-based learning applied to document recognition*,
        Proceedings of the IEEE 86 (1998).
    """

    patch: int = 7
    parts: tuple[str, ...] = _PARTS
    development: int | None = None

    def __check_init__(self):
        if self.patch < 1 or _SIDE % self.patch:
            raise Mistake(f"MNIST.patch must divide {_SIDE}: 1, 2, 4, 7, 14 or 28, got {self.patch}")
        if not self.parts or len(set(self.parts)) != len(self.parts) or set(self.parts) - set(_PARTS):
            raise Mistake(f"MNIST.parts must name train, test or both, got {self.parts}")
        not_negative(self, "development")

    def load(self) -> Splits:
        """The digits: float32 tokens of axes example, patch and pixel, int32 classes.

        Raises:
            DataError: if a file is missing, damaged or not what its name says.
        """
        read = {part: self._read(part) for part in self.parts}
        first = read[self.parts[0]] if len(read) == 1 else read["train"]
        held_out = (self.development,) * (3 - len(read))
        stay, *held = (Examples(first.inputs[part], first.targets[part]) for part in divided(first.targets, *held_out))
        return Splits(stay, held[0], held[1] if len(read) == 1 else read["test"])

    def _read(self, part: str) -> Examples:
        """One half.

        Raises:
            DataError: if it cannot be had.
        """
        images, path = _file(part, "images")
        labels, labels_path = _file(part, "labels")
        if len(labels) != len(images):
            raise DataError(
                f"{labels_path} has {len(labels)} labels for the {len(images)} images of {path}; get it again"
            )
        if labels.max(initial=0) > 9:
            raise DataError(
                f"{labels_path} holds the label {labels.max()}, digits from 0 to 9 were wanted; get it again"
            )
        across = _SIDE // self.patch
        cut = images.reshape(len(images), across, self.patch, across, self.patch).swapaxes(2, 3)
        tokens = cut.reshape(len(images), across**2, self.patch**2).astype(np.float32) / 255
        order = shuffled(len(labels))
        return Examples(tokens[order], labels[order].astype(np.int32))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(str(digit) for digit in range(10))

    @property
    def vocabulary(self) -> None:
        """Tokens are real vectors."""
        return


def _file(part: str, kind: str) -> tuple[np.ndarray, Path]:
    """The array in an idx file, and where it was found.

    Raises:
        DataError: if it is missing or damaged.
    """
    source = SOURCES[part, kind]
    try:
        path = fetch(_names(source), source)
    except DataError as error:
        other = "test" if part == "train" else "train"
        if find(_names(SOURCES[other, kind])) is None:
            raise
        raise DataError(f"{error}; or do with the half that is there: parts=('{other}',)") from error
    # Some archives unpack to a folder for each file, of the same name.
    path = path / path.name if path.is_dir() else path
    return _array(path, kind), path


def _names(source: Source) -> list[str]:
    """What its file may be called in the data folder; unpackers write a dot before `idx`."""
    plain = source.name.removesuffix(".gz")
    names = [name + packed for name in (plain, plain.replace("-idx", ".idx")) for packed in (".gz", "")]
    return [place + name for place in ("", "mnist/", "MNIST/", "MNIST/raw/", "raw/") for name in names]


def _array(path: Path, kind: str) -> np.ndarray:
    """The array in an idx file.

    Raises:
        DataError: if it is damaged or of another kind.
    """
    array = read_idx(read_bytes(path), str(path), 3 if kind == "images" else 1)
    if kind == "images" and array.shape[1:] != (_SIDE, _SIDE):
        raise DataError(
            f"{path} holds images of {array.shape[1]} x {array.shape[2]} pixels, {_SIDE} x {_SIDE} were wanted; get it "
            "again"
        )
    return array

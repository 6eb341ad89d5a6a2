"""A user's own labelled text: a folder with one subfolder a class, or a file of rows (CSV, TSV, JSON lines)."""

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from descentlab._check import bytes_in_a_row, not_negative, positive
from descentlab.datasets.base import AbstractDataset, DataError
from descentlab.datasets.documents import Documents, byte_examples, documents
from descentlab.datasets.folder import cached
from descentlab.datasets.parts import divided
from descentlab.formats import is_tar, read_bytes, read_files, read_json_lines, read_table, read_tar, unpacked
from descentlab.given import Given
from descentlab.objective import Splits

__all__ = ["OwnText", "own_text"]

_PARTS = ("train", "test")


class _Labelled(NamedTuple):
    """One text: the part it belongs to (none if parts are not given), its class, what it is called in messages."""

    part: str | None
    label: str
    name: str
    text: bytes


def own_text(path: str | Path) -> Given:
    """The content of a folder or file, for `OwnText`.

    Args:
        path: a folder with one subfolder a class (in folders `train` and `test`, if these parts are given), a tar
            archive of one, a table (CSV or TSV), or a file of JSON lines; packed with gzip or not.

    Returns:
        Its bytes; a folder becomes an archive that depends on names and contents alone.

    Raises:
        DataError: if it cannot be read, or holds nothing.
    """
    path = Path(path)
    content = _packed(path) if os.path.isdir(path) else read_bytes(path, "a folder or a file of labelled texts")
    if not content:
        raise DataError(
            f"{path} is empty; a folder with one subfolder a class was wanted, or a CSV, TSV or JSON lines file"
        )
    return Given(path.name, np.frombuffer(content, dtype=np.uint8))


def _packed(folder: Path) -> bytes:
    """A folder as a tar archive without times and owners; nothing, if it holds nothing."""
    files = list(read_files(folder, _visible))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, text in files:
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return buffer.getvalue() if files else b""


class OwnText(AbstractDataset):
    r"""A user's own text, byte by byte, with its classes.

    Token k of an example is byte k of the text, from 1 to 255; 0 is padding. Classes are numbered in the order of their
    names. Where the data comes without a test part, one is held out like the development part: texts are ordered by the
    hash of their content, so which are held out does not depend on their names or their order.

    Args:
        content: what `own_text` read; its hash is part of the definition, so a run on another text is another run.
        length: tokens of an example; longer texts are cut, shorter ones padded.
        development: texts held out from the training part; `None` takes a tenth.
        test: texts held out for the test, where no test part is given; `None` takes a tenth.
        text_column: of a file of rows, the column or field of the texts.
        label_column: of a file of rows, the column or field of the classes.

    Raises:
        Mistake: if a number is out of its range, or the content is no row of bytes.

    Examples:
        >>> rows = ["text,label", *(f"{i} is {word},{word}" for i in range(20) for word in ("good", "bad"))]
        >>> data = OwnText(Given("reviews.csv", np.frombuffer("\n".join(rows).encode(), dtype=np.uint8)), length=12)
        >>> data.classes
        ('bad', 'good')
        >>> [part.inputs.shape for part in data.load()]
        [(32, 12), (4, 12), (4, 12)]
    """

    content: Given
    length: int = 1024
    development: int | None = None
    test: int | None = None
    text_column: str = "text"
    label_column: str = "label"

    def __check_init__(self):
        positive(self, "length")
        not_negative(self, "development")
        not_negative(self, "test")
        bytes_in_a_row(self, "content")

    def load(self) -> Splits:
        """The examples: uint8 tokens of axes example and time, int32 classes.

        Raises:
            DataError: if the content is damaged, not text, or not labelled as said above.
        """
        arrays = self._arrays()
        train, test = (Documents(*(arrays[f"{part} {name}"] for name in Documents._fields)) for part in _PARTS)
        if len(test.labels):
            if self.test is not None:
                raise DataError(
                    f"{self.content.name} has a test part, and test={self.test} asks for another; leave it out"
                )
            stay, held = divided(train.labels, self.development)
            tested = byte_examples(test, np.arange(len(test.labels)), self.length)
        else:
            stay, held, cut = divided(train.labels, self.development, self.test)
            tested = byte_examples(train, cut, self.length)
        return Splits(byte_examples(train, stay, self.length), byte_examples(train, held, self.length), tested)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self._arrays()["classes"].tolist())

    @property
    def vocabulary(self) -> int:
        """Bytes, and padding in the place of the zero byte."""
        return 256

    def _arrays(self) -> dict[str, np.ndarray]:
        identity = f"text 3 {self.content.sha256} {self.text_column!r} {self.label_column!r}"
        return cached("text", identity, self._read)

    def _read(self) -> dict[str, np.ndarray]:
        """The texts of both parts, by the hash of their content, and the names of the classes.

        Raises:
            DataError: if they are not two or more classes of texts.
        """
        name, content = self.content.name, self.content.value.tobytes()
        content = unpacked(content, name)
        texts = list(_of_archive(name, content) if is_tar(content) else self._of_rows(name, content))
        trained = sorted({one.label for one in texts if one.part != "test"})
        if len(trained) < 2:
            raise DataError(f"{name} must have two or more classes to train on, got {', '.join(trained) or 'none'}")
        if strange := {one.label for one in texts} - set(trained):
            raise DataError(
                f"{name}: the test part has the class {min(strange)}, the training part does not; add it there"
            )
        texts.sort(key=lambda one: hashlib.sha256(one.text).digest())
        arrays = {"classes": np.array(trained)}
        for part in _PARTS:
            chosen = [one for one in texts if (one.part or "train") == part]
            found = documents({one.name: one.text for one in chosen}, [trained.index(one.label) for one in chosen])
            arrays |= {f"{part} {field}": value for field, value in found._asdict().items()}
        return arrays

    def _of_rows(self, name: str, content: bytes) -> Iterator[_Labelled]:
        """The rows of a table, or the lines of JSON.

        Raises:
            DataError: if it is neither, or lacks a column or a label.
        """
        read, row = (read_json_lines, "line") if _is_json(name, content) else (read_table, "row")
        for number, (text, label) in read(content, name, (self.text_column, self.label_column)):
            if not label.strip():
                raise DataError(f"{name}, {row} {number}: it has no label; fill it in or remove the {row}")
            yield _Labelled(None, label.strip(), f"{name}, {row} {number}", text.encode())


def _is_json(name: str, content: bytes) -> bool:
    """Whether rows are lines of JSON, by the name of their file or, where it says nothing, by their first character."""
    ending = PurePosixPath(name.lower().removesuffix(".gz")).suffix
    begins = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")
    return ending in (".json", ".jsonl", ".ndjson") or (begins and ending not in (".csv", ".tsv"))


def _visible(name: str) -> bool:
    return not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _of_archive(name: str, content: bytes) -> Iterator[_Labelled]:
    """The files of an archive: their class is the folder below its root, or below `train` and `test` there."""
    files = dict(read_tar(content, name, _visible))
    folders = {path: PurePosixPath(path).parts[:-1] for path in files}
    while (tops := {parts[:1] for parts in folders.values()}) and len(tops) == 1 and tops != {()}:
        folders = {path: parts[1:] for path, parts in folders.items()}
    depth = int({parts[0] for parts in folders.values() if parts} == set(_PARTS))
    for path, parts in folders.items():
        if len(parts) > depth:
            yield _Labelled(parts[0] if depth else None, parts[depth], f"{name}: {path}", files[path])

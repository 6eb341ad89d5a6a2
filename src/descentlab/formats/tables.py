"""Columns of text from tables with commas between their fields."""

import csv
import io
from collections.abc import Iterator, Sequence

from descentlab._check import nearest
from descentlab.formats.base import DataError, decoding

__all__ = ["read_csv"]

_OTHERS = {"\t": "tabs", ";": "semicolons", "|": "bars"}


def read_csv(content: bytes, name: str, columns: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Some columns of a CSV file in UTF-8 whose first row names them, row by row with its number.

    Empty rows are left out; the row of names is number 1.

    Args:
        content: the bytes.
        name: their file, for messages.
        columns: names of those that are wanted.

    Raises:
        DataError: if they are not text, no such table, or a column is missing.
    """
    reader = csv.reader(io.StringIO(_text(content, name), newline=""), strict=True)
    csv.field_size_limit(
        max(csv.field_size_limit(), len(content))
    )  # a text may be longer than the 128 KiB of the default
    rows = enumerate(_decoded(reader, name), start=1)
    _, head = next(rows, (1, []))
    places = [_place(head, column, name) for column in columns]
    for number, row in rows:
        if row and len(row) != len(head):
            raise DataError(
                f"{name}, row {number}: it has {len(row)} fields, the row of names has {len(head)}; put texts that "
                "contain commas, quotes or line ends into quotes"
            )
        if row:
            yield number, tuple(row[place] for place in places)


def _text(content: bytes, name: str) -> str:
    """The characters.

    Raises:
        DataError: if bytes are none, or a character is the zero byte.
    """
    if b"\0" in content:
        raise DataError(f"{name} is not text: a zero byte at position {content.index(0)}; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not text in UTF-8: byte {content[error.start]:#x} at position {error.start}; save it as UTF-8"
        ) from error


def _decoded(reader: Iterator[list[str]], name: str) -> Iterator[list[str]]:
    while True:
        with decoding(name, "a table with commas between its fields (CSV)", "mend its quotes"):
            row = next(reader, None)
        if row is None:
            return
        yield row


def _place(head: list[str], column: str, name: str) -> int:
    """Where a column is.

    Raises:
        DataError: if it is missing, or there are two of its name.
    """
    if head.count(column) == 1:
        return head.index(column)
    if column in head:
        raise DataError(f"{name} has {head.count(column)} columns of the name {column!r}; rename the others")
    for separator, words in _OTHERS.items():
        if column in (part.strip('" ') for part in ",".join(head).split(separator)):
            raise DataError(
                f"the fields of {name} are separated by {words}, commas were wanted; save it as CSV, with texts that "
                "contain commas in quotes"
            )
    known = nearest(column, head) if head else "it has none"
    raise DataError(f"{name} has no column {column!r}; {known}; name the columns by text_column and label_column")

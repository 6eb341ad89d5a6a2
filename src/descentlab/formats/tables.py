"""Columns of text from tables with commas (CSV) or tabs (TSV) between their fields."""

import csv
import io
import re
from collections.abc import Iterator, Sequence

from descentlab._check import nearest
from descentlab.formats.base import DataError, decoding

__all__ = ["read_table"]

_OTHERS = {";": "semicolons", "|": "bars"}
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')


def read_table(content: bytes, name: str, columns: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Some columns of a table in UTF-8 whose first row names them, row by row with its number.

    Tabs separate the fields where they do so in the row of names, else commas. With commas, fields that contain commas,
    quotes or line ends stand in quotes. With tabs a row is a line; a field may stand in quotes, those in it doubled,
    and any other quote is a character. Empty rows are left out; the row of names is number 1.

    Args:
        content: the bytes.
        name: their file, for messages.
        columns: names of those that are wanted.

    Raises:
        DataError: if they are not text, no such table, or a column is missing.
    """
    text = _text(content, name)
    tabs = set(columns) <= set(next(_of_lines(text), []))
    rows = enumerate(_of_lines(text) if tabs else _of_commas(text, name), start=1)
    remedy = "put texts that contain commas, quotes or line ends into quotes"
    if tabs:
        remedy = "take tabs and line ends out of its texts, or save it as CSV"
    _, head = next(rows, (1, []))
    places = [_place(head, column, name) for column in columns]
    for number, row in rows:
        if row and len(row) != len(head):
            raise DataError(
                f"{name}, row {number}: it has {len(row)} fields, the row of names has {len(head)}; {remedy}"
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


def _of_lines(text: str) -> Iterator[list[str]]:
    """Fields between tabs."""
    for line in io.StringIO(text, newline=None):
        fields = line.rstrip("\n").split("\t")
        yield [] if fields == [""] else [_without_quotes(field) for field in fields]


def _without_quotes(field: str) -> str:
    whole = _QUOTED.fullmatch(field)
    return field if whole is None else whole[1].replace('""', '"')


def _of_commas(text: str, name: str) -> Iterator[list[str]]:
    # A text may be longer than the 128 KiB of the default.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
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
                f"the fields of {name} are separated by {words}, commas or tabs were wanted; save it as CSV, with "
                "texts that contain commas in quotes"
            )
    known = nearest(column, head) if head else "it has none"
    raise DataError(f"{name} has no column {column!r}; {known}; name the columns by text_column and label_column")

"""JSON objects from files of other programs."""

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from descentlab._check import nearest
from descentlab.formats.base import DataError, decoding, read_bytes

__all__ = ["DEPTH", "MOST_BYTES", "json_object", "read_json", "read_json_lines"]

MOST_BYTES = 16 * 2**20
"""The largest JSON file that is read; descriptions of models and runs have some thousand bytes."""

DEPTH = 100
"""Objects and lists within one another; an experiment with a chain of origins is the deepest that we write."""


def read_json(path: str | os.PathLike[str], wanted: str = "a JSON file") -> dict[str, Any]:
    """The named fields of a JSON file.

    Args:
        path: the file.
        wanted: what it should be, with its article, for messages.

    Raises:
        DataError: if it cannot be read, or is none.
    """
    return json_object(read_bytes(path, wanted, MOST_BYTES), os.fspath(path), wanted)


def json_object(content: bytes, name: str, wanted: str = "a JSON file") -> dict[str, Any]:
    """The named fields in the bytes of a JSON file.

    Args:
        content: the bytes, as UTF-8, UTF-16 or UTF-32.
        name: the file, for messages.
        wanted: what it should be, with its article, for messages.

    Raises:
        DataError: if they are not JSON, not an object, nested deeper than `DEPTH`, or give two values to one name.
            Numbers that are not finite pass, since other programs write `Infinity` where there is no bound.
    """
    with decoding(name, "JSON"):
        data = json.loads(content, object_pairs_hook=_once)
    if not isinstance(data, dict):
        raise DataError(f"wanted {wanted} with named fields, but {name} holds {_kind(data)}")
    if _deeper(data, DEPTH):
        raise DataError(f"wanted {wanted}, but {name} nests objects and lists deeper than {DEPTH}")
    return data


def read_json_lines(content: bytes, name: str, fields: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Some fields of the objects in a file of JSON lines, one object a line, with the number of the line.

    Whole numbers and truth values are given as JSON writes them. Empty lines are left out.

    Args:
        content: the bytes, in UTF-8.
        name: their file, for messages.
        fields: names of those that are wanted.

    Raises:
        DataError: if a line is no object, or lacks a field, or a field is neither a text nor a whole number.
    """
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            place = f"{name}, line {number}"
            data = json_object(line, place, "JSON lines: on each an object")
            yield number, tuple(_text(data, field, place) for field in fields)


def _text(data: dict[str, Any], field: str, place: str) -> str:
    """One field in words.

    Raises:
        DataError: if it is missing or holds something else.
    """
    if field not in data:
        known = nearest(field, list(data)) if data else "it has none"
        raise DataError(f"{place} has no field {field!r}; {known}; name the fields by text_column and label_column")
    value = data[field]
    if not isinstance(value, str | int):
        raise DataError(f"{place}: {field!r} must be a text or a whole number, got {_kind(value)}; mend it")
    with decoding(f"{place}: {field!r}", "text that UTF-8 can hold", "mend the line"):
        found = value if isinstance(value, str) else json.dumps(value)
        found.encode()
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, value in pairs:
        if name in data and data[name] != value:
            raise ValueError(f"the name {name!r} has two values")
        data[name] = value
    return data


def _deeper(data: Any, most: int) -> bool:
    """Whether data nest deeper than this, found level by level: a recursion is what must not happen here."""
    level = [data]
    for _ in range(most):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _kind(value: Any) -> str:
    """What a value is in the words of JSON, a short one with its value."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    said = json.dumps(value)
    return said if len(said) <= 40 else f"{said[:40]}..."

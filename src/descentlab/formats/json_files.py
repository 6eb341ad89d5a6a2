"""JSON objects from files of other programs."""

import json
import os
from typing import Any

from descentlab.formats.base import DataError, decoding, read_bytes

__all__ = ["DEPTH", "MOST_BYTES", "json_object", "read_json"]

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

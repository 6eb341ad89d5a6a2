"""JSON objects from files of other programs, and their fields with the type and range that each must have."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from descentlab._check import nearest
from descentlab.formats.base import DataError, decoding, read_bytes

__all__ = ["DEPTH", "MOST_BYTES", "MOST_WHOLE", "Fields", "json_object", "read_json"]

MOST_BYTES = 16 * 2**20
"""The largest JSON file that is read; descriptions of models and runs have some thousand bytes."""

DEPTH = 100
"""Objects and lists within one another; an experiment with a chain of origins is the deepest that we write."""

MOST_WHOLE = 10**9
"""The largest whole number that a field may hold where its reader says nothing else: above any size of a model, and
small enough that products of a few of them stay below the largest float64."""

_NEEDED: Any = object()


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
            Numbers that are not finite pass, since other programs write `Infinity` for no bound; `Fields` refuses them
            where they are asked for.
    """
    with decoding(name, wanted):
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


class Fields(Mapping[str, Any]):
    """The fields of a JSON object, taken one by one with the type that each must have.

    A field that is `null` is a field that is not there, as writers of such files mean it. Every method raises
    `DataError` where the field has another type or range, or is missing and no default was given; the message names
    file, field, what was wanted and what came.

    Args:
        data: the object.
        where: its file, and the path in it, for messages.

    Examples:
        >>> fields = Fields({"layers": 12, "rope": {"theta": 1e4}, "tied": True, "heads": None}, "config.json")
        >>> fields.whole("layers"), fields.whole("heads", 12), fields.flag("tied"), fields.inner("rope").real("theta")
        (12, 12, True, 10000.0)
        >>> fields.whole("tied")
        Traceback (most recent call last):
        descentlab.formats.base.DataError: config.json: tied must be a whole number from 1 to 1,000,000,000, got true
    """

    def __init__(self, data: Mapping[str, Any], where: str):
        self.data = {name: value for name, value in data.items() if value is not None}
        self.where = where

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def whole(self, name: str, default: Any = _NEEDED, *, least: int = 1, most: int = MOST_WHOLE) -> Any:
        """A whole number; `true` is none, and `12.0` is one."""
        value = self._value(name, default)
        if value is default:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.refused(name, f"a whole number from {least:,} to {most:,}")
        return value

    def real(self, name: str, default: Any = _NEEDED, *, least: float = 0.0, most: float = sys.float_info.max) -> Any:
        """A number, whole or not."""
        value = self._value(name, default)
        if value is default:
            return default
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise self.refused(name, f"a number from {least:g} to {most:g}")
        return float(value)

    def flag(self, name: str, default: Any = _NEEDED) -> Any:
        """`true` or `false`; the texts "true" and "false" are neither."""
        return self._typed(name, bool, "true or false", default)

    def text(self, name: str, default: Any = _NEEDED) -> Any:
        """A text."""
        return self._typed(name, str, "a text", default)

    def items_of(self, name: str, kind: type, default: Any = _NEEDED) -> Any:
        """A list, as a tuple, whose entries all have one type: int, float, str, bool or dict."""
        value = self._typed(name, list, "a list", default)
        if value is default:
            return default
        kinds = (int, float) if kind is float else (kind,)
        if not all(isinstance(one, kinds) and (kind is bool or not isinstance(one, bool)) for one in value):
            raise self.refused(name, f"a list of {_TYPES[kind]}")
        return tuple(value)

    def inner(self, name: str, default: Any = _NEEDED) -> Any:
        """The fields of an object within this one."""
        value = self._typed(name, dict, "an object", default)
        return default if value is default else Fields(value, f"{self.where}: {name}")

    def _typed(self, name: str, kind: type, wanted: str, default: Any) -> Any:
        value = self._value(name, default)
        if value is not default and not isinstance(value, kind):
            raise self.refused(name, wanted)
        return value

    def _value(self, name: str, default: Any) -> Any:
        value = self.data.get(name, default)
        if value is _NEEDED:
            hint = nearest(name, self.data) if self.data else "it has no fields"
            raise DataError(f"{self.where} lacks {name}; {hint}")
        return value

    def refused(self, name: str, wanted: str) -> DataError:
        """The error for a field that is not what was wanted of it."""
        return DataError(f"{self.where}: {name} must be {wanted}, got {_kind(self.data[name])}")


_TYPES = {int: "whole numbers", float: "numbers", str: "texts", bool: "true and false", dict: "objects"}

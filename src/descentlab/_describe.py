"""Definitions as plain data, and back: `describe`, `restore`, `digest`, `structure`.

A definition is a tree of equinox modules whose leaves are numbers, strings, `None`, tuples, dictionaries and
`Given` arrays. Its plain data is the one configuration format of the package: it is what is printed, hashed and
stored. Nothing else describes an experiment.
"""

import dataclasses
import enum
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from descentlab._classes import class_at, public_name, without_place
from descentlab._definition import DefinitionError, Untraced
from descentlab._moved import VALUES
from descentlab.given import Given
from descentlab.mistake import Mistake

__all__ = ["describe", "digest", "given_arrays", "paths", "replace_at", "restore", "structure", "value_at"]


_PLAIN = (bool, int, str)

_GIVEN = {"given", "sha256", "shape", "dtype"}
"""What the description of a given array says."""


def describe(definition: Any) -> Any:
    """The definition as JSON-compatible data: public names of classes, every field, defaults included.

    Args:
        definition: an equinox module, or what may stand in one of its fields.

    Returns:
        Nested dictionaries, lists, numbers, strings and `None`. An array appears as its name and SHA-256.

    Raises:
        TypeError: if something in it is neither a definition nor plain data.
        Mistake: if a number is not finite.
    """
    return _described(definition, _Purpose.SHOWN)


class _Purpose(enum.Enum):
    """What a description is for.

    One that is hashed leaves out what may change while the definition stays: names of given arrays, in which file or
    package of descentlab a class lies, and later fields at their defaults. An outline has a word in the place of every
    float that may be traced.
    """

    SHOWN = enum.auto()
    IDENTITY = enum.auto()
    OUTLINE = enum.auto()


def _described(definition: Any, purpose: _Purpose) -> Any:
    if definition is None or isinstance(definition, _PLAIN):
        return definition
    if isinstance(definition, float):
        if not math.isfinite(definition):
            raise Mistake(f"a definition holds finite numbers only, got {definition}")
        return "float" if purpose is _Purpose.OUTLINE else definition
    if isinstance(definition, Given):
        value = definition.value
        named = {"given": definition.name} if purpose is _Purpose.SHOWN else {}
        return named | {"sha256": definition.sha256, "shape": list(value.shape), "dtype": str(value.dtype)}
    if isinstance(definition, eqx.Module):
        kind = type(definition)
        name = public_name(kind)
        data = {"class": name if purpose is _Purpose.SHOWN else without_place(name)}
        for field in dataclasses.fields(kind):
            inside = _purpose_in(definition, field, purpose)
            value = _described(getattr(definition, field.name), inside)
            if inside is _Purpose.SHOWN or not _is_later(field) or value != _described(_default(field), inside):
                data[field.name] = value
        return data
    if isinstance(definition, Mapping):
        return {str(name): _described(value, purpose) for name, value in definition.items()}
    if isinstance(definition, list | tuple):
        return [_described(value, purpose) for value in definition]
    raise TypeError(
        f"a definition holds numbers, strings, arrays (as Given) and definitions, got {type(definition).__name__}"
    )


def _purpose_in(definition: Any, field: dataclasses.Field, purpose: _Purpose) -> _Purpose:
    """That of a field's description; floats that are never traced stay in an outline."""
    untraced = isinstance(definition, Untraced) or field.metadata.get("static", False)
    return _Purpose.IDENTITY if purpose is _Purpose.OUTLINE and untraced else purpose


def _is_later(field: dataclasses.Field) -> bool:
    """Whether its metadata are `LATER`."""
    return "later" in field.metadata


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def restore(data: Any, arrays: Mapping[str, np.ndarray], files: Sequence[str | Path] = ()) -> Any:
    """The definition that `describe` turned into `data`.

    Args:
        data: what `describe` returned, also after a round trip through JSON.
        arrays: the given arrays by SHA-256.
        files: Python files in which classes are looked for that are neither of the package nor of a module that is
            imported already; a file is run under the name of the module that it stands for. Nothing else is imported.

    Returns:
        An equal definition; lists come back as tuples. Fields that came `LATER` and are not in the data have their
        defaults.

    Raises:
        KeyError: if a given array is missing from `arrays`.
        DefinitionError: if a class of the definition is missing, or its fields are others.
    """
    if _is_given(data):
        return Given(data["given"], arrays[data["sha256"]])
    if _is_class(data):
        kind = _kind(data, files)
        fields = {name: _of_today(kind, name, value) for name, value in data.items() if name != "class"}
        return kind(**{name: restore(value, arrays, files) for name, value in fields.items()})
    if isinstance(data, dict):
        return {name: restore(value, arrays, files) for name, value in data.items()}
    if isinstance(data, list):
        return tuple(restore(value, arrays, files) for value in data)
    return data


def _of_today(kind: type[eqx.Module], field: str, value: Any) -> Any:
    """The data of a field, in the form that its class wants today."""
    forms = VALUES.get((public_name(kind), field), {})
    return forms.get(value, value) if isinstance(value, bool | int | float | str | None) else value


def _is_class(data: Any) -> bool:
    """Whether this describes a definition, and no dictionary with such a name."""
    return isinstance(data, dict) and isinstance(data.get("class"), str)


def _kind(data: Mapping[str, Any], files: Sequence[str | Path]) -> type[eqx.Module]:
    """The class of a description, which has the same fields but for those that came later.

    Raises:
        DefinitionError: if it is missing, or its fields are others.
    """
    kind = class_at(data["class"], files)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if gone := data.keys() - {"class"} - fields.keys():
        raise DefinitionError(
            f"{kind.__name__} has the field {min(gone)!r} only in the kept definition, which is of another version of "
            "the class"
        )
    if new := [name for name, field in fields.items() if name not in data and not _is_later(field)]:
        raise DefinitionError(
            f"{kind.__name__} has the field {new[0]!r} only here, and not in the kept definition, which is of another "
            "version of the class"
        )
    return kind


def _hash(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:32]


def _is_given(data: Any) -> bool:
    """Whether this describes a given array, and no dictionary with such names."""
    return isinstance(data, dict) and data.keys() == _GIVEN and isinstance(data["given"], str)


def digest(definition: Any) -> str:
    """32 hexadecimal digits that identify a definition.

    Given arrays count by their content and not by their names, classes of the package by their own names and not by
    where they lie, and a field that came `LATER` only where it does not hold its default.
    """
    return _hash(_described(definition, _Purpose.IDENTITY))


def structure(definition: Any) -> str:
    """The digest with every float left out that may be traced: equal for definitions that can share one program.

    Floats of a data set, of a schedule and of what else is `Untraced` stay, and so do those of static fields.
    """
    return _hash(_described(definition, _Purpose.OUTLINE))


def given_arrays(definition: Any) -> dict[str, Given]:
    """Every given array of the definition by its SHA-256."""
    if isinstance(definition, Given):
        return {definition.sha256: definition}
    if isinstance(definition, eqx.Module):
        children = [getattr(definition, f.name) for f in dataclasses.fields(type(definition))]
    elif isinstance(definition, Mapping):
        children = list(definition.values())
    elif isinstance(definition, list | tuple):
        children = list(definition)
    else:
        children = []
    return {key: given for child in children for key, given in given_arrays(child).items()}


def value_at(definition: Any, path: str) -> Any:
    """The field at a dotted path such as `"model.attention"`.

    Raises:
        Mistake: if the path names no field.
    """
    for name in path.split("."):
        if isinstance(definition, Mapping) and name in definition:
            definition = definition[name]
        elif isinstance(definition, eqx.Module) and name in {f.name for f in dataclasses.fields(type(definition))}:
            definition = getattr(definition, name)
        else:
            raise Mistake(f"there is no field {name!r} in {type(definition).__name__} (path {path!r})")
    return definition


def paths(definition: Any, prefix: str = "") -> Iterator[str]:
    """The dotted path of every field."""
    if isinstance(definition, Mapping):
        children = list(definition.items())
    else:
        children = [(f.name, getattr(definition, f.name)) for f in dataclasses.fields(definition)]
    for name, value in children:
        yield f"{prefix}{name}"
        if isinstance(value, eqx.Module | Mapping) and not isinstance(value, Given):
            yield from paths(value, f"{prefix}{name}.")


def replace_at(definition: Any, path: str, value: Any) -> Any:
    """A copy of the definition with the field at a dotted path replaced.

    Raises:
        Mistake: if the path names no field, or the new value is refused by its owner.
    """
    value_at(definition, path)
    name, _, rest = path.partition(".")
    if rest:
        value = replace_at(value_at(definition, name), rest, value)
    if isinstance(definition, Mapping):
        return {**definition, name: value}
    return dataclasses.replace(definition, **{name: value})

"""What all definitions have in common: a value of the wrong class is refused where it is written down.

A definition is a tree of equinox modules. Nothing but the annotations of their fields says what fits where, so they
are what is checked, here and for every class alike.
"""

import dataclasses
import functools
import inspect
import reprlib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from descentlab.mistake import Mistake

__all__ = ["LATER", "Definition", "DefinitionError", "Untraced", "check_fields", "final", "fits", "in_words"]

_PLAIN = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    np.ndarray: "an array",
    types.NoneType: "None",
}


INDEX = 2**63 - 1
"""The largest whole number that can be the index or the size of anything."""

_NUMBERS = {bool: (bool,), int: (int,), float: (int, float)}

LATER: Mapping[str, Any] = types.MappingProxyType({"later": True})
"""Metadata of a field that its class got after definitions of it were stored; its default is what was done before.

While it holds its default the field counts neither in a digest nor in a structure, and a stored definition that lacks
it is given that.
"""


class DefinitionError(Mistake):
    """A definition cannot be made: what was wanted, what came, what to do."""


class Definition(eqx.Module):
    """The base of all definitions: each field holds what its annotation names.

    Fields are checked when an instance is made, before its class's own `__check_init__`. A traced value passes, since
    definitions are rebuilt inside compiled programs. What an annotation leaves open, or what it names that is neither
    plain data nor an equinox module, is not checked.

    Raises:
        DefinitionError: if a field holds something else.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        # Equinox calls the checks of all classes, that of a subclass before those of its bases.
        own = cls.__dict__.get("__check_init__")

        def fields_first(self: Any) -> None:
            if type(self) is cls:
                check_fields(self)
            if own is not None:
                own(self)

        cls.__check_init__ = fields_first  # type: ignore[attr-defined]


class Untraced(Definition):
    """A definition that is evaluated outside compiled programs, so that all its fields, floats too, are structure.

    What is read from disk or decides the shape of an array has to be known before a program is compiled, and
    experiments that differ in it cannot share one.
    """


def check_fields(definition: eqx.Module) -> None:
    """Raise where a field holds something that its annotation does not name.

    Raises:
        DefinitionError: if one does; says what fits, and which other field the value would fit.
    """
    kind = type(definition)
    for name, annotation in _annotations(kind).items():
        value = getattr(definition, name)
        if not fits(value, annotation):
            raise DefinitionError(
                f"{kind.__name__}.{name} must be {in_words(annotation)}, got {_came(value)}{_hint(kind, name, value)}"
            )


@functools.cache
def _annotations(kind: type) -> Mapping[str, Any]:
    """The resolved annotation of every field; none where the names in them cannot be resolved."""
    try:
        hints = typing.get_type_hints(kind)
    except (NameError, TypeError):  # names of a function's own scope, which nobody but its compiler knows
        return {}
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if union else (annotation,)


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value is what an annotation names; arrays, traced ones too, stand for numbers."""
    return _test(annotation)(value)


@functools.cache
def _test(annotation: Any) -> Callable[[Any], bool]:
    """What tells whether a value fits; kept, since definitions are made by the thousand."""
    if len(several := _alternatives(annotation)) > 1:
        tests = [_test(one) for one in several]
        return lambda value: any(test(value) for test in tests)
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return lambda value: value in inner
    if origin in (tuple, dict, Mapping):
        kinds = (tuple, list) if origin is tuple else (Mapping,)
        return lambda value: isinstance(value, kinds) and _entries_fit(value, inner)
    if annotation in _NUMBERS:
        kinds, arrays = _NUMBERS[annotation], (jax.Array, np.ndarray)
        wrong = () if annotation is bool else bool
        return lambda value: (
            (isinstance(value, arrays) and value.ndim == 0)
            or (isinstance(value, kinds) and not isinstance(value, wrong) and not _is_too_large(value))
        )
    checked = isinstance(annotation, type) and issubclass(annotation, eqx.Module | str | types.NoneType)
    return lambda value: not checked or isinstance(value, annotation)


def _is_too_large(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > INDEX


def _entries_fit(values: Any, inner: tuple[Any, ...]) -> bool:
    if isinstance(values, Mapping):
        return all(fits(one, inner[1]) for one in values.values())
    if len(inner) == 2 and inner[1] is Ellipsis:
        return all(fits(one, inner[0]) for one in values)
    return len(values) == len(inner) and all(map(fits, values, inner))


def in_words(annotation: Any) -> str:
    """What an annotation asks for; classes by the names of those that can be made."""
    words = [word for one in _alternatives(annotation) for word in _words(one)]
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _words(annotation: Any) -> list[str]:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return [repr(one) for one in inner]
    if origin is tuple:
        many = len(inner) == 2 and inner[1] is Ellipsis
        return [f"a tuple (each entry {in_words(inner[0])})" if many else f"a tuple of {len(inner)} numbers"]
    if origin in (dict, Mapping):
        return [f"a dictionary (each value {in_words(inner[1])})"]
    names = [one.__name__ for one in final(annotation) if not one.__name__.startswith("_")]
    return [_PLAIN[annotation]] if annotation in _PLAIN else list(dict.fromkeys(names)) or [annotation.__name__]


def final(kind: type) -> Iterator[type]:
    """A class if it leaves nothing open, else the classes known by now that implement it."""
    if not inspect.isabstract(kind):
        yield kind
    else:
        for one in kind.__subclasses__():
            yield from final(one)


def _came(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    return type(value).__name__ if isinstance(value, eqx.Module) else reprlib.repr(value)


def _hint(kind: type, name: str, value: Any) -> str:
    """What was probably meant."""
    if isinstance(value, type):
        return f"; write {value.__name__}()"
    if isinstance(value, np.generic):
        return f"; write {value.item()!r}"
    if not isinstance(value, eqx.Module):
        return f"; no number of things is above {INDEX}" if _is_too_large(value) else ""
    others = [
        f"{kind.__name__}.{other}"
        for other, annotation in _annotations(kind).items()
        if other != name and any(isinstance(one, type) and isinstance(value, one) for one in _alternatives(annotation))
    ]
    return f"; {type(value).__name__} fits {' or '.join(others)}" if others else ""

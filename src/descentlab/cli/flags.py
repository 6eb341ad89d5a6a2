"""Flags from definitions: dotted paths into an experiment, classes by name.

tyro derives flags, defaults, help and types from the tree of definitions. What it does not know, a class chosen by
the value of a flag (`--model.attention gaussian`), is put into the tree before tyro sees it.
"""

import dataclasses
import importlib
import os
import pkgutil
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import numpy as np
import tyro

from descentlab._check import nearest
from descentlab._definition import final
from descentlab._describe import paths, replace_at, value_at
from descentlab.cli.arguments import parsed
from descentlab.cli.discovery import UsageError
from descentlab.datasets import own_text
from descentlab.experiment import Experiment
from descentlab.formats import finite, read_bytes, read_npy
from descentlab.given import Given
from descentlab.mistake import Mistake

__all__ = ["parse", "read_given"]


@runtime_checkable
class HasExperiment(Protocol):
    """A dataclass of flags, one of whose fields is a definition."""

    @property
    def experiment(self) -> Any:
        """The definition from which flags are derived."""


Options = TypeVar("Options", bound=HasExperiment)

Kinds = tuple[type[eqx.Module], ...]

_REGISTRY = tyro.constructors.ConstructorRegistry()


def read_given(file: str | Path) -> Given:
    """A file as given data: the array of an `.npy` file, the bytes of any other; a folder as those of an archive.

    Raises:
        DataError: if it cannot be read, is empty, or holds something else than finite real numbers.
    """
    path = Path(file)
    if os.path.isdir(path):
        return own_text(path)
    content = read_bytes(path, "a file or a folder")
    if path.suffix == ".npy":
        return Given(path.name, finite(path.name, read_npy(content, str(path))))
    return Given(path.name, np.frombuffer(content, dtype=np.uint8))


@_REGISTRY.primitive_rule
def _given_rule(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """How tyro reads a field of given data: as the name of a file."""
    if info.type is not Given:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="FILE",
        instance_from_str=lambda words: read_given(words[0]),
        is_instance=lambda value: isinstance(value, Given),
        str_from_instance=lambda given: [given.name],
    )


@_REGISTRY.primitive_rule
def _origin_rule(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """How tyro reads an experiment within an experiment: not at all, since studies and Python give it whole."""
    if set(typing.get_args(info.type)) != {Experiment, types.NoneType}:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="(in Python)",
        instance_from_str=_no_origin,
        is_instance=lambda value: value is None or isinstance(value, Experiment),
        str_from_instance=lambda origin: ["None" if origin is None else origin.digest],
    )


def _no_origin(words: list[str]) -> Experiment:
    raise UsageError(f"an origin is an experiment; give it in Python (Experiment(origin=...)), not as {words[0]!r}")


def parse(options: Options, arguments: Sequence[str], *, prog: str, description: str) -> tuple[Options, dict[str, Any]]:
    """Options and overrides from the command line.

    Args:
        options: a dataclass with all defaults; the flags of its field `experiment`, a definition, go by the paths
            inside it.
        arguments: what the user wrote.
        prog: the command, for help and errors.
        description: for help.

    Returns:
        The options, and the fields of the definition that were given explicitly, by dotted path; a chosen class is
        one value that contains what was given for its own fields.

    Raises:
        UsageError: if a class or a dotted flag is unknown. Other mistakes end the process with code 2, as tyro does.
    """
    definition = options.experiment
    asked = {"-h", "--help"} & set(arguments)
    own = [field.name for field in dataclasses.fields(options) if field.name != "experiment"]  # type: ignore
    definition, chosen, rest = _choose(definition, list(arguments), own)
    if not asked:
        for path in _flags(rest):
            if path not in own:
                _refuse_unknown(definition, path, own)
    given = parsed(
        type(options),
        rest,
        default=dataclasses.replace(options, experiment=definition),  # type: ignore[type-var]
        prog=prog,
        description=f"{description}\n\n{_class_help(definition, own)}",
        registry=_REGISTRY,
        config=(tyro.conf.AvoidSubcommands,),
    )
    paths = [path for path in [*chosen, *_flags(rest)] if path not in own and _has(definition, path)]
    inner = {path for path in paths for outer in chosen if path.startswith(f"{outer}.")}
    return given, {path: value_at(given.experiment, path) for path in paths if path not in inner}


def _flags(arguments: Sequence[str]) -> dict[str, str | None]:
    """The path of every flag with the word that follows it."""
    found: dict[str, str | None] = {}
    for word, following in zip(arguments, [*arguments, None][1:], strict=True):
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            outer, dot, last = name.replace("-", "_").rpartition(".")
            last = last.removeprefix("no_") if not equals else last
            following = None if following is not None and following.startswith("--") else following
            found[f"{outer}{dot}{last}"] = value if equals else following
    return found


def _choose(definition: Any, arguments: list[str], own: Sequence[str]) -> tuple[Any, list[str], list[str]]:
    """The definition with the named classes in place, the paths where, and the arguments without their names.

    A flag outside the definition, one of `own`, goes before a field of the same name: `--data DIR` is the data folder,
    `--data.samples` a field.
    """
    given = _flags(arguments)
    chosen: list[str] = []
    for path in sorted(given, key=lambda path: path.count(".")):
        kinds = () if path in own else _declared(definition, path)
        if kinds:
            definition = replace_at(definition, path, _make(kinds, path, given))
            chosen.append(path)
    rest, skip = [], False
    for word in arguments:
        name = word[2:].partition("=")[0].replace("-", "_") if word.startswith("--") else None
        if name in chosen:
            skip = "=" not in word
        elif skip:
            skip = False
        else:
            rest.append(word)
    return definition, chosen, rest


def _has(definition: Any, path: str) -> bool:
    try:
        value_at(definition, path)
    except Mistake:
        return False
    return True


def _classes_in(annotation: Any) -> Kinds:
    """The definition types that an annotation names, alone or as alternatives."""
    options = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    return tuple(o for o in options if isinstance(o, type) and issubclass(o, eqx.Module) and o is not Given)


def _declared(definition: Any, path: str) -> Kinds:
    """The definition types of the field at a path; none where the field holds something else or is not there."""
    if not _has(definition, path):
        return ()
    outer, _, name = path.rpartition(".")
    owner = value_at(definition, outer) if outer else definition
    if isinstance(owner, Mapping):
        above, _, field = outer.rpartition(".")
        hints = typing.get_type_hints(type(value_at(definition, above) if above else definition))
        return _classes_in(typing.get_args(hints[field])[1])
    return _classes_in(typing.get_type_hints(type(owner))[name])


def _final(kinds: Kinds) -> dict[str, type[eqx.Module]]:
    """The classes that a field of these types may hold, by their name on the command line."""
    for package in {kind.__module__.rpartition(".")[0] for kind in kinds}:
        if package.startswith("descentlab."):
            for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
                importlib.import_module(f"{package}.{module.name}")
    return {_spelled(one.__name__): one for kind in kinds for one in final(kind)}


def _spelled(name: str) -> str:
    """A class name as a flag's value: `NormalizedGaussian` is normalized-gaussian, `ReLU` is relu."""
    return re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "-", name).lower()


def _match(kinds: Kinds, name: str | None, path: str) -> type[eqx.Module]:
    flag, known = _flag(path), _final(kinds)
    if name is None:
        raise UsageError(f"wanted the name of a class after {flag}, got nothing; known are: {', '.join(known)}")
    plain = {one.replace("-", ""): found for one, found in known.items()}
    found = plain.get(re.sub("[-_]", "", name).lower())
    if found is None:
        raise UsageError(f"there is no {path.rpartition('.')[2]} {name!r} for {flag}; {nearest(name.lower(), known)}")
    return found


def _make(kinds: Kinds, path: str, given: Mapping[str, str | None]) -> Any:
    """A definition of the class named at a path, with its defaults; fields without one must be given."""
    found = _match(kinds, given.get(path), path)
    values = {}
    for field in dataclasses.fields(found):
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING:
            continue
        inner, annotation = f"{path}.{field.name}", typing.get_type_hints(found)[field.name]
        word, nested = given.get(inner), _classes_in(annotation)
        if word is None or (not nested and annotation is not Given):
            raise UsageError(f"{found.__name__} needs {field.name}; add {_flag(inner)} VALUE")
        values[field.name] = read_given(word) if not nested else _make(nested, inner, given)
    return found(**values)


def _flag(path: str) -> str:
    return f"--{path.replace('_', '-')}"


def _refuse_unknown(definition: Any, path: str, own: Sequence[str]) -> None:
    """Raise where a flag leads nowhere, naming what is there; `own` are the flags outside the definition."""
    owner: Any = definition
    parts = path.split(".")
    if len(parts) == 1 and not _has(definition, path):
        known = [_flag(name) for name in [*own, *paths(definition)]]
        raise UsageError(f"there is no flag {_flag(path)}; {nearest(_flag(path), known)}")
    for i, name in enumerate(parts):
        names = list(owner) if isinstance(owner, Mapping) else [f.name for f in dataclasses.fields(owner)]
        if name not in names:
            thing = "probe" if isinstance(owner, Mapping) else "field"
            where = ".".join(parts[:i])
            told = f"{_flag(path)}: {type(owner).__name__ if thing == 'field' else where} has no {thing} {name!r}"
            kinds = _declared(definition, where) if where and thing == "field" else ()
            others = sorted(set(_final(kinds)) - {_spelled(type(owner).__name__)})
            other = f"; or choose another class: {_flag(where)} {'|'.join(others)}" if others else ""
            raise UsageError(f"{told}; {nearest(name, names) if names else 'it has none'}{other}")
        owner = owner[name] if isinstance(owner, Mapping) else getattr(owner, name)
        if not isinstance(owner, eqx.Module | Mapping):
            if i + 1 < len(parts):
                raise UsageError(f"{_flag(path)}: {'.'.join(parts[: i + 1])} is a value without fields; end there")
            return


def _class_help(definition: Any, own: Sequence[str]) -> str:
    """Which classes may be chosen where; not where a flag outside the definition, one of `own`, has the name."""
    lines = [
        "Classes, by name; their own flags follow the choice (--model.attention gaussian --model.attention.c 0.3):"
    ]
    for path in paths(definition):
        names = _final(() if path in own else _declared(definition, path))
        if len(names) > 1 and not path.startswith("probes."):
            value = value_at(definition, path)
            now = "none" if value is None else _spelled(type(value).__name__)
            lines.append(f"  {_flag(path)} {{{','.join(names)}}} (default: {now})")
    return "\n".join(lines)

"""What the classes of definitions are called, and where those of a kept definition come from.

A store may come from someone else, and importing a module runs it. So a class is looked for in the package, in the
modules that this process has imported or defined already, and in files that the user names; nothing else is imported.
"""

import contextlib
import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import equinox as eqx

from descentlab._definition import DefinitionError
from descentlab._moved import MOVED

__all__ = ["class_at", "load_file", "public_name", "without_place"]

_PACKAGE = "descentlab"


@functools.cache
def public_name(kind: type) -> str:
    """What a class is called, as `module:Class`: of the package's own, by the shortest package that exports it."""
    name = kind.__qualname__
    for place in reversed(_places(kind.__module__)) if _is_own(kind.__module__) else ():
        if getattr(sys.modules.get(place), name, None) is kind:
            return f"{place}:{name}"
    return f"{kind.__module__}:{name}"


def without_place(name: str) -> str:
    """A class's name that stays when a class of the package, where no two have one name, is moved in it."""
    module, _, own = name.partition(":")
    return f"{_PACKAGE}:{own}" if _is_own(module) else name


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == _PACKAGE


def _places(module: str) -> list[str]:
    """A module and the packages that it is in, from the inside."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)]


def load_file(path: Path, name: str) -> ModuleType:
    """The module in a Python file, run and known under a name; what lies beside it can be imported by it.

    Raises:
        DefinitionError: if it is not a Python file.
    """
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise DefinitionError(f"wanted a Python file (.py), got {path}")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def class_at(place: Any, files: Sequence[str | Path] = ()) -> type[eqx.Module]:
    """The class that a description names as `module:Class`.

    Args:
        place: the name.
        files: Python files that may be run to find it, each for the module of its own name.

    Raises:
        DefinitionError: if it is not to be found without importing anything else, or is no class of definitions.
    """
    module_name, colon, name = MOVED.get(place, place).partition(":") if isinstance(place, str) else ("", "", "")
    if not colon:
        raise DefinitionError(f"wanted a class as module:Class in a definition, got {place!r}")
    modules = _own(module_name) if _is_own(module_name) else _foreign(module_name, files)
    found = next((one for module in modules if (one := _inside(module, name)) is not None), None)
    if found is None:
        raise DefinitionError(f"the definition needs the class {name} of the module {module_name}, {_way(module_name)}")
    if not (isinstance(found, type) and issubclass(found, eqx.Module)) or inspect.isabstract(found):
        raise DefinitionError(f"{place} is no class of definitions")
    return found


def _inside(module: ModuleType, name: str) -> Any:
    """What a module has under a name, dots for classes in classes."""
    found: Any = module
    for part in name.split("."):
        # Not getattr of what is foreign: a module or class may answer that by importing or running something.
        if found is module and _is_own(module.__name__):
            found = getattr(module, part, None)
        else:
            found = vars(found).get(part) if isinstance(found, ModuleType | type) else None
    return found


def _foreign(name: str, files: Sequence[str | Path]) -> Iterator[ModuleType]:
    """A module that is imported already, or else the file that stands for it."""
    named = [Path(file) for file in files if Path(file).stem in (name, name.rpartition(".")[2])]
    named += [Path(file) for file in files if f"study_{Path(file).stem}" == name]
    if name in sys.modules:
        yield sys.modules[name]
    elif named:
        yield load_file(named[0], name)


def _own(name: str) -> Iterator[ModuleType]:
    """A module of the package and those that it is in, which export what has gone into another file."""
    for place in _places(name):
        if all(part.isidentifier() and part != "__main__" for part in place.split(".")):
            with contextlib.suppress(ModuleNotFoundError):
                yield importlib.import_module(place)


def _way(name: str) -> str:
    """Why a module is missing, and what to do."""
    if _is_own(name):
        return "which this version of descentlab does not have"
    if name == "__main__":
        return "a script that is not this one; put the class into a file of its own and train again"
    if name in sys.modules:
        return "which has no such class"
    file = f"{name.rpartition('.')[2]}.py"
    return (
        "which is not imported here, and is not imported because a definition names it; name its file (on the command "
        f"line --classes {file}, in Python files=[{file!r}]), or import it first"
    )

"""Where the classes of a kept definition come from.

A store may come from someone else, and importing a module runs it. So a class is looked for in the package, in the
modules that this process has imported or defined already, and in files that the user names; nothing else is imported.
"""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import equinox as eqx

from descentlab._definition import DefinitionError

__all__ = ["class_at", "load_file"]

_PACKAGE = "descentlab"


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
    module_name, colon, name = place.partition(":") if isinstance(place, str) else ("", "", "")
    if not colon:
        raise DefinitionError(f"wanted a class as module:Class in a definition, got {place!r}")
    module = _module(module_name, files)
    found: Any = module
    for part in name.split("."):
        # Not getattr: a module or class may answer that by importing or running something.
        found = vars(found).get(part) if isinstance(found, ModuleType | type) else None
    if found is None:
        why = "which has no such class" if module is not None and module_name != "__main__" else _way(module_name)
        raise DefinitionError(f"the definition needs the class {name} of the module {module_name}, {why}")
    if not (isinstance(found, type) and issubclass(found, eqx.Module)) or inspect.isabstract(found):
        raise DefinitionError(f"{place} is no class of definitions")
    return found


def _module(name: str, files: Sequence[str | Path]) -> ModuleType | None:
    if name.partition(".")[0] == _PACKAGE:
        return _own(name)
    known = sys.modules.get(name)
    named = [Path(file) for file in files if Path(file).stem in (name, name.rpartition(".")[2])]
    named += [Path(file) for file in files if f"study_{Path(file).stem}" == name]
    return load_file(named[0], name) if known is None and named else known


def _own(name: str) -> ModuleType | None:
    """A module of the package."""
    if not all(part.isidentifier() and part != "__main__" for part in name.split(".")):
        return None
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def _way(name: str) -> str:
    """Why a module is missing, and what to do."""
    if name.partition(".")[0] == _PACKAGE:
        return "which this version of descentlab does not have"
    if name == "__main__":
        return "a script that is not this one; put the class into a file of its own and train again"
    file = f"{name.rpartition('.')[2]}.py"
    return (
        "which is not imported here, and is not imported because a definition names it; name its file (on the command "
        f"line --classes {file}, in Python files=[{file!r}]), or import it first"
    )

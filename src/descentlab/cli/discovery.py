"""Where studies are: a module or package in `descentlab.studies`, or a file, with an attribute `study`.

They are listed without being imported.
"""

import ast
import importlib
import os
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from descentlab._check import nearest
from descentlab.mistake import Mistake

__all__ = ["UsageError", "find", "listed", "load"]


class UsageError(Mistake):
    """A command cannot be carried out as it was given: what was wanted, what came, what to do."""


def _sources() -> dict[str, Path]:
    """The file of every study in the package by its name."""
    folder = Path(str(resources.files("descentlab").joinpath("studies")))
    modules = {path.stem: path for path in folder.glob("*.py")} | {
        path.parent.name: path for path in folder.glob("*/__init__.py")
    }
    return {name: path for name, path in sorted(modules.items()) if not name.startswith("_") and _is_study(path)}


def _is_study(path: Path) -> bool:
    """Whether the module gives a value to the name `study`."""
    for node in ast.parse(path.read_bytes()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="study"), *_]) | ast.AnnAssign(target=ast.Name(id="study")):
                return True
            case ast.ImportFrom(names=names) if any((one.asname or one.name) == "study" for one in names):
                return True
    return False


def listed() -> dict[str, str]:
    """The first line of every study's docstring by its name."""
    texts = {name: ast.get_docstring(ast.parse(path.read_bytes())) or "" for name, path in _sources().items()}
    return {name: text.partition("\n")[0] for name, text in texts.items()}


def find(study: str) -> str | Path:
    """The name of a study of the package, or the path of a file that should hold one.

    Raises:
        UsageError: if there is neither.
    """
    name, path = study.replace("-", "_"), Path(study)
    if name in (known := _sources()):
        return name
    if path.suffix == ".py" or len(path.parts) > 1:
        if not os.path.isfile(path):
            raise UsageError(f"wanted the file of a study, but there is no file {study}")
        return path
    hint = nearest(name, known) if known else "give the path of a file with an attribute `study`"
    raise UsageError(f"there is no study {study!r}; {hint}")


def load(place: str | Path) -> Any:
    """The attribute `study` of a module of the package or of a file.

    Raises:
        UsageError: if it is missing or something else than a study.
    """
    from descentlab.study import Study

    module = _load_file(place) if isinstance(place, Path) else importlib.import_module(f"descentlab.studies.{place}")
    study = getattr(module, "study", None)
    if not isinstance(study, Study):
        raise UsageError(f"{place} must have an attribute `study` that is a Study, got {type(study).__name__}")
    return study


def _load_file(path: Path) -> Any:
    """The module in a file, importable under the file's name unless that is taken."""
    from descentlab._classes import load_file

    taken = path.stem in sys.modules or path.stem in sys.stdlib_module_names
    name = f"study_{path.stem}" if taken else path.stem
    return load_file(path, name)

"""The public names: how they load, and that none hides a module."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import descentlab
from descentlab.data import AbstractData
from descentlab.runs import Runs
from descentlab.schedule import AbstractSchedule

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "descentlab"


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=True
    ).stdout.split()


def test_importing_the_package_imports_no_jax():
    assert python("import descentlab, sys; print('jax' in sys.modules)") == ["False"]


def test_what_needs_no_jax_loads_without_it():
    """Claims are judged and stopped runs are read where nothing is trained."""
    code = "from descentlab import About, Mistake, Status, at_most, claim; import sys; print('jax' in sys.modules)"
    assert python(code) == ["False"]


def test_figures_need_no_jax():
    assert python("import descentlab.plots, descentlab.plots.landscape, sys; print('jax' in sys.modules)") == ["False"]


@pytest.mark.parametrize("name", descentlab.__all__)
def test_every_public_name_loads_and_is_listed(name):
    found = getattr(descentlab, name)
    assert found.__name__ == name
    assert name in dir(descentlab)


def test_every_public_name_has_its_module_in_the_reference():
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    shown = set(re.findall(r"^::: (\S+)", pages, re.MULTILINE))
    assert {name for name in descentlab.__all__ if getattr(descentlab, name).__module__ not in shown} == set()


def test_every_public_noun_is_in_the_glossary():
    """A class by its name, a schedule or a batching by the name of what it is one of."""
    words = set(re.findall(r"^\| \*\*(.+?)\*\*", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE))
    kinds = {AbstractSchedule: "schedule", AbstractData: "batching", Runs: "run"}
    for name in descentlab.__all__:
        found = getattr(descentlab, name)
        if isinstance(found, type):
            word = next((word for kind, word in kinds.items() if issubclass(found, kind)), name.lower())
            assert word in words, name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        descentlab.nothing  # noqa: B018


def imported(source):
    """Names that a module imports from others, by name the module."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: node.module for node in nodes for alias in node.names}


def test_type_checkers_read_the_names_that_load():
    seen = {name: home for name, home in imported((PACKAGE / "__init__.py").read_text()).items() if name[0] != "_"}
    assert {name: home for name, home in seen.items() if home.startswith("descentlab.")} == descentlab._HOMES


def hidden(folder):
    """Modules of a package in whose place the package itself puts a function or class of their name."""
    modules = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    source = (folder / "__init__.py").read_text()
    defined = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    whole = "descentlab" + "".join(f".{part}" for part in folder.relative_to(PACKAGE).parts)
    taken = {name for name, home in imported(source).items() if home != whole}
    return sorted(modules & (defined | taken))


def test_no_public_name_hides_a_module():
    packages = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
    assert {str(folder): found for folder in packages if (found := hidden(folder))} == {}


def test_a_hidden_module_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "__init__.py").write_text(
        "from descentlab.grid import grid\nfrom descentlab import run\n\ndef draw(): ...\n"
    )
    for name in ("grid", "run", "draw", "other"):
        (tmp_path / f"{name}.py").touch()
    assert hidden(tmp_path) == ["draw", "grid"]

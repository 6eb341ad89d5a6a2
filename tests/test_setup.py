"""The project's own rules: its locked requirements, what its files may name, and the size of its code."""

import ast
import io
import re
import shutil
import subprocess
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "descentlab"

REGISTRY_HOSTS = tuple(".".join(name) for name in (("pypi", "org"), ("files", "pythonhosted", "org")))
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:home|root|Users|work|opt|mnt|tmp|srv)/\w|\b[A-Z]:\\Users\\")
MAY_NAME_REGISTRIES = {"uv.lock"}

MAX_FILE_LINES = 300
MAX_STUDY_FILE_LINES = 150
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 6
MAX_NESTING = 1

# Complaints that may stand, with the reason: {"models/big.py: call has 7 parameters, at most 6": "..."}.
EXCEPTIONS: dict[str, str] = {}


# --- requirements --------------------------------------------------------------------------------------


def locked_packages() -> list[dict]:
    return tomllib.loads((ROOT / "uv.lock").read_text())["package"]


def locked_project() -> dict:
    return next(package for package in locked_packages() if package["name"] == "descentlab")


def closure(edges: list[dict]) -> set[tuple[str, str]]:
    """All packages reachable in uv.lock from these dependencies, as (name, version)."""
    packages = locked_packages()
    found, waiting, seen = set(), list(edges), []
    while waiting:
        edge = waiting.pop()
        if edge in seen:
            continue
        seen.append(edge)
        for package in packages:
            if package["name"] == edge["name"] and edge.get("version", package["version"]) == package["version"]:
                found.add((package["name"], package["version"]))
                waiting += package.get("dependencies", [])
                for extra in edge.get("extra", []):
                    waiting += package["optional-dependencies"][extra]
    return found


def test_exported_requirements_agree_with_the_lock():
    project = locked_project()
    groups = {name: edges for name, edges in project["dev-dependencies"].items() if name != "torch"}
    edges = list(project["dependencies"])
    for members in (*project["optional-dependencies"].values(), *groups.values()):
        edges += members

    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = {tuple(line.split(";")[0].strip().split("==")) for line in lines if line.strip()}

    assert pinned == closure(edges), "run `make lock`"


def as_written(requirements: list[str]) -> set[tuple[str, SpecifierSet]]:
    parsed = [Requirement(text) for text in requirements]
    return {(requirement.name, requirement.specifier) for requirement in parsed}


def as_locked(entries: list[dict]) -> set[tuple[str, SpecifierSet]]:
    return {(entry["name"], SpecifierSet(entry.get("specifier", ""))) for entry in entries}


def test_the_lock_agrees_with_the_project_file():
    written = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = locked_project()["metadata"]
    extras = written["project"]["optional-dependencies"].values()
    runtime = written["project"]["dependencies"] + [text for extra in extras for text in extra]

    assert as_locked(locked["requires-dist"]) == as_written(runtime), "run `make lock`"
    assert {name: as_locked(group) for name, group in locked["requires-dev"].items()} == {
        name: as_written(group) for name, group in written["dependency-groups"].items()
    }, "run `make lock`"


def test_the_lock_names_only_the_public_registry():
    text = (ROOT / "uv.lock").read_text()
    hosts = set(re.findall(r"https?://([^/\"]+)", text))
    sources = {tuple(package["source"].items()) for package in locked_packages()}

    assert hosts == set(REGISTRY_HOSTS)
    assert sources == {(("registry", f"https://{REGISTRY_HOSTS[0]}/simple"),), (("editable", "."),)}
    assert "file://" not in text


# --- what the files may name ---------------------------------------------------------------------------


def project_files() -> list[Path]:
    """Files that git tracks or would track."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    top = subprocess.run(["git", "rev-parse", "--show-toplevel"], cwd=ROOT, capture_output=True, text=True)
    if top.returncode or Path(top.stdout.strip()).resolve() != ROOT.resolve():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listing.split("\0") if name]
    return [file for file in files if file.is_file()]


def text_lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []


def names_a_machine(line: str) -> bool:
    return MACHINE_PATH.search(line) is not None


def names_a_registry(line: str) -> bool:
    return any(host in line for host in REGISTRY_HOSTS)


def test_no_file_names_a_path_of_a_machine():
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in project_files()
        for number, line in enumerate(text_lines(file), start=1)
        if names_a_machine(line)
    ]
    assert not found, "\n".join(found)


def test_only_the_lock_names_a_registry():
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in project_files()
        if file.relative_to(ROOT).as_posix() not in MAY_NAME_REGISTRIES
        for number, line in enumerate(text_lines(file), start=1)
        if names_a_registry(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", ["home", "root", "Users", "tmp"])
def test_paths_of_machines_are_recognised(folder):
    assert names_a_machine(f"data = '/{folder}/someone'")
    assert not names_a_machine(f"see the page example.org/{folder}/someone")


# --- the package's code --------------------------------------------------------------------------------


def modules() -> list[Path]:
    found = sorted(PACKAGE.rglob("*.py"))
    assert found, f"no module below {PACKAGE}"
    return found


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def imported_names(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all imports and of all attribute look-ups."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def private_jax_names(source: str) -> list[str]:
    names = imported_names(ast.parse(source))
    return sorted({name for name in names if re.match(r"(jax|jaxlib)\.[\w.]+$", name) and is_private(name)})


def test_no_module_uses_private_jax():
    found = {str(module.relative_to(ROOT)): private_jax_names(module.read_text()) for module in modules()}
    assert not {name: uses for name, uses in found.items() if uses}


@pytest.mark.parametrize(
    "source",
    [
        "import jax._src.core",
        "from jax._src import core",
        "from jax import _src",
        "def f():\n    from jax.interpreters._x import y",
        "import jax\nx = jax._src.core",
    ],
)
def test_private_jax_is_recognised(source):
    assert private_jax_names(source)


@pytest.mark.parametrize("source", ["import jax\njax.__version__", "from jax import numpy", "from ._tree import x"])
def test_public_jax_is_allowed(source):
    assert not private_jax_names(source)


TURNED_INTO_SENTENCES = {"formats/json_files.py", "formats/numpy_files.py", "cost/config.py"}
"""Here what a reader finds wrong within a file is raised to a function above, which says it of the whole file."""


def test_what_is_refused_is_a_mistake_and_no_plain_value_error():
    found = {
        module.relative_to(PACKAGE).as_posix()
        for module in modules()
        if re.search(r"raise ValueError\b", module.read_text())
    }
    assert found == TURNED_INTO_SENTENCES


def class_names(sources: dict[str, str]) -> dict[str, list[str]]:
    """Where classes of one name stand, if that is more than one place; a private one goes without its underscore."""
    found: dict[str, list[str]] = {}
    for module, source in sources.items():
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name.lstrip("_"), []).append(module)
    return {name: places for name, places in found.items() if len(places) > 1}


def test_no_two_classes_have_one_name():
    """A definition that is stored names its classes without their places, and a reader knows a word by one meaning."""
    assert class_names({str(one.relative_to(PACKAGE)): one.read_text() for one in modules()}) == {}


def test_two_classes_of_one_name_are_found():
    sources = {"a.py": "class Row: ...\nclass Column: ...", "b.py": "class _Row: ..."}
    assert class_names(sources) == {"Row": ["a.py", "b.py"]}


Function = ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(source: str) -> set[int]:
    """Numbers of the lines that hold code: neither blank, nor comment, nor docstring."""
    layout = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in layout:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return lines


def parameters(function: Function, parent: ast.AST) -> int:
    """How many parameters a caller sees."""
    arguments = function.args
    named = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
    gathered = (arguments.vararg is not None) + (arguments.kwarg is not None)
    static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in function.decorator_list)
    return named + gathered - (isinstance(parent, ast.ClassDef) and not static)


def functions(node: ast.AST, depth: int = 0) -> Iterator[tuple[Function, ast.AST, int]]:
    """Each function with its parent and the number of functions around it."""
    for child in ast.iter_child_nodes(node):
        inside = isinstance(child, Function)
        if inside:
            yield child, node, depth
        yield from functions(child, depth + inside)


def size_complaints(name: str, source: str) -> list[str]:
    lines = code_lines(source)
    most = MAX_STUDY_FILE_LINES if name.startswith("studies/") else MAX_FILE_LINES
    found = []
    if len(lines) > most:
        found.append(f"{name}: {len(lines)} code lines, at most {most}")
    for function, parent, depth in functions(ast.parse(source)):
        length = len(lines & set(range(function.lineno, function.end_lineno + 1)))
        count = parameters(function, parent)
        if length > MAX_FUNCTION_LINES:
            found.append(f"{name}: {function.name} has {length} code lines, at most {MAX_FUNCTION_LINES}")
        if count > MAX_PARAMETERS:
            found.append(f"{name}: {function.name} has {count} parameters, at most {MAX_PARAMETERS}")
        if depth > MAX_NESTING:
            found.append(f"{name}: {function.name} is nested {depth} deep, at most {MAX_NESTING}")
    return found


def test_the_package_keeps_its_size_rules():
    found = [
        complaint
        for module in modules()
        for complaint in size_complaints(module.relative_to(PACKAGE).as_posix(), module.read_text())
    ]
    left = [complaint for complaint in found if complaint not in EXCEPTIONS]
    assert not left, "\n".join(left)
    assert set(EXCEPTIONS) <= set(found), "an exception is no longer needed"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = 1\n" * 301, "301 code lines"),
        ("def f():\n" + "    x = 1\n" * 60, "f has 61 code lines"),
        ("def f(a, b, c, /, d, *, e, f, g): ...", "f has 7 parameters"),
        ("class A:\n    def f(self, a, b, c, d, *e, f, **g): ...", "f has 7 parameters"),
        ("def f():\n    def g():\n        def h(): ...", "h is nested 2 deep"),
    ],
)
def test_code_beyond_a_size_rule_is_found(source, complaint):
    (found,) = size_complaints("module.py", source)
    assert complaint in found


def test_a_file_of_a_study_is_half_as_long():
    assert not size_complaints("studies/one/section.py", "x = 1\n" * 150)
    assert "151 code lines, at most 150" in size_complaints("studies/one/section.py", "x = 1\n" * 151)[0]


@pytest.mark.parametrize(
    "source",
    [
        "x = 1\n" * 300 + "# why\n\n" * 50,
        '"""' + "words\n" * 400 + '"""\n',
        "def f():\n" + '    """' + "words\n" * 80 + '    """\n' + "    x = 1\n" * 59,
        "class A:\n    def f(self, a, b, c, d, *, e, f): ...",
        "def f():\n    def g(): ...",
    ],
)
def test_code_within_the_size_rules_passes(source):
    assert not size_complaints("module.py", source)

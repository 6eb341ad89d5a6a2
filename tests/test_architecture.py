"""What the pages for those who carry the project on say of it is so."""

import importlib.util
import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

import descentlab

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "descentlab"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def drawing():
    place = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "images" / "architecture.py")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


def test_the_picture_is_that_of_the_contract(drawing):
    svg = (ROOT / "docs" / "images" / "architecture.svg").read_text()
    assert svg == drawing.picture(), "python docs/images/architecture.py docs/images/architecture.svg"


def test_the_picture_shows_every_module_once(drawing):
    there = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    space = "{http://www.w3.org/2000/svg}"
    texts = ElementTree.fromstring(drawing.picture()).iter(f"{space}text")
    shown = [one.text for one in texts if one.get("class") == "name"]
    assert sorted(shown) == sorted(there - {"__init__"})


def test_the_picture_turns_with_the_contract(drawing, monkeypatch):
    one = drawing.picture()
    above, *rest = drawing.layers()
    monkeypatch.setattr(drawing, "layers", lambda: [*rest, above])
    assert drawing.picture() != one


def journeys(page):
    """The files of each numbered list, by its heading."""
    found = {}
    for heading, text in re.findall(r"^## (From .+)\n((?:(?!^## ).*\n?)*)", page, re.MULTILINE):
        found[heading] = re.findall(r"`([\w/]+\.py)`", "\n".join(re.findall(r"^\d+\. .+$", text, re.MULTILINE)))
    return found


def test_the_journeys_enter_files_that_exist_and_none_twice():
    found = journeys(PAGE)
    assert len(found) == 3
    assert {heading: [file for file in files if not (PACKAGE / file).exists()] for heading, files in found.items()} == (
        dict.fromkeys(found, [])
    )
    assert {heading: len(files) - len(set(files)) for heading, files in found.items()} == dict.fromkeys(found, 0)
    assert min(map(len, found.values())) > 10


def test_journeys_are_read_from_a_page():
    page = "## Other\n1. `a.py`\n## From one\n1. `b.py` and `c/d.py`\n2. `b.py`\n\n`e.py`\n## From two\n1. `f.py`\n"
    assert journeys(page) == {"From one": ["b.py", "c/d.py", "b.py"], "From two": ["f.py"]}


def test_hooks_run_the_commands_of_make_check():
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    wanted = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"entry: ([^,]+),", hooks) == wanted
    assert re.findall(r"repo: (\S+)", hooks) == ["local"]


def test_the_guide_names_files_that_exist():
    named = re.findall(r"`((?:src|tests|docs|theory|models)/[\w./]*)`", GUIDE)
    assert len(named) > 15
    assert [name for name in named if not ((ROOT / name).exists() or (PACKAGE / name).exists())] == []


def test_the_version_stands_in_one_place():
    assert "version" not in PROJECT["project"]
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert ROOT / PROJECT["tool"]["hatch"]["version"]["path"] == PACKAGE / "__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", descentlab.__version__)
    assert re.search(r'^name = "descentlab"\n(?!version)', (ROOT / "uv.lock").read_text(), re.MULTILINE)


def test_a_source_distribution_holds_what_make_needs():
    included = {name.strip("/") for name in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]}
    for name in included:
        assert (ROOT / name).exists(), name
    assert {"src", "tests", "docs", "Makefile", "CONTRIBUTING.md", ".pre-commit-config.yaml"} <= included

"""What the pages say: tutorials run, links lead somewhere, flags exist, examples give what they show."""

import dataclasses
import doctest
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import descentlab
from descentlab._describe import paths
from descentlab.cli import certify, commands, cost, curvature, landscape, main
from descentlab.cost.accelerator import Accelerator
from descentlab.cost.setting import Setting
from descentlab.experiment import Experiment
from support import members

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGE = Path(descentlab.__file__).parent
PAGES = [path for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))] if path.exists()]
SCRIPTS = sorted((DOCS / "tutorials").glob("*.py"))

CODE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def named(path):
    return path.relative_to(ROOT).as_posix()


def python(folder, *arguments):
    """A Python of its own, in a folder; what it prints."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- what runs -----------------------------------------------------------------------------------------


def imported(text):
    """Modules and names of the package that a script or an example imports."""
    lines = re.findall(r"^ *from (descentlab[\w.]*) import \(?([^()\n]+|[^()]+\))", text, re.MULTILINE)
    names = [f"{module}.{name.strip()}" for module, listed in lines for name in listed.rstrip(")").split(",")]
    return names + re.findall(r"^ *import (descentlab[\w.]*)", text, re.MULTILINE)


@pytest.mark.parametrize("page", [*SCRIPTS, *PAGES], ids=named)
def test_a_reader_imports_public_names_only(page):
    """The command line is called, and nothing else of it is used."""
    names = imported(page.read_text())
    assert names or page.suffix == ".md"
    assert [name for name in names if "._" in name] == []
    assert {name for name in names if name.startswith("descentlab.cli")} <= {"descentlab.cli.main"}


def test_imports_are_found():
    text = "from descentlab._check import real\nfrom descentlab.cli import (\n    main,\n    flags)\n"
    assert imported(text) == ["descentlab._check.real", "descentlab.cli.main", "descentlab.cli.flags"]
    assert imported("import descentlab.sweep\n") == ["descentlab.sweep"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_tutorial_runs_and_is_shown_on_its_page(script, tmp_path):
    assert len(script.read_text().splitlines()) < 80
    assert f'"tutorials/{script.name}"' in script.with_suffix(".md").read_text()
    python(tmp_path, str(script))


EXTENSIONS = """
import sys, re
import equinox as eqx, jax, jax.numpy as jnp, numpy as np
from descentlab import Experiment, FullBatch, train
from descentlab._check import real
from descentlab._types import Array
from descentlab.attention import AbstractAttention, KernelFacts
from descentlab.claims import Verdict, claim
from descentlab import use_compilation_cache
from descentlab.data import AbstractData
from descentlab.datasets import AbstractDataset
from descentlab.models import AbstractArchitecture, AbstractInit, AttentionLayer
from descentlab.objective import Examples, Splits
from descentlab.optim import AbstractOptimizer, Update
from descentlab.probes import AbstractProbe, Axis, Loss
from descentlab.schedule import AbstractSchedule, AtEnd, Every, LogSpaced
from descentlab.stopping import AbstractStop
from descentlab.tasks import AbstractTask

use_compilation_cache()
for code in re.findall(r"^```python\\n(.*?)^```", open(sys.argv[1]).read(), re.MULTILINE | re.DOTALL):
    exec(code)

parity = Parity().load()
assert all(part.inputs.shape == (32, 8) and set(part.targets) == {0, 1} for part in parity)
layer = AttentionLayer(Uniform(), value=Ones())
probes = {"loss": Loss(), "entry": LargestEntry(), "late": Loss(Halfway()), "end": Loss(AtEnd())}
probes["range"] = ResidualRange()
for model, trained in ((layer, ("query", "value")), (OneMatrix(), ("weight",))):
    run = train(Experiment(Copy(), FullBatch(2), model, Sign(), trained, probes, steps=20))
    loss = run["loss"].values[0]
    assert loss[-1] < loss[0] and run["end"].values[0] == loss[-1], loss
    assert run["late"].values[0] == run["loss"].at(10)[0]
    assert run["entry"].values.shape == loss[None].shape
    ends = [run["range"].sel(example=1, quantity=one).values for one in ("smallest", "largest")]
    assert np.all(ends[0] <= ends[1]) and np.all(np.abs(ends) <= run["entry"].values + 1e-12)
turns = train(Experiment(Copy(), OneByOne(2), OneMatrix(), Sign(), probes={"loss": Loss(Every())}, steps=21))
turns = turns["loss"].values[0]
assert turns[0] != turns[1] and turns[-4:].sum() < turns[:4].sum(), turns
stopped = train(Experiment(Copy(), FullBatch(2), OneMatrix(), Sign(), ("weight",), probes, steps=20, until=Within(1e9)))
assert stopped.ended == (0,) and stopped.reached.all()
assert [one.id for one in rate_bound.claims({}, ["softmax"], {}.get)] == ["rate-bound-softmax"]
"""


def test_the_smallest_members_train(tmp_path):
    python(tmp_path, "-c", EXTENSIONS, str(DOCS / "extending.md"))


def test_data_of_a_users_own_is_read_as_its_page_shows(tmp_path):
    page = (DOCS / "howto" / "data.md").read_text()
    code = next(code for language, code in CODE.findall(page) if "own_text(" in code)
    assert python(tmp_path, "-c", code).strip() == re.search(r"  # (\(.*)$", code, re.MULTILINE)[1]


def test_the_sheet_of_images_is_what_its_command_draws(tmp_path):
    python(tmp_path, str(DOCS / "images" / "pathfinder.py"), "sheet.png")
    size = np.frombuffer((tmp_path / "sheet.png").read_bytes()[16:24], dtype=">u4").tolist()
    assert size == np.frombuffer((DOCS / "images" / "pathfinder.png").read_bytes()[16:24], dtype=">u4").tolist()


def test_certify_answers_as_its_page_shows(tmp_path, monkeypatch, capsys):
    page = (DOCS / "howto" / "certify.md").read_text()
    monkeypatch.chdir(tmp_path)
    make = next(code for language, code in CODE.findall(page) if language == "python")
    python(tmp_path, "-c", make)
    command, shown = next(code for language, code in CODE.findall(page) if language == "console").split("\n", 1)
    assert main(command.split()[2:]) == 0
    printed = capsys.readouterr().out.split()
    assert " ".join(printed).startswith(" ".join(shown.split()[:15]))


# --- what is shown in docstrings -----------------------------------------------------------------------


WITH_EXAMPLES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>>" in path.read_text()]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_examples_in_docstrings_give_what_they_show(path):
    module = importlib.import_module(".".join(["descentlab", *path.relative_to(PACKAGE).with_suffix("").parts]))
    examples = [one for one in doctest.DocTestFinder().find(module) if one.examples]
    assert examples, "no example was found in a module that has one"
    said = []
    for one in examples:
        assert doctest.DocTestRunner().run(one, out=said.append).failed == 0, "".join(said)


# --- what pages refer to -------------------------------------------------------------------------------


def headings(page):
    """The anchors of a page."""
    text = CODE.sub("", page.read_text())
    found = re.findall(r"^#{1,6} +(.+?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in found}


def broken_links(page):
    text = re.sub(r"`[^`\n]*`", "", CODE.sub("", page.read_text()))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        place, _, anchor = target.partition("#")
        goal = page.parent / place if place else page
        if not goal.exists() or (anchor and anchor not in headings(goal)):
            yield f"{named(page)}: {target}"


def test_links_between_pages_lead_somewhere():
    assert [broken for page in PAGES for broken in broken_links(page)] == []


def test_a_broken_link_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# One title\n[good](#one-title) [bad](#other) [gone](gone.md) [out](https://example.org)\n")
    assert list(broken_links(page)) == ["page.md: #other", "page.md: gone.md"]


def test_the_navigation_names_pages_that_exist():
    entries = re.findall(r"^ +- .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert len(entries) > 20
    assert [entry for entry in entries if not (DOCS / entry).exists()] == []


def test_modules_of_the_reference_exist():
    for page in (DOCS / "reference").glob("*.md"):
        for name in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE):
            importlib.import_module(name)


def test_files_and_names_that_docstrings_refer_to_exist():
    text = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    pages = set(re.findall(r"docs/[\w/]+\.md", text))
    assert pages
    assert [page for page in pages if not (ROOT / page).exists()] == []


def known_flags():
    """Every flag of a study and of other commands: options, paths of an experiment, and fields of classes to choose."""
    places = set(paths(Experiment())) | {f"accelerator.{f.name}" for f in dataclasses.fields(Accelerator)}
    options = [
        field.name
        for kind in (
            commands.StudyOptions,
            certify.CertifyOptions,
            cost.CostOptions,
            Setting,
            curvature.CurvatureOptions,
            landscape.LandscapeOptions,
        )
        for field in dataclasses.fields(kind)
    ]
    classes = [kind for kind in members._classes() if not inspect.isabstract(kind)]
    fields = {field.name for kind in classes for field in dataclasses.fields(kind)}
    return {*places, *options, "help", "version"}, fields


def unknown_flags(text):
    """Flags of the command line in code of a page that are none."""
    whole, fields = known_flags()
    spans = re.findall(r"`([^`\n]+)`", CODE.sub("", text))
    lines = [line for _, code in CODE.findall(text) for line in code.splitlines()]
    for code in [*spans, *lines]:
        if not re.match(r"(\$ )?(descentlab |--\w)", code.strip()):
            continue
        for flag in re.findall(r"(?<![\w-])--([a-z][\w.-]*)", code.partition("#")[0]):
            path = flag.rstrip(".").replace("-", "_")
            outer, _, last = path.rpartition(".")
            if path not in whole and not (outer in whole and last in fields):
                yield f"--{flag}"


def test_pages_mention_flags_that_exist():
    assert {named(page): found for page in PAGES if (found := list(unknown_flags(page.read_text())))} == {}


def test_an_unknown_flag_is_found():
    text = "`--size` and `--sise`, `descentlab run x --model.heads 2 --model.hats 3 --model.attention.c 1`"
    assert list(unknown_flags(text)) == ["--sise", "--model.hats"]

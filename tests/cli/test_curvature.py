"""`descentlab curvature`: its numbers against a dense Hessian, what it writes and what it refuses."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from descentlab import cli
from descentlab._tree import with_named
from descentlab.measures.curvature import CurvaturePlan, curvature_of
from descentlab.optim import GD
from descentlab.pages.curvature import curvature_page
from descentlab.probes import Loss, Parameters, Sharpness
from descentlab.runs import find
from descentlab.schedule import Every
from descentlab.store import Store
from descentlab.sweep import Request, run
from support.problems import SMALL, started

SHARP = dataclasses.replace(SMALL, probes={"loss": Loss(), "sharp": Sharpness(Every(6))}, optimizer=GD(0.05))
PATH = dataclasses.replace(SMALL, probes={"loss": Loss(), "path": Parameters(Every(6))}, optimizer=GD(0.05))
LOST = dataclasses.replace(SMALL, optimizer=GD(1e200))
FEW = ("--store", "kept", "--probes", "30", "--steps", "20", "--top", "2")


@pytest.fixture(autouse=True, scope="module")
def kept(tmp_path_factory):
    """A store with a run that recorded its sharpness, one that recorded its path, and one that diverged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("curvature"))
        store = Store("kept")
        run([Request(SHARP, (0, 1)), Request(PATH, (0,)), Request(LOST, (0,))], store=store)
        yield store


def call(*arguments):
    try:
        return cli.main(["curvature", *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


def said(capsys):
    found = capsys.readouterr()
    return " ".join((found.out + found.err).split())


def test_numbers_are_those_of_the_dense_hessian_at_the_end(kept, capsys):
    assert call(SHARP.digest, *FEW, "--seed", "1", "--json", "out/numbers.json") == 0
    assert "those of the whole matrix, exact to rounding" in said(capsys)
    data = json.loads(Path("out/numbers.json").read_text())
    with jax.enable_x64(True):
        objective, params = started(SHARP, seed=1)
        flat, unravel = ravel_pytree(with_named(params, kept.get(SHARP, (1,)).ends()[0]))
        dense = np.asarray(jax.jit(jax.hessian(lambda vector: objective.loss(unravel(vector))))(flat))
    spectrum = np.linalg.eigvalsh(dense)
    whole = data["eigenvalues"]["all"]
    np.testing.assert_allclose(whole["value"], [spectrum[-1], spectrum[-2], spectrum[0]], rtol=1e-6)
    assert whole["verified"]
    assert all(whole["converged"])
    assert whole["risk"] == 0
    assert max(whole["resolution"]) <= len(dense) * np.finfo(np.float64).eps * np.abs(spectrum).max() * 1.01
    names, sizes = list(data["blocks"]), list(data["blocks"].values())
    edges = dict(zip(names, np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1]), strict=True))
    norms = data["norms_squared"]["hessian"]
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            block = dense[np.ix_(edges[one], edges[other])]
            assert abs(norms["value"][i][j] - np.sum(block**2)) <= 5 * norms["error"][i][j] + 1e-9
        inside = np.linalg.eigvalsh(dense[np.ix_(edges[one], edges[one])])
        found = data["eigenvalues"][one]["value"]
        np.testing.assert_allclose([found[0], found[-1]], [inside[-1], inside[0]], rtol=1e-5, atol=1e-9)
        trace = data["traces"]["hessian"]
        assert abs(trace["value"][i] - inside.sum()) <= 5 * trace["error"][i] + 1e-9
    assert data["sharpness"]["step"] == [0, 6, 12]
    page = Path(f"kept/reports/curvature-{SHARP.digest[:12]}.html").read_text()
    assert "Spectra by block" in page
    assert "threshold of GD" in page


def test_sharpness_is_computed_at_recorded_parameters(kept):
    assert call(PATH.digest, *FEW, "--blocks", "query", "--json", "numbers.json") == 0
    data = json.loads(Path("numbers.json").read_text())
    assert set(data["eigenvalues"]) == {"all", "query"}
    recorded = kept.get(SHARP, (0,))["sharp"].sel(eigenvalue="top.0", quantity="value").values[0]  # the same run
    np.testing.assert_allclose(data["sharpness"]["value"], recorded, rtol=1e-5)


def test_without_a_run_the_store_is_listed(capsys):
    assert call("--store", "kept") == 0
    assert PATH.digest[:12] in said(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((PATH.digest, "--blocks", "querry"), "there is no parameter 'querry' here; did you mean query?"),
        ((PATH.digest, "--top", "200"), "there are 52 parameters, got top=200 and bottom=1; ask for fewer"),
        ((PATH.digest, "--top", "0"), "top must be a finite number above 0, got 0"),
        ((PATH.digest, "--bottom", "-1"), "wanted --bottom 0 or more and --probes 2 or more, got -1 and 20"),
        ((PATH.digest, "--seed", "5"), "this run has the seeds 0, got seed 5"),
        (("0000",), "there is no run '0000' in"),
        ((LOST.digest,), "wanted the end of a run, but seed 0 stopped early"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_written(arguments, message, capsys):
    before = sorted(Path("kept").rglob("*"))
    assert call(*arguments, "--store", "kept", "--json", "never.json") == 2
    assert message in said(capsys)
    assert sorted(Path("kept").rglob("*")) == before
    assert not Path("never.json").exists()


def test_five_lines_of_python_give_the_numbers_and_the_page_of_the_command(kept):
    assert call(PATH.digest, *FEW, "--json", "out/same.json") == 0
    stored = find(Store("kept"), PATH.digest[:8])
    found = curvature_of(stored, plan=CurvaturePlan(top=2, probes=30, steps=20))
    page = curvature_page(found, stored.experiment).write("out/curvature.html")

    said = json.loads(Path("out/same.json").read_text())
    assert {name: said[name] for name in found.as_data()} == found.as_data()
    pages = [one.read_text() for one in (page, Path(f"kept/reports/curvature-{PATH.digest[:12]}.html"))]
    mine, theirs = (text.partition('<section id="provenance"')[0] for text in pages)
    assert mine == theirs
    assert "Sharpness along training" in mine

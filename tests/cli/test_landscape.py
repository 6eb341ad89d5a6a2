"""`descentlab landscape`: what it prints, writes and refuses."""

import dataclasses
import json
from pathlib import Path

import pytest

from descentlab import cli
from descentlab._describe import replace_at
from descentlab.attention import Softmax
from descentlab.measures.landscape import landscapes
from descentlab.optim import GD
from descentlab.pages.landscape import landscape_page
from descentlab.probes import Loss, Parameters
from descentlab.runs import find
from descentlab.schedule import Every
from descentlab.store import Store
from descentlab.sweep import Request, run
from support.problems import SMALL

RECORDED = dataclasses.replace(SMALL, probes={"loss": Loss(), "path": Parameters(Every(3))}, optimizer=GD(0.05))
PLAIN = dataclasses.replace(SMALL, optimizer=GD(0.05))
OTHER = replace_at(RECORDED, "model.attention", Softmax())
FEW = ("--points", "7", "--store", "kept")


@pytest.fixture(autouse=True, scope="module")
def kept(tmp_path_factory):
    """A store with three runs, of which one has no recorded path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("landscape"))
        store = Store("kept")
        run([Request(RECORDED, (0, 1)), Request(OTHER, (0, 1)), Request(PLAIN, (0,))], store=store)
        yield store


def call(*arguments):
    try:
        return cli.main(["landscape", *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


def said(capsys):
    found = capsys.readouterr()
    return " ".join((found.out + found.err).split())


def test_without_a_run_the_store_is_listed(capsys):
    assert call("--store", "kept") == 0
    text = said(capsys)
    assert text.count("recorded") == 2
    assert PLAIN.digest[:12] in text


def test_a_run_with_a_path_gets_its_planes_numbers_and_page(capsys):
    assert call(RECORDED.digest, *FEW, "--json", "out/numbers.json", "--seeds", "2") == 0
    assert "negative share" in said(capsys)
    page = Path(f"kept/reports/landscape-{RECORDED.digest[:12]}.html").read_text()
    assert "Plane of the path" in page
    data = json.loads(Path("out/numbers.json").read_text())
    rows = {(row["plane"], row["number"], row["seed"]) for row in data["numbers"]}
    assert ("trajectory", "minima", 1) in rows
    assert ("end", "sharpness", 0) in rows
    assert data["left_out"] == []

    lanes = [lane.sampled() for lane in find(Store("kept"), RECORDED.digest).lanes()]
    found = landscapes({"gaussian": lanes}, points=7, draws=1)
    assert {name: data[name] for name in found.as_data()} == found.as_data()
    mine = landscape_page(found, {"gaussian": RECORDED}).html()
    assert mine.partition('<section id="provenance"')[0] == page.partition('<section id="provenance"')[0]


def test_a_run_without_a_path_is_drawn_without_and_says_so(capsys):
    assert call(PLAIN.digest[:10], *FEW) == 0
    assert "left out: gaussian: the plane of a path needs recorded parameters, but this run has none" in said(capsys)
    assert "Plane of the path" not in Path(f"kept/reports/landscape-{PLAIN.digest[:12]}.html").read_text()


def test_two_runs_with_one_start_get_their_common_plane(capsys):
    assert call(RECORDED.digest, OTHER.digest, *FEW) == 0
    assert "common" in said(capsys)
    name = f"landscape-{RECORDED.digest[:12]}-{OTHER.digest[:12]}.html"
    page = Path("kept/reports", name).read_text()
    assert "Common plane of both runs" in page
    assert "one plot" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("zzzz", *FEW), "there is no run 'zzzz' in kept; known are:"),
        ((RECORDED.digest[:7] + "zz", *FEW), f"did you mean {RECORDED.digest[:9]}"),
        (("", *FEW), "is the beginning of 3 runs"),
        (("abc", "--store", "empty"), "there is no store at empty; train something first"),
        ((RECORDED.digest, "--points", "4", "--store", "kept"), "--points must be at least 5"),
        ((RECORDED.digest, "--planes", "0", "--store", "kept"), "planes must be a finite number above 0"),
        (("a", "b", "c", "--store", "kept"), "wanted one run or two, got 3"),
    ],
)
def test_what_cannot_be_is_refused(capsys, arguments, message):
    assert call(*arguments) == 2
    assert message in said(capsys)

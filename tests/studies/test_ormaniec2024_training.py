"""Curvature along training: the section's smoke size, and verdicts that turn when a number does."""

import dataclasses

import numpy as np
import plotly.graph_objects as go
import pytest

from descentlab.store import Store
from descentlab.studies.ormaniec2024_hessian import study
from descentlab.studies.ormaniec2024_hessian.training import section
from descentlab.study import Size, requests, run_study
from descentlab.trajectory import Trajectory
from support.tampering import chain, each, edit, times

KERNELS = ("softmax", "gaussian")
EDGE = 4.0
"""2 / step size of GD."""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    own = dataclasses.replace(study, sections=(section,))
    return run_study(own, Size.SMOKE, requests(own, Size.SMOKE), Store(tmp_path_factory.mktemp("training")))


def test_every_claim_says_something_and_has_a_verdict(outcome):
    claims = {"alike-gd", "indefinite-gd", "trained-gd", "edge", "edge-along", "directional"}
    assert {claim.id for claim in outcome.claims} == {f"{one}-{kernel}" for one in claims for kernel in KERNELS}
    for claim in outcome.claims:
        assert claim.text
        assert claim.source
        assert claim.checked
        assert claim.detail


def test_training_trains(outcome):
    assert {claim.verdict for claim in outcome.claims if claim.id.startswith("trained")} == {"holds"}


def test_figures_have_traces_and_captions(outcome):
    for figure in section.figures:
        title, caption = (figure.__doc__ or "").split("\n", 1)
        assert title.strip()
        assert caption.strip()
        drawn = figure(outcome.runs["training"])
        assert isinstance(drawn, go.Figure)
        assert drawn.data


def towards(last, first=None):
    """Numbers on a line from the first to the last of every seed, seeds a thousandth apart."""

    def change(values, run):
        start = values[:, :1] if first is None else first
        along = np.linspace(0, 1, values.shape[1])
        return (start + (last - start) * along) * (1 + 0.001 * np.arange(values.shape[0])[:, None])

    return change


def ratio(last, first):
    """The value block's norm over the query block's, from one number to another."""

    def change(values, run):
        query = run.trajectory["growth"].sel(part="hessian", array="layers.0.query").values
        return query * towards(last, first)(values[..., 0], run)[..., None]

    return edit("growth", change, part="hessian", array="layers.0.value")


LARGEST, SMALLEST = ({"eigenvalue": one, "quantity": "value"} for one in ("top.0", "bottom.0"))

SOUND = chain(
    edit("loss", towards(0.5, 2.3)),
    edit("sharpness", towards(EDGE, EDGE), **LARGEST),
    edit("sharpness", towards(-0.1, -2.0), **SMALLEST),
    edit("sharpness", lambda values, run: 0 * values, eigenvalue="top.0", quantity="error"),
    edit("critical", towards(EDGE, EDGE), quantity="sharpness"),
    edit("critical", lambda values, run: 0 * values, quantity="error"),
    ratio(2.0, 100.0),
)
"""What the claims say."""

FAULTS = {
    "trained-gd": edit("loss", towards(2.4, 2.3)),
    "indefinite-gd": times("sharpness", -1.0, **SMALLEST),
    "alike-gd": ratio(0.001, 2.0),
    "edge": edit("sharpness", towards(1.3 * EDGE, EDGE), **LARGEST),
    "edge-along": times("critical", 0.85, quantity="sharpness"),
    "directional": times("critical", 1.2, quantity="sharpness"),
}
"""By claim, what it would not survive."""


def verdicts(runs) -> dict:
    return {claim.id: claim.verdict for claim in section.judged(runs, KERNELS, study.axis[0])}


def test_all_holds_of_runs_that_follow_what_is_claimed(outcome):
    assert set(verdicts(SOUND(outcome.runs["training"])).values()) == {"holds"}


@pytest.mark.parametrize("claim", FAULTS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_verdict_turns_when_its_number_does(outcome, claim, kernel):
    runs = chain(SOUND, FAULTS[claim])(outcome.runs["training"])
    assert verdicts(runs)[f"{claim}-{kernel}"] == "fails"


def first_seed(run):
    whole = run.trajectory
    series = {name: dataclasses.replace(one, values=one.values[:1]) for name, one in whole.series.items()}
    return dataclasses.replace(run, trajectory=Trajectory(whole.seeds[:1], series, {}, whole.status[:1], (-1,)))


def test_one_seed_decides_no_trend(outcome):
    found = verdicts(each(first_seed)(SOUND(outcome.runs["training"])))
    trends = {claim: verdict for claim, verdict in found.items() if claim.startswith(("alike", "indefinite"))}
    assert set(trends.values()) == {"undecided"}
    others = {verdict for claim, verdict in found.items() if claim.startswith(("trained", "edge", "directional"))}
    assert others == {"undecided"}


@pytest.mark.parametrize(
    ("claim", "level"),
    [
        ("trained-gd", edit("loss", lambda values, run: 0 * values + 2.3)),
        (
            "indefinite-gd",
            edit("sharpness", lambda values, run: 0 * values - EDGE / 2, **SMALLEST),
        ),
        ("alike-gd", ratio(2.0, 2.0)),
    ],
)
def test_what_stays_as_it_was_neither_falls_nor_rises(outcome, claim, level):
    still = edit("sharpness", lambda values, run: 0 * values + EDGE, **LARGEST)
    found = verdicts(chain(SOUND, still, level)(outcome.runs["training"]))
    assert {found[f"{claim}-{kernel}"] for kernel in KERNELS} <= {"fails", "undecided"}

"""The landscape study in its smoke size, and verdicts that turn when a number does."""

import dataclasses
import os

import numpy as np
import plotly.graph_objects as go
import pytest

from descentlab.datasets import DataError, IMDb
from descentlab.estimate import Estimate
from descentlab.landscape import Surface
from descentlab.measures.landscape import PROTOCOLS, Landscapes, View
from descentlab.runs import Runs
from descentlab.store import Store
from descentlab.studies.song2024_landscape import study
from descentlab.studies.song2024_landscape.sections import TEXTS, Found, claims, compared
from descentlab.study import Size, requests, run_study

SEEDS = range(4)
AT_ENDS = ("sharpness", "barrier")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    store = Store((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "landscape")
    return run_study(study, Size.SMOKE, requests(study, Size.SMOKE), store)


def test_the_smoke_size_makes_every_claim_of_both_its_tasks(outcome):
    ids = [claim.id for claim in outcome.claims]
    assert len(set(ids)) == len(ids) == 2 * len(TEXTS)
    for task in ("layer", "pathfinder"):
        for number in TEXTS:
            assert f"{task}-query-{number.replace('_', '-')}" in ids
    for claim in outcome.claims:
        assert claim.checked == (1 if claim.id.endswith(AT_ENDS) else 3)
        assert claim.detail
        assert np.isfinite(claim.measured)


def test_figures_are_drawn_where_there_is_something_to_draw(outcome):
    drawn = {section.name: 0 for section in study.sections}
    for section in study.sections:
        for figure in section.figures:
            title, caption = (figure.__doc__ or "").split("\n", 1)
            assert section.name in title
            assert caption.strip()
            chart = figure(outcome.runs[section.name])
            assert isinstance(chart, go.Figure)
            drawn[section.name] += bool(chart.data)
    assert drawn == {"layer": 4, "layer, Gaussian first": 0, "text": 0, "pathfinder": 4}


def made_up(softmax=1.0, gaussian=1.0, seeds=SEEDS, error=0.0):
    """Landscapes whose numbers are what is given, slightly different from seed to seed."""
    names = [number for number in TEXTS if number not in AT_ENDS]
    views, ends = {"softmax": [], "gaussian": []}, {"softmax": {}, "gaussian": {}}
    flat = Surface(np.zeros(2), np.zeros(2), np.zeros((2, 2)))
    nowhere = (np.zeros((0, 2)), np.zeros(0))
    for kernel, value in (("softmax", softmax), ("gaussian", gaussian)):
        for seed in seeds:
            number = Estimate(value * (1 + 0.01 * seed * (kernel == "softmax")), error)
            ends[kernel][seed] = dict.fromkeys(AT_ENDS, number)
            views[kernel] += [
                View(seed, protocol, draw, flat, nowhere, dict.fromkeys(names, number), nowhere[0])
                for protocol in PROTOCOLS
                for draw in range(2)
            ]
    return Landscapes(views, ends)


def with_numbers(seen, change):
    """The landscapes with the numbers of every plane and end changed by a function of numbers, run and protocol."""
    views = {
        name: [dataclasses.replace(view, numbers=change(view.numbers, name, view.protocol)) for view in some]
        for name, some in seen.views.items()
    }
    ends = {
        name: {seed: change(numbers, name, None) for seed, numbers in some.items()} for name, some in seen.ends.items()
    }
    return dataclasses.replace(seen, views=views, ends=ends)


def verdicts(seen):
    return {str(claim.verdict) for claim in claims("layer", Found({"all": seen}))}


def test_verdicts_follow_the_numbers():
    assert verdicts(made_up(softmax=2.0, gaussian=1.0)) == {"holds"}
    assert verdicts(made_up(softmax=1.0, gaussian=2.0)) == {"fails"}
    assert verdicts(made_up(softmax=1.0, gaussian=1.015)) == {"undecided"}


@pytest.mark.parametrize("number", TEXTS)
def test_each_claim_fails_when_its_own_number_is_wrong(number):
    seen = made_up(softmax=2.0, gaussian=1.0)

    def wrong(numbers, name, protocol):
        return {**numbers, number: Estimate(4.0, 0.0)} if number in numbers and name == "gaussian" else numbers

    found = claims("layer", Found({"all": with_numbers(seen, wrong)}))
    failed = [claim.id for claim in found if claim.verdict == "fails"]
    assert failed == [f"layer-all-{number.replace('_', '-')}"]


def test_one_kind_of_plane_is_enough_to_fail():
    seen = made_up(softmax=2.0, gaussian=1.0)

    def wrong(numbers, name, protocol):
        return dict.fromkeys(numbers, Estimate(4.0, 0.0)) if (protocol, name) == ("common", "gaussian") else numbers

    found = claims("layer", Found({"all": with_numbers(seen, wrong)}))
    assert {claim.id for claim in found if claim.verdict == "holds"} == {"layer-all-sharpness", "layer-all-barrier"}


def test_the_interval_is_that_of_paired_seeds():
    low, middle, high = compared(made_up(softmax=2.0, gaussian=1.0), "sharpness", None)
    logs = -np.log(2 * (1 + 0.01 * np.arange(4)))
    half = 3.1824 * logs.std(ddof=1) / 2
    np.testing.assert_allclose(np.log([low, middle, high]), logs.mean() + half * np.asarray([-1, 0, 1]), rtol=1e-4)
    wide = compared(made_up(softmax=2.0, gaussian=1.0, error=0.1), "sharpness", None)
    assert wide[0] < low < high < wide[2]


def test_equal_numbers_are_no_larger_but_equal_counts_are_known_to_one():
    seen = made_up(softmax=2.0, gaussian=1.0)
    same = with_numbers(seen, lambda numbers, name, protocol: dict.fromkeys(numbers, Estimate(1.0, 0.0)))
    found = {claim.id.removeprefix("layer-all-"): claim for claim in claims("layer", Found({"all": same}))}
    assert {found[one].verdict for one in ("sharpness", "barrier", "mean-laplacian", "largest-laplacian")} == {"holds"}
    # One minimum in one of two planes of a seed; one of the four cells of a grid in one of them.
    assert (found["minima"].verdict, found["minima"].uncertainty) == ("undecided", 1 / 2)
    assert (found["negative-share"].verdict, found["negative-share"].uncertainty) == ("undecided", 1 / 8)


def test_one_seed_decides_nothing_and_one_kernel_is_not_compared():
    assert verdicts(made_up(softmax=2.0, gaussian=1.0, seeds=[0])) == {"undecided"}
    seen = made_up()
    alone = dataclasses.replace(seen, views={"softmax": seen.views["softmax"]})
    assert verdicts(alone) == {"not applicable"}


def test_missing_reviews_are_said_and_the_rest_is_run(monkeypatch):
    def absent(self):
        raise DataError("no reviews here")

    monkeypatch.setattr(IMDb, "load", absent)
    wanted = requests(study, Size.QUICK)
    assert wanted["text"] == {}
    assert wanted["layer"]
    text = next(section for section in study.sections if section.name == "text")
    (claim,) = text.claims(text.seen(Runs({}), Size.QUICK, None))
    assert claim.verdict == "not applicable"
    assert "no reviews here" in claim.detail


def test_stage_two_starts_from_the_shared_end_and_moves_what_it_says():
    wanted = requests(study, Size.QUICK)["layer"]
    (first,) = wanted["stage one"]
    for mode, trained in (("all", first.experiment.trained), ("query", ("query",))):
        assert [type(one.experiment.model.attention).__name__ for one in wanted[mode]] == ["Softmax", "Gaussian"]
        for one in wanted[mode]:
            assert one.experiment.origin == first.experiment
            assert one.experiment.trained == trained
            assert one.seeds == first.seeds

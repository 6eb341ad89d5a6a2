"""The study of real tasks in its smoke size, and every claim when it is shown a wrong quantity."""

import dataclasses
import os

import numpy as np
import plotly.graph_objects as go
import pytest

from descentlab.attention import Gaussian, Softmax
from descentlab.optim import Scheduled
from descentlab.probes import HeldOut, LayerAttention
from descentlab.runs import Run
from descentlab.status import Status
from descentlab.store import Store
from descentlab.studies.song2024_tasks import study
from descentlab.studies.song2024_tasks.experiments import BASE, RATES, SCALES, requests
from descentlab.studies.song2024_tasks.sections import chosen
from descentlab.study import Size, run_study
from descentlab.study import requests as wanted_of
from descentlab.sweep import grid
from descentlab.trajectory import Series, Trajectory

SEEDS = 4
STEPS = np.arange(0, 1501, 250)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    store = Store((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tasks")
    return run_study(study, Size.SMOKE, wanted_of(study, Size.SMOKE), store)


def test_the_smoke_size_trains_both_kernels_and_every_claim_has_a_verdict(outcome):
    runs = outcome.runs["pathfinder"]["adam"]
    assert list(runs.cases) == ["softmax", "gaussian"]
    for run in runs:
        assert np.all(run.trajectory.finished)
        assert np.all(np.isfinite(run.trajectory["loss"].values))
        assert run.trajectory["attention"].values.shape[2:] == (2, 2)
    softmax = runs[0].trajectory["attention"].values
    np.testing.assert_allclose(softmax[..., 1], 1.0, atol=1e-5)
    assert np.all(softmax[..., 0] <= np.log(1024) + 1e-5)
    ids = [claim.id for claim in outcome.claims]
    assert len(set(ids)) == len(ids) == 7
    for claim in outcome.claims:
        assert claim.text
        assert claim.source
        assert claim.checked


def test_figures_have_traces_and_captions(outcome):
    for figure in study.sections[1].figures:
        title, caption = (figure.__doc__ or "").split("\n", 1)
        assert title.strip()
        assert caption.strip()
        drawn = figure(outcome.runs["pathfinder"])
        assert isinstance(drawn, go.Figure)
        assert drawn.data


def test_the_paper_size_gives_each_kernel_its_grid_under_each_optimizer():
    families = requests("text", grid(BASE, {"model.attention": [Softmax(), Gaussian()]}), Size.PAPER)
    assert set(families) == {"sgd", "adam", "adamw"}
    for kind, family in families.items():
        assert len(family) == 2 * len(RATES["sgd" if kind == "sgd" else "adam"]) * len(SCALES)
        assert all(isinstance(one.experiment.optimizer, Scheduled) for one in family)
        assert len({one.experiment.digest for one in family}) == len(family)
    assert {one.experiment.task.dataset.length for family in families.values() for one in family} == {4096}


MEASURED = HeldOut().axes(None)


def made(kernel, lr=1e-3, *, test=0.62, loss=0.66, rows=30.0, seed=0, apart=0.002):
    """A run with made-up records: the accuracy rises in a straight line to where it is on the test part."""
    random = np.random.default_rng(seed)
    spread = apart * random.normal(size=(SEEDS, 1))
    rise = np.linspace(0, 1, STEPS.size)
    accuracy = 0.5 + (test - 0.5) * rise + spread
    losses = np.log(2) + (loss - np.log(2)) * rise + spread
    sums = np.full((SEEDS, 3, 2, 2), rows) + 0.1 * random.normal(size=(SEEDS, 3, 2, 2))
    series = {
        "development": Series(STEPS, np.stack([losses, accuracy], axis=-1), MEASURED),
        "test": Series(STEPS[-1:], np.stack([losses, accuracy], axis=-1)[:, -1:], MEASURED),
        "attention": Series(np.array([0, 10, 100]), sums, LayerAttention().axes(None)),
    }
    experiment = requests("text", [BASE.changed({"model.attention": kernel})], Size.QUICK)["adam"][0].experiment
    experiment = experiment.changed({"optimizer.rule.lr": lr})
    ended = (-1,) * SEEDS
    return Run(experiment, Trajectory(tuple(range(SEEDS)), series, {}, (Status.FINISHED,) * SEEDS, ended))


def judged(softmax=None, gaussian=None):
    runs = {"adam": [made(Softmax(), rows=1.0, **(softmax or {})), made(Gaussian(), **(gaussian or {}), seed=1)]}
    return {claim.id.removeprefix("text-adam-"): claim for claim in judge(runs)}


def judge(runs):
    text = next(section for section in study.sections if section.name == "text")
    return text.judged(runs, ["softmax", "gaussian"], "model.attention")


WRONG = {
    "learns-softmax": ({"test": 0.48}, {}),
    "learns-gaussian": ({}, {"test": 0.48}),
    "unstuck-softmax": ({"test": 0.51}, {}),
    "unstuck-gaussian": ({}, {"test": 0.51}),
    "rows-gaussian": ({}, {"rows": 3.0}),
    "better": ({"test": 0.66}, {}),
    "faster": ({"loss": 0.60}, {}),
}


def test_claims_hold_where_the_gaussian_kernel_is_better_and_faster():
    held = judged(gaussian={"test": 0.65, "loss": 0.62})
    assert {one: str(claim.verdict) for one, claim in held.items()} == dict.fromkeys(WRONG, "holds")


@pytest.mark.parametrize("wrong", WRONG)
def test_a_claim_fails_where_its_quantity_is_wrong(wrong):
    softmax, gaussian = WRONG[wrong]
    assert judged(softmax, {"test": 0.65, "loss": 0.62} | gaussian)[wrong].verdict == "fails"


def test_a_difference_within_the_spread_of_the_seeds_is_undecided():
    found = judged({"test": 0.6, "loss": 0.65}, {"test": 0.6, "loss": 0.65})
    assert found["better"].verdict == found["faster"].verdict == "undecided"


CHANCE = {"test": 0.5, "loss": np.log(2), "apart": 0.0}


def test_seeds_that_all_answer_with_one_class_do_not_exceed_chance():
    found = judged(CHANCE, CHANCE)
    assert found["learns-softmax"].verdict == found["learns-gaussian"].verdict == "undecided"
    assert found["learns-softmax"].uncertainty == pytest.approx(1 / 4000, rel=1e-12)
    just = judged(CHANCE | {"test": 0.5 + 2 / 4000}, CHANCE | {"test": 0.5 - 2 / 4000})
    assert (just["learns-softmax"].verdict, just["learns-gaussian"].verdict) == ("holds", "fails")


def test_kernels_that_are_equal_are_neither_better_nor_faster():
    found = judged({"apart": 0.0}, {"apart": 0.0})
    assert found["better"].measured == found["faster"].measured == 0
    assert found["better"].verdict == "undecided"
    assert found["faster"].verdict == "fails"


def test_one_seed_decides_nothing_about_others():
    one, other = made(Softmax(), rows=1.0), made(Gaussian(), test=0.65, loss=0.62)
    alone = [dataclasses.replace(run, trajectory=run.trajectory.lanes(np.array([0]))) for run in (one, other)]
    assert {claim.verdict for claim in judge({"adam": alone})} == {"undecided"}


def test_the_rate_is_chosen_by_development_accuracy_never_by_the_test():
    good, bad = made(Softmax(), 1e-3, test=0.6), made(Softmax(), 2e-3, test=0.55)
    series = {**bad.trajectory.series}
    values = series["test"].values + 0.3
    series["test"] = dataclasses.replace(series["test"], values=values)
    bad = dataclasses.replace(bad, trajectory=dataclasses.replace(bad.trajectory, series=series))
    assert chosen([bad, good]) is good

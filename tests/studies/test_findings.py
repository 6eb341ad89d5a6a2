"""Findings: sentences with numbers that say nothing where their claims do not support them."""

import dataclasses
import re

import numpy as np
import plotly.graph_objects as go
import pytest

from descentlab.claims import About, Verdict, at_most
from descentlab.pages.study import study_page
from descentlab.studies import (
    kim2023_inference,
    ormaniec2024_hessian,
    song2024_convergence,
    song2024_landscape,
    song2024_query,
    song2024_tasks,
)
from descentlab.study import Outcome, Size
from studies import tiny

HOLDS, FAILS, UNDECIDED = Verdict.HOLDS, Verdict.FAILS, Verdict.UNDECIDED


def both(name):
    return f"{name}-softmax", f"{name}-gaussian"


LAYERS = [f"layer{first}-{mode}-sharpness" for first in ("", "-gaussian-first") for mode in ("all", "query")]

# By study and finding: the claims that it rests on with the verdicts that it needs, and whose numbers it tells.
NEEDED = {
    (song2024_tasks, "learnt"): ({f"text-adam-{one}": HOLDS for one in both("learns")}, True),
    (song2024_tasks, "rows"): ({"text-adam-rows-gaussian": FAILS}, True),
    (song2024_landscape, "smoother"): (
        {f"layer-gaussian-first-all-{one}-laplacian": HOLDS for one in ("mean", "largest")},
        True,
    ),
    (song2024_landscape, "rougher"): ({f"layer-all-{one}-laplacian": FAILS for one in ("mean", "largest")}, True),
    (song2024_landscape, "flatter"): (dict.fromkeys(LAYERS, HOLDS), False),
    (song2024_landscape, "less_convex"): ({"layer-all-negative-share": FAILS}, True),
    (song2024_landscape, "text_sharper"): ({"text-all-sharpness": FAILS}, True),
    (song2024_convergence, "threshold"): (
        dict.fromkeys((*both("threshold-floor"), *both("threshold-rank")), HOLDS),
        False,
    ),
    (song2024_convergence, "rate"): (dict.fromkeys((*both("rate-modes"), *both("rate-bound")), HOLDS), False),
    (song2024_convergence, "width"): (dict.fromkeys(both("width-heads"), HOLDS), True),
    (song2024_convergence, "one_head"): ({"joint-one-head-softmax": FAILS, "joint-one-head-gaussian": HOLDS}, True),
    (song2024_convergence, "text"): (
        dict.fromkeys(both("text-threshold"), FAILS) | dict.fromkeys(both("text-rank"), HOLDS),
        False,
    ),
    (song2024_query, "signs"): ({"edge-positive": HOLDS, "edge": FAILS}, True),
    (song2024_query, "equal"): (dict.fromkeys((*both("s-a"), *both("s-b")), HOLDS), False),
    (song2024_query, "minimum"): (
        dict.fromkeys(("s-d-softmax-left-kind", "s-d-softmax-left-loss", "s-d-gaussian-left-loss"), HOLDS),
        False,
    ),
    (song2024_query, "slow"): (dict.fromkeys(both("large-slow"), HOLDS), True),
    (song2024_query, "heads"): (dict.fromkeys(both("heads"), HOLDS), True),
    (ormaniec2024_hessian, "powers"): (
        dict.fromkeys(("slope-value-hessian-softmax", "slope-query-hessian-softmax"), HOLDS),
        True,
    ),
    (ormaniec2024_hessian, "closer"): (dict.fromkeys(both("theorem-ratio"), HOLDS), True),
    (ormaniec2024_hessian, "apart"): (dict.fromkeys((*both("apart"), "apart-linear"), HOLDS), False),
    (ormaniec2024_hessian, "less_indefinite"): (dict.fromkeys(both("indefinite-gd"), HOLDS), True),
    (ormaniec2024_hessian, "edge"): (dict.fromkeys(both("edge-along"), HOLDS), True),
    (kim2023_inference, "tables"): (dict.fromkeys(("table-3", "table-10", "table-11"), HOLDS), False),
    (kim2023_inference, "projection"): ({"large-without": HOLDS, "large": FAILS}, False),
    (kim2023_inference, "generation"): (dict.fromkeys(("gpt2-intensity", "peak"), HOLDS), True),
    (kim2023_inference, "mappings"): ({"span": HOLDS, "tenth-printed": FAILS}, True),
    (kim2023_inference, "integers"): (dict.fromkeys(both("integer"), HOLDS), True),
}
CASES = [pytest.param(*at, *what, id=f"{at[0].study.name}-{at[1]}") for at, what in NEEDED.items()]


def made(id, verdict, measured=0.5):
    """A claim with a verdict and numbers of its own."""
    claim = at_most(About(id, "text", "source"), measured, 1.0)
    return dataclasses.replace(claim, verdict=verdict, uncertainty=0.25, checked=20)


def said(module, name, claims):
    finding = next(one for one in module.study.findings if one.__name__ == name)
    return finding(Outcome(module.study, Size.QUICK, {}, list(claims)))


@pytest.fixture
def settings():
    """What tells tasks apart in the study of tasks."""
    return [made("text-adam-better", Verdict.NOT_APPLICABLE)]


@pytest.mark.parametrize(("module", "name", "needed", "all_tell"), CASES)
def test_a_finding_tells_its_numbers_and_is_silent_without_its_verdicts(module, name, needed, all_tell, settings):
    claims = {id: made(id, verdict) for id, verdict in needed.items()}
    sentence = said(module, name, [*claims.values(), *settings])
    assert re.search(r"\d", sentence)
    assert sentence.endswith(".")
    changed = []
    for id, claim in claims.items():
        other = [one for one in claims.values() if one is not claim]
        assert said(module, name, [*other, *settings]) is None, id
        for verdict in {HOLDS, FAILS, UNDECIDED} - {claim.verdict}:
            turned = dataclasses.replace(claim, verdict=verdict)
            assert said(module, name, [*other, turned, *settings]) is None, (id, verdict)
        moved = dataclasses.replace(claim, measured=88.125, expected=7.0, checked=31)
        changed.append(said(module, name, [*other, moved, *settings]) != sentence)
    assert all(changed) if all_tell else any(changed)


def test_every_finding_is_looked_at_and_a_study_has_three_to_five():
    looked = {(module.study.name, name) for module, name in NEEDED} | {
        ("song2024_tasks", name) for name in ("more_accurate", "faster")
    }
    for module in dict.fromkeys(module for module, _ in NEEDED):
        names = {one.__name__ for one in module.study.findings}
        assert 3 <= len(names) <= 5
        assert {(module.study.name, name) for name in names} <= looked


@pytest.mark.parametrize("name", ["more_accurate", "faster"])
def test_which_kernel_is_ahead_is_said_in_three_ways_or_not_at_all(name):
    id = {"more_accurate": "text-adam-better", "faster": "text-adam-faster"}[name]
    other = made("text-adam-better", Verdict.NOT_APPLICABLE)
    rest = [] if id == other.id else [other]
    sentences = {said(song2024_tasks, name, [made(id, one), *rest]) for one in (HOLDS, FAILS, UNDECIDED)}
    assert len(sentences) == 3
    assert all("±" in one and "text with adam" in one for one in sentences)
    assert said(song2024_tasks, name, [made(id, Verdict.NOT_APPLICABLE), *rest]) is None
    unknown = dataclasses.replace(made(id, UNDECIDED), uncertainty=np.inf)
    assert said(song2024_tasks, name, [unknown, *rest]) is None


def drawn(title):
    def draw(runs):
        return go.Figure([go.Scatter(y=[0.0, 1.0])])

    draw.__doc__ = f"{title}.\n\nA caption."
    return draw


def test_a_page_begins_with_the_findings_and_one_figure():
    first, second = drawn("First"), drawn("Second")
    section = dataclasses.replace(tiny.study.sections[0], figures=[first, second])
    study = dataclasses.replace(
        tiny.study,
        sections=[section],
        findings=[lambda outcome: "The <loss> falls.", lambda outcome: None],
        figure=second,
    )
    page = study_page(Outcome(study, Size.SMOKE, {"fall": {}}, [made("falls", HOLDS)]))
    assert page.findings == ["The <loss> falls."]
    assert [figure.title for figure in page.figures] == ["Second", "First"]
    text = page.html()
    places = [text.index(one) for one in ("The &lt;loss&gt; falls.", "Second</h3>", 'class="question"', "First</h3>")]
    assert places == sorted(places)
    assert text.count("</figure>") == 2
    assert "Findings" not in dataclasses.replace(page, findings=()).html()

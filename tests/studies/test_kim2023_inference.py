"""The study of inference: complete in its smoke size, and every claim fails when it is shown a wrong quantity."""

import dataclasses
import re

import numpy as np
import plotly.graph_objects as go
import pytest

from descentlab.claims import Verdict
from descentlab.cost import feed_forward, integer, model, part
from descentlab.cost.accelerator import Accelerator
from descentlab.cost.fusion import Pair
from descentlab.cost.operators import Matmul
from descentlab.cost.presets import resnet50
from descentlab.cost.presets import transformer as preset
from descentlab.datasets import Marked
from descentlab.models import Transformer
from descentlab.published import Published
from descentlab.runs import Runs
from descentlab.store import Store
from descentlab.studies.kim2023_inference import (
    accelerator,
    classifiers,
    compressed,
    counts,
    fusion,
    integers,
    mappings,
    study,
    tables,
)
from descentlab.study import Size, requests, run_study

FOUND_WRONG = {
    "slips", "large", "resnet-whole", "balance-latency", "fuse-norm-overlapped", "fuse-sizes", "near-best-printed",
    "tenth-printed",
}  # fmt: skip
"""Claims of the survey that do not hold here; each is a finding of the study."""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Fewer mappings."""
    monkeypatch.setattr(mappings, "COUNT", 20_000)


def judged(module):
    """The claims of a section that needs no run."""
    section = module.section
    return section.judged(section.seen(Runs({}), Size.SMOKE, None), ["softmax", "gaussian"], study.axis[0])


def failing(module):
    return {claim.id for claim in judged(module) if claim.verdict == Verdict.FAILS}


def test_the_smoke_size_is_complete(tmp_path, monkeypatch):
    monkeypatch.setattr(mappings, "COUNT", 500)
    monkeypatch.setattr(classifiers, "SPARSITIES", (0.0, 0.7))
    small = dataclasses.replace(study, overrides={"task.dataset": Marked(train=64, development=16, test=64)})
    outcome = run_study(small, Size.SMOKE, requests(small, Size.SMOKE), Store(tmp_path))
    ids = [claim.id for claim in outcome.claims]
    assert len(ids) == len(set(ids)) == 49
    assert all(claim.text and claim.source for claim in outcome.claims)
    for section in study.sections:
        for draw in section.figures:
            assert draw.__doc__
            assert isinstance(draw(outcome.runs[section.name]), go.Figure)


@pytest.mark.parametrize("module", [tables, accelerator, mappings, integers], ids=lambda module: module.section.name)
def test_what_does_not_hold_is_what_the_pages_say(module):
    claims = {claim.id: claim.verdict for claim in judged(module)}
    assert {name for name, verdict in claims.items() if verdict == Verdict.FAILS} == FOUND_WRONG & set(claims)
    assert {name for name, verdict in claims.items() if verdict != Verdict.HOLDS} <= FOUND_WRONG


def changed(monkeypatch, **sizes):
    original = counts.model
    monkeypatch.setattr(counts, "model", lambda name: dataclasses.replace(original(name), **sizes))


def test_other_sizes_are_not_those_of_the_tables(monkeypatch):
    changed(monkeypatch, layers=11)
    assert {"table-3", "table-10", "table-11", "figure-4", "figure-5", "large-without"} <= failing(tables)


def test_one_head_has_other_traffic(monkeypatch):
    changed(monkeypatch, heads=1)
    assert {"other-bytes", "heads-bytes", "heads-intensity", "peak"} <= failing(tables)


def test_a_decoder_that_does_not_generate_has_another_intensity(monkeypatch):
    changed(monkeypatch, causal=False)
    assert {"gpt2-intensity", "table-11"} <= failing(tables)


def test_costlier_nonlinear_operators_are_seen(monkeypatch):
    monkeypatch.setattr(feed_forward, "GELU", 100)
    assert {"other-flops", "table-3"} <= failing(tables)


def test_convolutions_of_another_input_are_seen(monkeypatch):
    def larger():
        return [
            dataclasses.replace(one, right=2 * one.right) if isinstance(one, Matmul) and one.right else one
            for one in resnet50()
        ]

    monkeypatch.setattr(tables, "resnet50", larger)
    assert "resnet-each" in failing(tables)


def test_the_slips_in_print_are_cells_that_would_fail(monkeypatch):
    rows = [{**row, "slip": ""} for row in counts.PRINTED.rows]
    rows[50]["slip"] = "a cell that is right"
    monkeypatch.setattr(counts, "PRINTED", Published(tuple(rows)))
    assert {"table-3", "table-10", "table-11"} <= failing(tables)


def test_another_machine_is_not_that_of_the_tables(monkeypatch):
    monkeypatch.setattr(accelerator, "MACHINE", Accelerator(second_level=2**19, lanes=1))
    assert {"table-5", "latency-gpt2", "latency-bert-large"} <= failing(accelerator)


def test_memories_without_effect_are_seen(monkeypatch):
    monkeypatch.setattr(accelerator, "local_bytes", lambda machine, one: 1.0)
    monkeypatch.setattr(accelerator, "latency", lambda machine, operators: machine.accumulator)
    assert {"balance-traffic", "balance-overlap"} <= failing(accelerator)


@pytest.mark.parametrize(("fused", "ids"), [(2.0, {"fuse-softmax"}), (0.5, {"fuse-norm", "fuse-norm-overlapped"})])
def test_fusion_of_the_other_sign_is_seen(monkeypatch, fused, ids):
    monkeypatch.setattr(fusion, "pair", lambda *_: Pair(1.0, fused, 1))
    assert ids <= failing(accelerator)


def test_a_kernel_that_is_slower_when_fused_is_seen(monkeypatch):
    monkeypatch.setattr(fusion, "pair", lambda machine, product, after: Pair(1.0, 4.0 - after.passes, 1))
    assert "fuse-gaussian" in failing(accelerator)


def test_mappings_that_all_cost_the_same_are_seen(monkeypatch):
    monkeypatch.setattr(mappings, "relative", lambda of: np.ones(1000))
    assert {"span", "near-best"} <= failing(mappings)
    monkeypatch.setattr(mappings, "relative", lambda of: np.full(1000, 10.0 ** of.lengths[4]))
    assert "alike" in failing(mappings)


def test_other_polynomials_are_not_the_functions(monkeypatch):
    monkeypatch.setattr(integer, "EXP", (0.4, 2.7, 2.8))
    monkeypatch.setattr(integer, "ERF", (-0.3, -1.8))
    assert {"exponential", "gelu", "gaussian", "gaussian-rows"} <= failing(integers)


def test_other_sums_and_norms_are_seen(monkeypatch):
    softmax, norm = integer.softmax, integer.layer_norm
    monkeypatch.setattr(integer, "softmax", lambda *arguments: (2 * softmax(*arguments)[0], 2.0**-8))
    monkeypatch.setattr(integer, "layer_norm", lambda *arguments: (norm(*arguments)[0], 1.1 * norm(*arguments)[1]))
    assert {"softmax", "softmax-rows", "layer-norm"} <= failing(integers)


def lane(**rights):
    """A classifier that is right always, changes of which are right as often as given."""
    shares = {"plain": 1.0, "rounded": 1.0, "integer": 1.0, "single": 1.0, "second": 1.0, "heads": 1.0} | rights
    right = {name: np.arange(1000) < 1000 * share for name, share in shares.items()}
    rows, heads = len(classifiers.SPARSITIES), 4
    cut = {"magnitude": np.tile(right["single"], (rows, 1)), "first order": np.tile(right["single"], (rows, 1))}
    cut["second order"] = np.concatenate([right["plain"][None], np.tile(right["second"], (rows - 1, 1))])
    headless = np.concatenate([right["plain"][None], np.tile(right["heads"], (heads - 1, 1))])
    return classifiers.MeasuredClassifier(
        right["plain"], right["rounded"], right["integer"], cut, headless, np.linspace(1, 0.5, heads)
    )


def of_lanes(lanes):
    """The claims on classifiers with softmax."""
    return compressed.section.judged({"softmax": lanes}, ["softmax"], study.axis[0])


@pytest.mark.parametrize(
    ("rights", "failed"),
    [
        ({}, set()),
        ({"plain": 0.5, "rounded": 0.5, "integer": 0.5}, {"learned-softmax"}),
        ({"rounded": 0.9}, {"int8-softmax"}),
        ({"integer": 0.9}, {"integer-softmax"}),
        ({"second": 0.5}, {"structure-softmax", "criteria-softmax"}),
    ],
)
def test_classifiers_that_lose_are_seen(rights, failed):
    lanes = [lane(**rights)] * 2
    found = of_lanes(lanes)
    assert {claim.id for claim in found if claim.verdict == Verdict.FAILS} == failed


def test_a_loss_within_its_error_is_undecided():
    lanes = [lane(rounded=0.988)]
    weights = next(claim for claim in of_lanes(lanes) if claim.id == "int8-softmax")
    assert weights.verdict == Verdict.UNDECIDED


def test_one_classifier_decides_nothing_about_others():
    def verdicts(count):
        lanes = [lane(single=0.9, heads=0.5)] * count
        found = of_lanes(lanes)
        return {str(one.verdict) for one in found}

    assert verdicts(2) == {"holds"}
    assert verdicts(1) == {"undecided"}


def test_criteria_that_win_in_turn_are_not_told_apart():
    lanes = [lane(single=0.9, second=0.85), lane(single=0.85, second=0.95)]
    assert of_lanes(lanes)[-1].verdict == "undecided"


def test_heads_that_can_go_to_the_same_share_are_not_fewer(monkeypatch):
    monkeypatch.setattr(classifiers, "SPARSITIES", (0.0, 0.25, 0.5, 0.7, 0.75))
    same = [dataclasses.replace(lane(second=1.0), headless=lane().headless)] * 2
    structure = next(claim for claim in of_lanes(same) if claim.id == "structure-softmax")
    assert structure.measured == structure.expected == 0.75
    assert structure.verdict == "undecided"


def test_a_classifier_that_does_not_change_loses_one_example_at_most():
    before = np.ones(400, dtype=bool)
    assert compressed.lost(before, before) == (0.0, 1 / 400)


@pytest.mark.parametrize("fitted", ["GELU", "NORMS", "_less"])
def test_claims_that_contain_a_fitted_number_say_so(monkeypatch, fitted):
    def numbers():
        return {one.id: (one, one.as_data()) for module in (tables, accelerator) for one in judged(module)}

    before = numbers()
    others = {
        "GELU": (feed_forward, 30),
        "NORMS": (part, part.NORMS | {"layer": (24, 3)}),
        "_less": (model, lambda x: x),
    }
    owner, other = others[fitted]
    monkeypatch.setattr(owner, fitted, other)
    touched = {name for name, (_, data) in numbers().items() if data != before[name][1]}
    assert "table-3" in touched
    word = "entries" if fitted == "_less" else "operations"
    assert {name for name in touched if not re.search(rf"{word}.*fitted", before[name][0].text)} == set()


@pytest.mark.parametrize("saved", [0.0, 0.5])
def test_savings_of_nothing_are_none(monkeypatch, saved):
    monkeypatch.setattr(fusion, "pair", lambda *_: Pair(1.0, 1.0 - saved, 1))
    expected = {"fuse-norm", "fuse-norm-overlapped"} | ({"fuse-softmax"} if not saved else set())
    assert expected | {"fuse-gaussian"} <= failing(accelerator)


def test_equal_intensities_have_no_largest(monkeypatch):
    monkeypatch.setattr(counts, "curve", lambda name, quantity: np.ones(6))
    assert "peak" in failing(tables)


def test_heads_that_are_left_out_cost_less(monkeypatch):
    one = classifiers.Trained(
        None,
        {"layers.0.query": np.ones((4, 32, 8))},
        Marked(train=2, development=2, test=2).load(),
        Transformer(width=32, depth=2, heads=4, hidden=64),
    )
    none, some, all_of_one = (
        one.latency(gone) for gone in ([], [("layers.0", 1)], [("layers.0", head) for head in range(4)])
    )
    assert all_of_one < some < none
    assert preset("bert-base").heads == 12

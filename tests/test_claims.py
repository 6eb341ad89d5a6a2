"""Verdicts follow from numbers, their uncertainty and their slack."""

import json

import numpy as np
import pytest

from descentlab.claims import (
    About,
    Verdict,
    above,
    at_least,
    at_most,
    below,
    claim,
    close,
    not_applicable,
    of_seeds,
)
from descentlab.estimate import Interval

ABOUT = About("rate", "the loss falls", "Theorem A", case="softmax", detail="as written")


@pytest.mark.parametrize(
    ("measured", "uncertainty", "verdict"),
    [(0.5, 0.0, "holds"), (1.0, 0.0, "holds"), (1.5, 0.0, "fails"), (0.5, 0.6, "undecided"), (1.5, 0.6, "undecided")],
)
def test_a_gap_within_its_uncertainty_decides_nothing(measured, uncertainty, verdict):
    assert at_most(ABOUT, measured, 1.0, uncertainty=uncertainty).verdict == verdict
    assert at_least(ABOUT, -measured, -1.0, uncertainty=uncertainty).verdict == verdict
    assert close(ABOUT, 7 + measured, 7.0, tolerance=1.0, uncertainty=uncertainty).verdict == verdict


@pytest.mark.parametrize(
    ("measured", "uncertainty", "verdict"),
    [
        (1.5, 0.0, "holds"),
        (1.0, 0.0, "fails"),
        (0.5, 0.0, "fails"),
        (1.0, 0.25, "undecided"),
        (1.5, 0.5, "undecided"),
        (1.5, 0.25, "holds"),
        (0.5, 0.5, "fails"),
    ],
)
def test_equality_never_satisfies_a_strict_claim(measured, uncertainty, verdict):
    assert above(ABOUT, measured, 1.0, uncertainty=uncertainty).verdict == verdict
    assert below(ABOUT, -measured, -1.0, uncertainty=uncertainty).verdict == verdict


def test_one_equality_among_many_comparisons_fails_a_strict_claim_only():
    numbers = np.array([2.0, 1.0, 3.0])
    assert above(ABOUT, numbers, 1.0).verdict == Verdict.FAILS
    assert above(ABOUT, numbers, 1.0, where=numbers > 1).verdict == Verdict.HOLDS
    assert at_least(ABOUT, numbers, 1.0).verdict == Verdict.HOLDS
    assert above(ABOUT, numbers, 1.0).worst_margin == 0


@pytest.mark.parametrize("uncertainty", [np.inf, np.nan])
@pytest.mark.parametrize("measured", [5.0, np.inf])
def test_an_uncertainty_without_bound_decides_nothing(measured, uncertainty):
    for compare in (above, at_least):
        assert compare(ABOUT, measured, 1.0, uncertainty=uncertainty).verdict == Verdict.UNDECIDED


def test_one_seed_refutes_but_does_not_prove():
    held, failed = at_most(ABOUT, 0.5, 1.0), at_most(ABOUT, 1.5, 1.0)
    assert [of_seeds(one, 1).verdict for one in (held, failed)] == ["undecided", "fails"]
    assert [of_seeds(one, 2).verdict for one in (held, failed)] == ["holds", "fails"]
    assert "one seed" in of_seeds(held, 1).detail


def test_slack_and_tolerance_allow_what_they_say():
    assert at_most(ABOUT, 1.25, 1.0, slack=0.25).verdict == Verdict.HOLDS
    assert at_most(ABOUT, 1.25, 1.0, slack=0.125).verdict == Verdict.FAILS
    assert at_least(ABOUT, 0.75, 1.0, slack=0.25).verdict == Verdict.HOLDS
    assert close(ABOUT, 0.75, 1.0, tolerance=0.25).verdict == Verdict.HOLDS
    assert close(ABOUT, 0.75, 1.0, tolerance=0.125).verdict == Verdict.FAILS


def test_the_worst_comparison_is_shown():
    claim = at_most(ABOUT, np.array([1.0, 3.0, 2.0]), np.array([4.0, 4.0, 2.5]), uncertainty=np.array([0, 0, 0.25]))
    assert (claim.measured, claim.expected, claim.uncertainty, claim.checked) == (2.0, 2.5, 0.25, 3)
    assert claim.worst_margin == pytest.approx(0.5 / 2.5, rel=1e-15)
    failing = at_most(ABOUT, np.array([1.0, 5.0]), 4.0)
    assert failing.worst_margin == pytest.approx(-0.25, rel=1e-15)


def test_a_single_failure_fails_the_claim():
    assert at_most(ABOUT, np.array([0.0, 2.0, np.nan]), 1.0).verdict == Verdict.FAILS
    assert at_most(ABOUT, np.array([0.0, 0.5, np.nan]), 1.0).verdict == Verdict.UNDECIDED
    assert at_most(ABOUT, np.nan, 1.0).verdict == Verdict.UNDECIDED


def test_infinite_measurements_fail_and_infinite_bounds_hold():
    assert at_most(ABOUT, np.inf, 1.0).verdict == Verdict.FAILS
    assert at_most(ABOUT, 1.0, np.inf).verdict == Verdict.HOLDS


def test_only_what_counts_is_compared():
    claim = at_most(ABOUT, np.array([0.0, 9.0, np.nan]), 1.0, where=np.array([True, False, False]))
    assert (claim.verdict, claim.checked) == (Verdict.HOLDS, 1)
    nothing = at_most(ABOUT, np.array([9.0]), 1.0, where=False)
    assert (nothing.verdict, nothing.checked) == (Verdict.NOT_APPLICABLE, 0)


def test_slack_and_tolerance_may_be_given_for_each_comparison():
    assert at_most(ABOUT, np.array([1.5, 1.0]), 1.0, slack=np.array([0.5, 0.0])).verdict == Verdict.HOLDS
    assert at_most(ABOUT, 1.5, 1.0, slack=np.array([0.5, 0.75])).checked == 2
    assert close(ABOUT, 1.5, 1.0, tolerance=np.array([0.5, 0.25])).verdict == Verdict.FAILS


def test_a_bound_of_zero_gives_an_absolute_margin():
    assert at_most(ABOUT, -0.5, 0.0).worst_margin == 0.5


def test_numpy_arrays_broadcast():
    claim = at_least(ABOUT, np.ones((2, 3)), np.array([[0.5], [1.5]]))
    assert (claim.verdict, claim.checked) == (Verdict.FAILS, 6)


def test_a_claim_is_plain_data_without_nan():
    for one in (
        at_most(ABOUT, np.array([np.nan, np.nan]), np.inf),
        at_most(ABOUT, np.inf, 1.0),
        at_most(ABOUT, 0.5, 1.0),
        not_applicable(ABOUT, "the run diverged"),
    ):
        data = one.as_data()
        assert json.loads(json.dumps(data, allow_nan=False)) == data
        assert data["verdict"] in {"holds", "fails", "undecided", "not applicable"}
        assert (data["id"], data["case"]) == ("rate", "softmax")
    assert at_most(ABOUT, np.nan, 1.0).as_data()["measured"] is None


def test_what_is_not_applicable_says_why():
    claim = not_applicable(ABOUT, "the run diverged")
    assert claim.verdict == Verdict.NOT_APPLICABLE
    assert claim.detail.startswith("the run diverged")
    assert claim.detail.endswith("as written")
    assert claim.measured is None


KERNELS = ["softmax", "gaussian"]
SEEN = {"softmax": 0.5, "gaussian": 2.0}


def made(statement, seen=SEEN, cases=KERNELS):
    return statement.claims(seen, cases, seen.get)


def test_a_statement_that_names_the_case_is_asked_of_every_case():
    @claim("bound-{case}", "The {case} kernel stays below 1", source="Theorem {case}")
    def bound(about, number):
        return at_most(about.noting("noted"), number, 1.0)

    found = made(bound)
    assert [(one.id, one.case, str(one.verdict)) for one in found] == [
        ("bound-softmax", "softmax", "holds"),
        ("bound-gaussian", "gaussian", "fails"),
    ]
    assert (found[0].text, found[0].source, found[0].detail) == (
        "The softmax kernel stays below 1",
        "Theorem softmax",
        "noted",
    )


def test_a_statement_that_names_no_case_is_asked_once_with_everything():
    @claim("all", "All stay below 1", source="here")
    def everything(about, seen):
        return at_most(about, np.array(list(seen.values())), 1.0)

    (found,) = made(everything)
    assert (found.id, found.case, found.checked, found.verdict) == ("all", None, 2, "fails")


def test_a_case_of_which_nothing_was_measured_is_not_applicable():
    @claim("bound-{case}", "below 1", source="here")
    def bound(about, number):
        return at_most(about, number, 1.0)

    found = made(bound, cases=["linear", "softmax"])
    assert [one.verdict for one in found] == ["not applicable", "holds"]
    assert found[0].detail == "there is no run of linear."
    # An empty collection is nothing too.
    assert bound.claims({}, ["softmax"], {"softmax": {}}.get)[0].verdict == "not applicable"


def test_a_comparison_gets_its_cases_in_order_or_is_not_applicable():
    @claim("faster", "The Gaussian kernel is lower", source="here", between=("gaussian", "softmax"))
    def faster(about, gaussian, softmax):
        return below(about, gaussian, softmax)

    (found,) = made(faster)
    assert (found.measured, found.expected, found.case, found.verdict) == (2.0, 0.5, None, "fails")
    (missing,) = made(faster, {"softmax": 0.5}, ["softmax"])
    assert (missing.verdict, missing.detail) == ("not applicable", "there is no run of gaussian.")


def test_a_statement_may_be_asked_of_chosen_cases_only():
    @claim("narrow", "Narrow kernels", source="here", cases=["gaussian"])
    def narrow(about, number):
        return at_least(about, number, 1.0)

    assert [(one.id, one.case, one.checked) for one in made(narrow)] == [("narrow", "gaussian", 1)]
    assert [one.verdict for one in made(narrow, {"softmax": 0.5}, ["softmax"])] == ["not applicable"]


def test_a_statement_about_families_gets_each_of_them_in_place_of_all():
    @claim("close-{case}", "The runs are as far as the walks", source="here")
    def alike(about, runs, walks):
        return close(about, np.asarray(runs), np.asarray(walks))

    seen = {"softmax": {"runs": [1.0], "walks": [1.0]}, "gaussian": {"runs": [1.0], "walks": []}}
    found = made(alike.on("runs", "walks"), seen)
    assert [(one.id, one.verdict) for one in found] == [
        ("close-softmax", "holds"),
        ("close-gaussian", "not applicable"),
    ]
    assert found[1].detail == "there is no run of gaussian in the family 'walks'."


def test_a_comparison_or_a_statement_about_all_may_be_about_families_too():
    @claim("faster", "The Gaussian kernel is lower", source="here", between=("gaussian", "softmax"))
    def faster(about, gaussian, softmax):
        return below(about, gaussian[0], softmax[0])

    @claim("all", "All stay below 1", source="here")
    def everything(about, runs):
        return at_most(about, np.asarray(runs), 1.0)

    seen = {"softmax": {"runs": [0.5]}, "gaussian": {"runs": [2.0]}, "runs": [0.5, 2.0]}
    (found,), (every,) = made(faster.on("runs"), seen), made(everything.on("runs"), seen)
    assert (found.measured, found.expected, every.checked) == (2.0, 0.5, 2)
    (missing,) = made(everything.on("walks"), seen)
    assert (missing.verdict, missing.detail) == ("not applicable", "there is no run in the family 'walks'.")


def test_parameters_are_in_the_id_and_reach_the_function_that_names_them():
    @claim(
        "{task}-{way}-{case}-H{shape[0]}-D{shape[1]}",
        "On {task} with {way}, H = {shape[0]}",
        source="here",
        over={"shape": [(1, 4), (2, 8)], "way": lambda seen: [f"{len(seen)} Kernels"]},
    )
    def steps(about, number, shape):
        return at_most(about, number, float(shape[0]))

    found = made(steps.given(task="layer, Gaussian first"))
    assert [one.id for one in found] == [
        f"layer-gaussian-first-2-kernels-{kernel}-H{heads}-D{4 * heads}" for heads in (1, 2) for kernel in KERNELS
    ]
    assert found[0].text == "On layer, Gaussian first with 2 Kernels, H = 1"
    assert [str(one.verdict) for one in found] == ["holds", "fails", "holds", "holds"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"id": "a", "over": {"shape": [1, 2]}}, "lacks shape"),
        ({"id": "a-{case}", "between": ("softmax", "gaussian")}, "wants both"),
        ({"id": "a", "cases": ("softmax", "gaussian")}, "lacks {case}"),
    ],
)
def test_names_that_would_not_be_unique_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        claim(text="t", source="s", **arguments)


def test_intervals_are_compared_as_far_as_they_reach_to_the_bound():
    interval = Interval(1.0, 3.0, 4.0)
    assert [(one.verdict, one.uncertainty) for one in (above(ABOUT, interval, 0.5), above(ABOUT, interval, 1.0))] == [
        ("holds", 2.0),
        ("undecided", 2.0),
    ]
    assert at_most(ABOUT, interval, 4.5).uncertainty == 1.0
    assert close(ABOUT, interval, 3.0, tolerance=1.5).verdict == "undecided"
    several = at_least(ABOUT, [interval, Interval(5.0, 6.0, 9.0)], np.array([0.5, 7.0]))
    assert (several.measured, several.expected, several.uncertainty, several.checked) == (6.0, 7.0, 3.0, 2)
    assert at_most(ABOUT, Interval(-np.inf, 1.0, np.inf), 2.0).verdict == "undecided"

"""Verdicts follow from numbers, their uncertainty and their slack."""

import json

import numpy as np
import pytest

from descentlab.theory.claim import (
    About,
    Verdict,
    above,
    at_least,
    at_most,
    below,
    close,
    not_applicable,
    of_seeds,
)

ABOUT = About("rate", "the loss falls", "Theorem A", kernel="Softmax", detail="as written")


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
    for claim in (
        at_most(ABOUT, np.array([np.nan, np.nan]), np.inf),
        at_most(ABOUT, np.inf, 1.0),
        at_most(ABOUT, 0.5, 1.0),
        not_applicable(ABOUT, "the run diverged"),
    ):
        data = claim.as_data()
        assert json.loads(json.dumps(data, allow_nan=False)) == data
        assert data["verdict"] in {"holds", "fails", "undecided", "not applicable"}
        assert (data["id"], data["kernel"]) == ("rate", "Softmax")
    assert at_most(ABOUT, np.nan, 1.0).as_data()["measured"] is None


def test_what_is_not_applicable_says_why():
    claim = not_applicable(ABOUT, "the run diverged")
    assert claim.verdict == Verdict.NOT_APPLICABLE
    assert claim.detail.startswith("the run diverged")
    assert claim.detail.endswith("as written")
    assert claim.measured is None

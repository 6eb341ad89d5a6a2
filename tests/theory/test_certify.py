"""Every conclusion of `certify`, what it advises, and that its steps are upper bounds of a real run's."""

import dataclasses
import json
import math

import numpy as np
import pytest

from descentlab._describe import replace_at
from descentlab.attention import ReLU
from descentlab.data import FullBatch
from descentlab.given import Given
from descentlab.models import Normal
from descentlab.optim import GD
from descentlab.probes import Loss
from descentlab.schedule import Every
from descentlab.tasks import Arrays, InRange, TokenRegression
from descentlab.theory.certify import certify
from descentlab.theory.theorem_c import TRAINED
from descentlab.train import train
from support.problems import SMALL


def problem(**changes):
    """Two samples of three tokens, two heads of width four: eight features for six targets, values at zero."""
    experiment = replace_at(SMALL, "model.value", Normal(0.0))
    for path, value in ({"model.query.scale": 1.0, "model.key.scale": 1.0} | changes).items():
        experiment = replace_at(experiment, path.replace("__", "."), value)
    return experiment


VALUE = problem(trained=("value",))
JOINT = problem(trained=TRAINED)


@pytest.fixture(scope="module")
def sure():
    return certify(VALUE, tolerance=1e-2)


@pytest.fixture(scope="module")
def unsure():
    return certify(JOINT, tolerance=0.5)


def rows(answer):
    return {row.name: row for row in answer.rows}


def reached(experiment, row, tolerance, cap=20_000):
    """The first step of a real run with the advised step size at which the loss has fallen to the tolerance."""
    asked = dataclasses.replace(
        experiment, optimizer=GD(row.step), steps=min(int(row.steps), cap), probes={"loss": Loss(Every())}
    )
    loss = train(asked)["loss"].values[0]
    below = np.flatnonzero(loss <= tolerance * loss[0])
    return int(below[0]) if below.size else math.inf


def test_yes_by_theorem_a_and_in_no_more_steps(sure):
    row = rows(sure)["Theorem A"]
    assert sure.sentence.startswith("Yes: Theorem A")
    assert f"{row.steps:.6g} steps" in sure.sentence
    assert row.applies
    assert not row.obstacle
    assert row.factor <= 1
    found = reached(VALUE, row, 1e-2)
    assert found <= row.steps
    assert f"exactly {found:.6g} steps" in row.detail


def test_a_smaller_tolerance_takes_more_steps(sure):
    assert rows(certify(VALUE, tolerance=1e-4))["Theorem A"].steps > rows(sure)["Theorem A"].steps


def test_not_certified_by_a_factor_and_the_advice_to_scale_the_output_up_works(unsure):
    row = rows(unsure)["Theorem B"]
    assert unsure.sentence.startswith("Not certified, though zero loss may well be reached")
    assert "fails by a factor of" in unsure.sentence
    assert not row.applies
    assert row.factor > 1
    assert "exceeds" in row.obstacle
    assert rows(unsure)["Theorem C"].factor > 1
    advice = [one for one in unsure.advice if "make the output block" in one]
    assert f"{row.factor:.2g} times larger" in advice[0]
    larger = replace_at(JOINT, "model.output.scale", 1.1 * row.factor)
    answer = certify(larger, tolerance=0.5)
    certified = rows(answer)["Theorem B"]
    assert answer.sentence.startswith("Yes: Theorem")
    assert certified.applies
    assert certified.factor == pytest.approx(1 / 1.1, rel=1e-6)
    assert not any("make the output block" in one for one in answer.advice)
    assert reached(larger, certified, 0.5) <= certified.steps


def test_no_below_the_threshold_and_what_to_change():
    answer = certify(dataclasses.replace(VALUE, data=FullBatch(4)), tolerance=1e-3)
    row = rows(answer)["Theorem A"]
    assert answer.sentence.startswith("No: whatever the step")
    assert "rank 8, 12 is needed" in row.obstacle
    assert row.factor == pytest.approx(1.5)
    assert row.steps is None
    said = " ".join(answer.advice)
    assert "HD = 8 is below the 12 targets" in said
    assert "at least 3 heads" in said
    assert "width 6" in said


def test_repeated_tokens_make_k_singular_and_positions_are_advised():
    answer = certify(problem(task=TokenRegression(tokens=3, dim=4, duplicates=1), trained=TRAINED))
    assert answer.sentence.startswith("Not certified: the trained blocks cannot move the outputs in every direction")
    said = " ".join(answer.advice)
    assert "2 token(s) repeat another" in said
    assert "add positions" in said
    assert "not full row rank" in rows(answer)["Theorem B"].obstacle
    assert "not full row rank" in rows(answer)["Theorem C"].obstacle


def test_the_rank_of_the_tokens_is_named():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(2, 3, 2)) @ rng.normal(size=(2, 4))
    task = Arrays(Given("inputs", flat), Given("targets", rng.normal(size=(2, 3))))
    answer = certify(problem(task=task, trained=("value",)))
    assert answer.sentence.startswith("No:")
    assert any("rank r = 2, and rank(B) is at most H r = 4: take at least 3 heads" in one for one in answer.advice)
    assert not any("HD =" in one for one in answer.advice)


def test_a_bad_initial_scale_is_named_with_a_better_one(sure):
    poor = problem(trained=("value",), **{"model.query.scale": 0.05, "model.key.scale": 0.05})
    answer = certify(poor)
    assert any("start query and key at scale 0.2 instead of 0.05" in one for one in answer.advice)
    assert rows(answer)["Theorem A"].steps > rows(sure)["Theorem A"].steps


def test_theorem_a_prime_speaks_of_the_output_block():
    asked = problem(**{"model.value": Normal(1.0), "model.head_dim": 4}, trained=("output",))
    answer = certify(asked, tolerance=1e-2)
    assert answer.rows[0].name == "Theorem A'"
    assert "theorem_a_prime" in answer.rows[0].source
    assert answer.rows[0].applies
    assert reached(asked, answer.rows[0], 1e-2) <= answer.rows[0].steps


def test_a_kernel_without_bounds_is_named():
    answer = certify(problem(**{"model.attention": ReLU()}, trained=TRAINED))
    for name in ("Theorem B", "Theorem C"):
        assert "is known for ReLU" in rows(answer)[name].obstacle
        assert not rows(answer)[name].applies
    assert answer.sentence.startswith("Not certified")


def test_theorem_c_says_what_must_be_trained(sure):
    assert "query, key and value trained" in rows(sure)["Theorem C"].obstacle


def test_an_answer_is_plain_data(sure, unsure):
    for answer in (sure, unsure):
        data = answer.as_data()
        assert json.loads(json.dumps(data, allow_nan=False)) == data


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -1e-3, 2.0, math.nan])
def test_the_tolerance_lies_between_zero_and_one(tolerance):
    with pytest.raises(ValueError, match="between 0 and 1"):
        certify(VALUE, tolerance=tolerance)


def test_more_targets_than_a_dense_spectrum_is_found_for_are_refused():
    with pytest.raises(ValueError, match="at most 2048, got 2049"):
        certify(dataclasses.replace(VALUE, data=FullBatch(683)))


def test_a_single_target_is_certified_in_one_step():
    """L/mu is 1: the first step of 1 / lambda_max ends at zero."""
    one = problem(task=TokenRegression(tokens=1, dim=4), trained=("value",))
    answer = certify(dataclasses.replace(one, data=FullBatch(1)))
    assert rows(answer)["Theorem A"].steps == 1


def test_the_query_block_has_a_certificate_of_its_own_and_its_steps_are_an_upper_bound():
    near = problem(trained=("query",), task=TokenRegression(tokens=3, dim=8, target=InRange(("query",), 1e-5)))
    near = replace_at(near, "model.value", Normal(1.0))
    answer = certify(near, tolerance=0.5)
    row = rows(answer)["Query block"]
    assert answer.sentence.startswith("Yes: Query block")
    assert row.factor <= rows(answer)["Theorem B"].factor
    assert "PL bound" in row.detail
    assert reached(near, row, 0.5) <= row.steps
    assert not any("value block at zero" in one for one in answer.advice)


def test_a_query_block_of_a_kernel_without_constants_has_none():
    row = rows(certify(problem(trained=("query",), **{"model.attention": ReLU()})))["Query block"]
    assert not row.applies
    assert "here ReLU" in row.obstacle


def test_the_end_of_a_run_is_classified_where_steps_are_asked_for(sure):
    assert not sure.ending
    answer = certify(VALUE, tolerance=1e-2, steps=1)
    assert answer.ending.startswith("After 1 steps by line search: not converged")

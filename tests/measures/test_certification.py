"""Every conclusion of `certify`, what it advises, and that its steps are upper bounds of a real run's."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest

from descentlab._describe import replace_at
from descentlab.attention import ReLU, Softmax
from descentlab.data import FullBatch, Minibatch
from descentlab.given import Given
from descentlab.measures.certification import certify
from descentlab.models import Normal
from descentlab.optim import GD
from descentlab.probes import Loss
from descentlab.schedule import Every
from descentlab.tasks import Arrays, InRange, TokenRegression
from descentlab.theory.advice import advise
from descentlab.theory.certificate import rounded_down, rounded_up
from descentlab.theory.certificates import CERTIFICATES, best, rows_of
from descentlab.theory.facts import measure
from descentlab.theory.theorem_c import TRAINED
from descentlab.training import train
from support import naive
from support.problems import SMALL, in_numpy


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


def linear_problem(experiment, seed=0):
    """J and r_0 of a trained value or output block with one output a token, features by loops."""
    inputs, targets, params = in_numpy(experiment, seed)
    kernel = experiment.model.attention
    weights = naive.WEIGHTS[type(kernel)](kernel)
    heads, dim, _ = params["query"].shape
    features = naive.features(inputs, params, weights).reshape(-1, heads, dim)
    if experiment.trained == ("value",):
        jacobian = np.einsum("rhd,he->rhde", features, params["output"][:, :, 0])
    else:
        jacobian = np.einsum("rhd,hde->rhe", features, params["value"])
    outputs = np.einsum("rhd,hde,heo->ro", features, params["value"], params["output"])
    residual = outputs.ravel() - targets.ravel() / np.sqrt(len(inputs))
    return jacobian.reshape(len(residual), -1), residual


def relative_loss(jacobian, residual, step, steps):
    """f_t / f_0 of gradient descent on a linear problem."""
    left, singular, _ = np.linalg.svd(jacobian)
    eigenvalues = np.zeros(len(residual))
    eigenvalues[: len(singular)] = singular**2
    after = (left.T @ residual) * np.exp(steps * np.log1p(-np.minimum(step * eigenvalues, 1 - 1e-16)))
    return (after @ after) / (residual @ residual)


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
    assert f"with the step {row.step:.6g} brings" in sure.sentence
    assert f"within {row.steps:.6g} steps" in sure.sentence
    assert row.applies
    assert not row.obstacle
    assert row.factor <= 1
    found = reached(VALUE, row, 1e-2)
    assert found <= row.steps
    assert f"exactly {found:.6g} steps" in row.detail


def test_a_smaller_tolerance_takes_more_steps(sure):
    assert rows(certify(VALUE, tolerance=1e-4))["Theorem A"].steps > rows(sure)["Theorem A"].steps


def test_not_certified_by_a_factor(unsure):
    row = rows(unsure)["Theorem B"]
    assert unsure.sentence.startswith("Not certified, though zero loss may well be reached")
    said = float(re.search(r"fails by a factor of (\S+)\.", unsure.sentence)[1])
    assert row.factor <= said < 1.01 * row.factor
    assert not row.applies
    assert row.factor > 1
    assert "exceeds" in row.obstacle
    assert rows(unsure)["Theorem C"].factor > 1


def test_a_certified_run_takes_no_more_steps_than_the_theorem_says():
    facts = measure(JOINT, 0, CERTIFICATES)
    (advice,) = [one for one in advise(facts, 0.5) if "make the output block" in one.text]
    row = rows(certify(advice.experiment, tolerance=0.5))["Theorem B"]
    assert row.applies
    assert reached(advice.experiment, row, 0.5) <= row.steps


def test_no_below_the_threshold_and_what_to_change():
    below = dataclasses.replace(VALUE, data=FullBatch(4))
    answer = certify(below, tolerance=1e-3)
    row = rows(answer)["Theorem A"]
    assert answer.sentence.startswith("No: whatever the step")
    assert "rank 8, 12 is needed" in row.obstacle
    assert row.factor == pytest.approx(1.5)
    assert row.steps is None
    assert re.match(r"K has rank 8 of 12: take [34] heads", " ".join(answer.advice))
    said = float(re.search(r"below (\S+) f_0", answer.sentence)[1])
    jacobian, residual = linear_problem(below)
    left = jacobian @ np.linalg.lstsq(jacobian, residual)[0] - residual
    assert 0.99 * (left @ left) < said * (residual @ residual) <= left @ left


def test_repeated_tokens_make_k_singular_and_other_tokens_are_advised():
    repeated = TokenRegression(tokens=3, dim=4, duplicates=1)
    answer = certify(problem(task=repeated, trained=TRAINED))
    assert answer.sentence.startswith("Not certified: the trained blocks cannot move the outputs in every direction")
    assert "2 token(s) repeat another of their sample" in answer.advice[0]
    assert "task.duplicates 0" in answer.advice[0]
    assert "not full row rank" in rows(answer)["Theorem B"].obstacle
    assert "not full row rank" in rows(answer)["Theorem C"].obstacle
    inputs, targets, _ = in_numpy(problem(task=repeated))
    arrays = Arrays(Given("inputs", inputs), Given("targets", targets))
    assert "add positions" in certify(problem(task=arrays, trained=TRAINED)).advice[0]


def test_dependent_tokens_are_below_the_tolerance_and_more_heads_are_advised():
    """Tokens of rank 2 but for rounding: that nothing can be reached is not proved."""
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(2, 3, 2)) @ rng.normal(size=(2, 4))
    task = Arrays(Given("inputs", flat), Given("targets", rng.normal(size=(2, 3))))
    answer = certify(problem(task=task, trained=("value",)))
    assert answer.sentence.startswith("Not applicable: 2 of 6 singular values of the Jacobian lie below")
    assert "take 3 heads (model.heads 3, model.head_dim 2): K then has full rank" in answer.advice[0]


def test_a_bad_initial_scale_is_named_with_a_better_one(sure):
    poor = problem(trained=("value",), **{"model.query.scale": 0.05, "model.key.scale": 0.05})
    answer = certify(poor)
    assert any("start query and key at scale 0.2 instead of 0.05: L/mu falls" in one for one in answer.advice)
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


# What is said, held against NumPy and against itself, over many small instances of a few structures.

SEEDS = range(12)
WIDE = {"model.value": Normal(1.0), "model.head_dim": 2}
ASKED = {
    "value": problem(trained=("value",)),
    "value, softmax": problem(**{"model.attention": Softmax()}, trained=("value",)),
    "value, small scale": problem(**{"model.query.scale": 0.05, "model.key.scale": 0.2}, trained=("value",)),
    "output below its threshold": problem(**WIDE, trained=("output",)),
    "output, of values that are zero": problem(trained=("output",)),
    "query, key and value": problem(**WIDE, trained=TRAINED),
    "all blocks": problem(**WIDE, trained=(*TRAINED, "output")),
    "query": problem(**WIDE, trained=("query",), data=FullBatch(4)),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_every_advice_achieves_what_it_says(asked):
    given = 0
    for seed in SEEDS:
        before = measure(asked, seed, CERTIFICATES)
        for advice in advise(before, 1e-3):
            given += 1
            after = measure(advice.experiment, seed, CERTIFICATES)
            row = best(rows_of(after, 1e-3))
            if "then certifies" in advice.text:
                said = f"{row.name} then certifies the step {row.step:.6g}, {row.steps:.6g} steps at most"
                assert said in advice.text
            if "full rank" in advice.text:
                assert before.rank < before.rows
                assert after.rank == after.rows
            if "L/mu falls" in advice.text:
                assert after.condition < 0.8 * before.condition
            if "make the output block" in advice.text:
                assert after.constants["b"]["ratio"] <= 1
                assert row is not None
            if after.linear and after.experiment.model.output_dim == 1:
                singular = np.linalg.svd(linear_problem(advice.experiment, seed)[0], compute_uv=False)
                said = float(re.search(r"L/mu (?:falls from \S+ to )?(\d\S*\d)", advice.text)[1])
                assert said == pytest.approx((singular[0] / singular[-1]) ** 2, rel=6e-3)
    assert given or asked.trained == ("query",)


def test_where_nothing_can_move_the_block_that_is_zero_is_named():
    answer = certify(ASKED["output, of values that are zero"])
    assert answer.sentence == "No: whatever the step, the loss cannot fall below 1 f_0 with these blocks trained."
    assert answer.advice[0].startswith("start the block value at scale 1 instead of zero, and K has rank 4 of 6: take")


def test_training_the_query_alone_gets_no_advice_on_the_rank_of_the_features():
    """HD = 8 is below the 12 targets, but the Jacobian of the query block has 16 columns."""
    found = [measure(ASKED["query"], seed, CERTIFICATES) for seed in SEEDS]
    assert any(one.rank == one.rows for one in found)
    for one in found:
        assert one.rank < one.rows or not any("heads" in advice.text for advice in advise(one, 1e-3))


@pytest.mark.parametrize("asked", [ASKED["value"], ASKED["value, softmax"]], ids=["gaussian", "softmax"])
def test_the_step_and_the_steps_that_are_said_suffice(asked):
    """The numbers of the sentence are those that are printed, not those behind them."""
    for seed in SEEDS:
        sentence = certify(asked, seed=seed).sentence
        said = re.search(r"the step (\S+) brings the loss to 1e-10 f_0 within (\S+) steps\.$", sentence)
        step, steps = map(float, said.groups())
        jacobian, residual = linear_problem(asked, seed)
        assert step <= 1 / np.linalg.norm(jacobian, 2) ** 2
        assert relative_loss(jacobian, residual, step, steps) <= 1e-10


def close_tokens(gap):
    """One sample of two tokens that far apart; the value block of two heads is trained."""
    rng = np.random.default_rng(3)
    token = rng.normal(size=4)
    inputs = np.stack([token, token + gap * rng.normal(size=4)])[None]
    task = Arrays(Given("inputs", inputs), Given("targets", np.asarray([[1.0, -1.0]])))
    return dataclasses.replace(VALUE, task=task, data=FullBatch(1))


def test_tokens_that_hardly_differ_are_certified_in_finitely_many_steps_that_no_computer_makes():
    answer = certify(close_tokens(1e-9))
    row = rows(answer)["Theorem A"]
    assert answer.sentence.startswith("Yes, but no computer gets there: Theorem A")
    assert "inf" not in f"{answer.sentence} {row.detail}"
    about = float(re.search(r"about (\S+) steps", row.detail)[1])
    assert 1e15 < about <= row.steps < 2 * about
    jacobian, residual = linear_problem(close_tokens(1e-9))
    # The smallest eigenvalue is known to 2 x 16 eps sigma_max / sigma_min, a few millionths.
    assert relative_loss(jacobian, residual, row.step, 1.0001 * about) <= 1e-10
    assert relative_loss(jacobian, residual, row.step, 0.9999 * about) > 1e-10


def test_below_the_rank_tolerance_nothing_is_said_to_be_impossible():
    answer = certify(close_tokens(1e-12))
    assert answer.sentence.startswith("Not applicable: 1 of 2 singular values of the Jacobian lie below")
    assert "cannot be told from 0" in rows(answer)["Theorem A"].obstacle
    assert "if they are 0" in rows(answer)["Theorem A"].detail
    assert certify(close_tokens(0.0)).sentence.startswith("No: whatever the step")


def test_a_run_in_single_precision_is_certified_in_double():
    """Two tokens of each of two samples repeat another: six of eight rows differ."""
    repeated = TokenRegression(tokens=4, dim=4, duplicates=1)
    for precision in ("float32", "float64"):
        facts = measure(problem(task=repeated, trained=("value",), precision=precision), 0, CERTIFICATES)
        assert facts.singular.dtype == np.float64
        assert (facts.rank, facts.rows, facts.possible) == (6, 8, 6)
        assert facts.certain_floor > 1e-6
        assert facts.constants["b"]["ratio"] == math.inf


def test_a_loss_of_zero_needs_no_training_and_one_that_overflows_is_refused():
    quiet = dataclasses.replace(VALUE, task=dataclasses.replace(VALUE.task, target=InRange(("value",), 0.0)))
    answer = certify(quiet)
    assert answer.sentence == "The loss is zero at the start: there is nothing to train."
    assert not answer.advice
    rng = np.random.default_rng(0)
    huge = Arrays(Given("inputs", rng.normal(size=(2, 3, 4))), Given("targets", 1e200 * rng.normal(size=(2, 3))))
    with pytest.raises(ValueError, match="the loss at the start must be finite, got inf"):
        certify(problem(task=huge, trained=("value",)))


@pytest.mark.parametrize(
    ("change", "said"),
    [({"data": Minibatch(2, samples=4)}, "for a FullBatch, got Minibatch"), ({"origin": VALUE}, "with an origin")],
)
def test_runs_that_theorems_do_not_speak_of_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        certify(dataclasses.replace(VALUE, **change))


@pytest.mark.parametrize("value", [0.14681553307, 1.0, 2.5e-17, 999999.5, 10736231.0])
def test_numbers_are_rounded_to_the_safe_side(value):
    for digits in (1, 2, 3, 6):
        down, up = rounded_down(value, digits), rounded_up(value, digits)
        assert down <= value <= up
        assert up - down <= 10.0 ** (math.floor(math.log10(value)) - digits + 1) * (1 + 1e-9)
        assert float(f"{down:.{digits}g}") == down
        assert float(f"{up:.{digits}g}") == up

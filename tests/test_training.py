"""The loop: segments, schedules, lanes, ends of a run."""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab._tree import named
from descentlab.attention import Gaussian, Softmax
from descentlab.lanes import Lanes
from descentlab.models import Normal
from descentlab.optim import GD, Momentum
from descentlab.probes import AbstractProbe, Distance, GradientNorm, GramSpectrum, Loss, Parameters, StepSize
from descentlab.schedule import AbstractSchedule, At, Every, LogSpaced
from descentlab.status import Status
from descentlab.training import advance, prepare, train, trajectories
from support.problems import LAYER, SMALL, VALUE_ONLY, point_of, run, started
from support.rounding import rounding

RECORDED = dataclasses.replace(
    SMALL,
    optimizer=Momentum(0.05, 0.5),
    probes={
        "loss": Loss(Every()),
        "sparse": Loss(LogSpaced(3)),
        "some": Loss(At((0, 5, 9))),
        "gradient": GradientNorm(Every(4)),
        "distance": Distance(Every()),
        "step_size": StepSize(Every()),
        "parameters": Parameters(At((0, 12))),
        "gram": GramSpectrum(Every(6)),
    },
)


def bits(trajectory):
    records = {name: one.values for name, one in trajectory.series.items()} | dict(trajectory.final)
    return {name: array.tobytes() for name, array in records.items()}


@pytest.fixture(scope="module")
def whole():
    return run([RECORDED, RECORDED], [0, 1])


@pytest.fixture(scope="module")
def diverging():
    """Three rates in one program: one that is fine, one that is far too large, another that is fine."""
    lanes = [dataclasses.replace(VALUE_ONLY, optimizer=GD(lr)) for lr in (0.1, 1e40, 0.05)]
    return run(lanes)


@pytest.mark.parametrize("cuts", [(1,), (5, 6, 11), (12,), tuple(range(1, 13))], ids=str)
def test_cutting_a_run_into_segments_leaves_its_bits(whole, cuts):
    for one, other in zip(whole, run([RECORDED, RECORDED], [0, 1], cuts), strict=True):
        assert bits(one) == bits(other)


def test_the_same_program_and_key_give_the_same_bits(whole):
    again = run([RECORDED, RECORDED], [0, 1])
    assert [bits(one) for one in whole] == [bits(one) for one in again]
    assert bits(whole[0]) != bits(whole[1])


def test_a_sparse_schedule_records_what_a_dense_one_does(whole):
    for one in whole:
        dense = one["loss"]
        assert dense.steps.tolist() == list(range(13))
        for name in ("sparse", "some"):
            sparse = one[name]
            np.testing.assert_array_equal(sparse.values, dense.values[:, sparse.steps])
        assert one["some"].steps.tolist() == [0, 5, 9]
        assert one["gradient"].steps.tolist() == [0, 4, 8, 12]


def test_recorded_numbers_belong_to_their_step(whole):
    one = whole[0]
    assert one["distance"].entries("block") == ("query", "key", "value", "output")
    assert not np.any(one["distance"].at(0))
    assert np.all(one["distance"].at(1) > 0)
    assert np.isnan(one["step_size"].values[0, 0])
    assert np.all(one["step_size"].values[0, 1:] == 0.05)
    flat = np.concatenate([block[0].ravel() for block in one.final.values()])
    np.testing.assert_array_equal(one["parameters"].at(12)[0], flat)
    start = one["parameters"].at(0)[0]
    pieces = np.split(flat - start, np.cumsum([block[0].size for block in one.final.values()])[:-1])
    expected = [np.linalg.norm(piece) for piece in pieces]
    np.testing.assert_allclose(one["distance"].at(12)[0], expected, rtol=1e-12)


def test_probes_leave_the_run_as_it_is(whole):
    bare = run([dataclasses.replace(RECORDED, probes={"loss": Loss(At((0,)))})] * 2, [0, 1])
    for one, other in zip(whole, bare, strict=True):
        for name, block in one.final.items():
            assert block.tobytes() == other.final[name].tobytes()


@pytest.mark.usefixtures("float64")
def test_only_trained_blocks_move_and_the_loss_is_that_of_the_start_with_them():
    one = run([VALUE_ONLY])[0]
    objective, params = started(VALUE_ONLY)
    assert tuple(one.final) == ("query", "key", "value", "output")
    for name, array in named(objective.frozen).items():
        # The same draw in two programs, each with an inverse error function of some thirty operations.
        np.testing.assert_allclose(one.final[name][0], array, rtol=rounding(30))
    assert not np.array_equal(one.final["value"][0], params.value)
    moved = jax.tree.map(lambda _: jnp.asarray(one.final["value"][0]), params)
    np.testing.assert_allclose(one["loss"].values[0, -1], objective.loss(moved), rtol=1e-12)
    assert one["loss"].values[0, -1] < one["loss"].values[0, 0]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kernel", [Softmax(), Gaussian(0.5)], ids=["softmax", "gaussian"])
def test_a_frozen_block_costs_no_gradient(kernel):
    def work(trained):
        layer = dataclasses.replace(LAYER, attention=kernel)
        point = point_of(dataclasses.replace(SMALL, model=layer, trained=trained))
        held = {name for name in ("query", "key", "value", "output") if getattr(point.gradient, name) is not None}
        assert held == set(trained)
        return _exponentials_and_squares(jax.make_jaxpr(jax.grad(point.objective.loss))(point.params).jaxpr)

    def forward():
        point = point_of(dataclasses.replace(SMALL, model=dataclasses.replace(LAYER, attention=kernel)))
        return _exponentials_and_squares(jax.make_jaxpr(point.objective.loss)(point.params).jaxpr)

    assert work(("value",)) == forward()
    assert work(("query", "value")) > forward()


def _exponentials_and_squares(jaxpr):
    """How many entrywise operations make a (..., token, token) array: what deriving through S adds to."""
    total = 0
    for equation in jaxpr.eqns:
        square = any(getattr(out.aval, "shape", ())[-2:] == (3, 3) for out in equation.outvars)
        total += square and equation.primitive.name in ("exp", "mul", "div", "sub", "neg")
        for inner in equation.params.values():
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                total += _exponentials_and_squares(inner)
    return total


def test_a_lane_that_diverges_ends_alone(diverging):
    fine, lost, other = diverging
    assert fine.status == other.status == (Status.FINISHED,)
    assert fine.ended == other.ended == (-1,)
    assert lost.status == (Status.DIVERGED,)
    losses, ended = lost["loss"].values[0], lost.ended[0]
    assert 0 < ended < 12
    assert np.all(np.isfinite(losses[:ended]))
    assert not np.isfinite(losses[ended])
    assert np.all(np.isnan(losses[ended + 1 :]))
    assert np.all(np.diff(fine["loss"].values[0]) < 0)


def test_lanes_agree_with_runs_of_their_own(diverging):
    for lr, lane in ((0.1, diverging[0]), (0.05, diverging[2])):
        alone = run([dataclasses.replace(VALUE_ONLY, optimizer=GD(lr))])[0]
        np.testing.assert_allclose(lane["loss"].values, alone["loss"].values, rtol=1e-12)
        np.testing.assert_allclose(lane.final["value"], alone.final["value"], rtol=1e-10)


@pytest.mark.parametrize("together", [None, 1, 2])
def test_lanes_that_wait_their_turn_agree_with_lanes_that_step_together(monkeypatch, together):
    lanes = [dataclasses.replace(RECORDED, optimizer=GD(lr)) for lr in (0.1, 1e200, 0.05, 0.02)]
    expected = run(lanes)
    module = sys.modules["descentlab.training"]
    monkeypatch.setattr(module, "_together", lambda lane_bytes, lanes: together)
    found, cut = run(lanes), run(lanes, cuts=(1, 5))
    for one, other, again in zip(expected, found, cut, strict=True):
        assert (one.status, one.ended) == (other.status, other.ended)
        assert bits(other) == bits(again)
        np.testing.assert_allclose(other["loss"].values, one["loss"].values, rtol=1e-11)
        np.testing.assert_allclose(other.final["query"], one.final["query"], rtol=1e-9, atol=1e-12)
    assert [one.status[0] for one in found].count(Status.DIVERGED) == 1


def test_as_many_lanes_step_together_as_fit_and_divide_the_batch(monkeypatch):
    module = sys.modules["descentlab.training"]
    monkeypatch.setattr(module, "TOGETHER_BYTES", 5 * 800)
    assert [module._together(800, n) for n in (1, 4, 5, 7, 12)] == [1, 4, 5, 1, 4]
    monkeypatch.setattr(module, "TOGETHER_BYTES", 1)
    assert module._together(800, 12) is None


def test_a_kernel_and_a_start_may_differ_in_their_floats():
    layers = [dataclasses.replace(LAYER, attention=Gaussian(c), value=Normal(s)) for c, s in ((0.5, 1.0), (0.2, 0.3))]
    lanes = run([dataclasses.replace(SMALL, model=layer, steps=2) for layer in layers])
    with jax.enable_x64(True):
        for layer, lane in zip(layers, lanes, strict=True):
            point = point_of(dataclasses.replace(SMALL, model=layer))
            np.testing.assert_allclose(lane["loss"].values[0, 0], point.loss, rtol=1e-12)


def test_other_structures_are_refused():
    longer = dataclasses.replace(SMALL, steps=13)
    with pytest.raises(ValueError, match="floats only"):
        Lanes((SMALL, longer), (0, 1))
    with pytest.raises(ValueError, match="one seed an experiment"):
        Lanes((SMALL,), (0, 1))
    with pytest.raises(ValueError, match="one seed an experiment"):
        Lanes((), ())


def test_single_precision_is_single_throughout():
    short = dataclasses.replace(SMALL, precision="float32", steps=3)
    lanes = Lanes((short,), (0,))
    constants, carry = prepare(lanes)
    for leaf in jax.tree.leaves((constants.objective, constants.start, carry)):
        assert leaf.dtype.itemsize <= 4
    single = trajectories(lanes, constants, advance(lanes, constants, carry, 0, 4))[0]
    assert single["loss"].values.dtype == np.float32
    assert np.all(np.diff(single["loss"].values[0]) < 0)


def test_a_run_of_no_steps_records_its_start():
    still = dataclasses.replace(SMALL, steps=0, probes={"loss": Loss(), "every": Loss(Every())})
    one = train(still, 1)
    assert one["loss"].steps.tolist() == [0]
    assert one["loss"].values.shape == one["every"].values.shape == (1, 1)
    assert one.finished.all()
    with jax.enable_x64(True):
        np.testing.assert_allclose(one["loss"].values[0, 0], point_of(SMALL).loss, rtol=1e-12)


class Traced(AbstractProbe):
    """Counts how often it is traced."""

    when: AbstractSchedule = Every()
    seen = []

    def __call__(self, point):
        self.seen.append(None)
        return point.loss


def test_another_rate_or_seed_compiles_nothing():
    counting = dataclasses.replace(SMALL, probes={"loss": Traced()}, steps=4)
    first = run([counting])[0]
    seen = len(Traced.seen)
    assert seen > 0
    second = run([dataclasses.replace(counting, optimizer=GD(0.2))], [3])[0]
    assert len(Traced.seen) == seen
    assert not np.array_equal(first["loss"].values, second["loss"].values)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux limits memory maps")
def test_programs_of_earlier_structures_are_dropped_before_a_process_runs_out_of_maps(monkeypatch):
    """What two structures more leave behind, with room for all and with room for one."""

    def left(first_steps: int) -> int:
        train(dataclasses.replace(SMALL, steps=first_steps))
        before = maps()
        for steps in (first_steps + 1, first_steps + 2):
            train(dataclasses.replace(SMALL, steps=steps))
        return maps() - before

    def maps() -> int:
        return Path("/proc/self/maps").read_bytes().count(b"\n")

    kept = left(21)
    monkeypatch.setattr(sys.modules["descentlab.training"], "MAPS_SHARE", 0.0)
    assert left(31) < kept / 2


def test_what_is_wrong_is_said_before_anything_is_compiled():
    with pytest.raises(ValueError, match="there is no parameter 'keys' here; did you mean key"):
        train(dataclasses.replace(SMALL, trained=("keys",)))
    with pytest.raises(ValueError, match="Experiment.steps"):
        dataclasses.replace(SMALL, steps=-1)
    with pytest.raises(ValueError, match="at least one probe"):
        dataclasses.replace(SMALL, probes={})

"""Promises of theorems are held against runs in double precision only, and errors of eigenvalues count."""

import numpy as np
import pytest

from descentlab import Experiment
from descentlab.probes import Axis, GramSpectrum
from descentlab.runs import Run, Runs
from descentlab.status import Status
from descentlab.theory.certificate import Certified
from descentlab.theory.lipschitz_search import LipschitzSearch
from descentlab.theory.soundness import Promises, certified
from descentlab.theory.theorem_b import TheoremB, TheoremBConstants
from descentlab.trajectory import Series, Trajectory

LANES, STEPS = 40, np.arange(4)


def trajectory(dtype, smallest=1.0, error=1e-12, ratio=0.5):
    """Lanes that fall to a third a step, at K = 1 with steps of a half, certified by Theorem B."""

    def series(values, axes=(), steps=STEPS):
        return Series(steps, np.asarray(values, dtype), axes)

    def every(*values):
        return np.broadcast_to(np.asarray(values), (LANES, len(STEPS), len(values)))

    own = {"ratio": ratio, "step": 0.5, "reach": 10.0, "kept": 0.5}
    constants = dict.fromkeys(TheoremBConstants._fields, 1.0) | own
    axes = Certified(certificate=TheoremB()).axes(None)
    losses = np.broadcast_to(3.0**-STEPS, (LANES, len(STEPS)))
    found = {
        "loss": series(losses),
        "step_size": series(np.full_like(losses, 0.5)),
        "gram": series(every(smallest, 1.0, error, error, 1.0), GramSpectrum().axes(None)),
        "distance": series(every(1.0), (Axis("block", ("value",)),)),
        "b": series(
            np.broadcast_to(list(constants.values()), (LANES, 1, len(constants))),
            axes,
            STEPS[:1],
        ),
        "search": series(np.broadcast_to([0.5, 1.0], (LANES, 1, 2)), LipschitzSearch().axes(None), STEPS[:1]),
    }
    final = {"value": np.zeros((LANES, 2), dtype)}
    return Trajectory(tuple(range(LANES)), found, final, (Status.FINISHED,) * LANES, (-1,) * LANES)


def verdicts(claims):
    return {claim.id.split("-")[1]: claim.verdict for claim in claims}


def test_in_double_precision_they_hold():
    run = trajectory(np.float64)
    assert certified(run, TheoremB()).all()
    assert set(verdicts(TheoremB().promises("k", [run])).values()) == {"holds"}


def test_in_single_precision_they_are_not_applicable():
    run = trajectory(np.float32)
    assert not certified(run, TheoremB()).any()
    for claim in TheoremB().promises("k", [run]):
        assert claim.verdict == "not applicable"
        assert "float32" in claim.detail
        assert not claim.checked


@pytest.mark.parametrize(("error", "verdict"), [(1e-12, "fails"), (0.3, "undecided")])
def test_a_smallest_eigenvalue_counts_with_its_error(error, verdict):
    """sigma_min must stay above a half, so the eigenvalue above a quarter."""
    assert verdicts(TheoremB().promises("k", [trajectory(np.float64, 0.2, error)]))["rank"] == verdict


def test_lanes_that_reached_what_they_ran_for_are_judged_up_to_there():
    run = trajectory(np.float64)
    gone = {name: run[name].values.copy() for name in ("loss", "step_size", "gram", "distance")}
    for values in gone.values():
        values[:, 3:] = np.nan
    series = {**run.series, **{name: Series(STEPS, values, run[name].axes) for name, values in gone.items()}}
    ended = Trajectory(run.seeds, series, run.final, (Status.REACHED,) * LANES, (2,) * LANES)
    claims = TheoremB().promises("k", [ended])
    assert set(verdicts(claims).values()) == {"holds"}
    assert {claim.id: claim.checked for claim in claims}["b-distance-k"] == 3 * LANES


def test_promises_are_statements_about_a_family_of_every_case():
    families = {"some": [Run(Experiment(), trajectory(np.float64))]}
    seen = {"softmax": Runs({}), "gaussian": Runs(families)}
    claims = Promises(TheoremB(), "some").claims(seen, list(seen), seen.__getitem__)
    assert {claim.case for claim in claims} == {"gaussian"}
    assert verdicts(claims) == verdicts(TheoremB().promises("gaussian", [trajectory(np.float64)]))
    assert Promises(TheoremB(), "others").claims(seen, list(seen), seen.__getitem__) == []

"""What width buys when the value block alone is trained: steps by the modal formula, and real runs."""

import numpy as np

from descentlab.claims import About, Claim, at_most, below, claim, not_applicable
from descentlab.runs import Family, Run
from descentlab.statistics import ratio_of_medians
from descentlab.studies.song2024_convergence.experiments import SHAPE
from descentlab.theory.modes import recorded_modes, steps_to
from descentlab.theory.soundness import of_double

__all__ = ["STATEMENTS"]

SOURCE = "Song et al. 2024, large embedding dimension; Theorem A"
TOLERANCE = 1e-6


def _steps(run: Run) -> np.ndarray:
    """Predicted steps to a relative loss of 1e-6, by lane."""
    sizes = run.trajectory["step_size"].values[:, -1]
    return np.asarray(
        [steps_to(s, eta, TOLERANCE) for s, eta in zip(recorded_modes(run.trajectory), sizes, strict=True)]
    )


def _steps_of(runs: Family, *shapes: tuple[int, int]) -> list[np.ndarray]:
    """Those of the given shapes, as far as they were run."""
    known = runs.by(*SHAPE)
    return [_steps(known[shape][0]) for shape in shapes if shape in known]


UNMEASURED = "not all shapes that it compares are part of this size"


@claim(
    "width-heads-{case}",
    "At HD = 4 Nn with four heads the median steps to 1e-6 are at most 1/100 of those at HD = Nn",
    SOURCE,
)
def heads(about: About, runs: Family) -> Claim:
    """What width buys with several heads."""
    found = _steps_of(runs, (4, 20), (2, 10))
    if len(found) < 2:
        return not_applicable(about, UNMEASURED)
    fast, slow = found
    about = about.noting(f"Median steps {np.median(fast):.3g} against {np.median(slow):.3g}.")
    return at_most(about, ratio_of_medians(fast, slow), 0.01)


@claim(
    "width-one-head-{case}",
    "One wide head does not buy that speed: at HD = 4 Nn it takes over 100 times the steps of four heads",
    SOURCE,
)
def one_head(about: About, runs: Family) -> Claim:
    """What width buys with a single head."""
    found = _steps_of(runs, (4, 20), (1, 80))
    if len(found) < 2:
        return not_applicable(about, UNMEASURED)
    fast, single = found
    about = about.noting(f"Median steps {np.median(single):.3g} with one head against {np.median(fast):.3g} with four.")
    return below(about, ratio_of_medians(fast, single), 0.01)


@claim(
    "width-runs-{case}",
    "Real runs cross 1e-6 where the formula says, within the cap of recorded steps",
    "Theorem A",
)
def confirmed(about: About, runs: Family) -> Claim:
    """Every lane that the formula says arrives within the recorded steps does so, between the same two records."""
    early, late, beyond = [], [], 0
    for run in runs:
        loss = run.trajectory["loss"]
        relative = loss.values / loss.values[:, :1]
        for lane, steps in enumerate(_steps(run)):
            if not steps < loss.steps[-1]:
                beyond += 1
                continue
            after = int(np.searchsorted(loss.steps, steps))
            early.append(relative[lane, after - 1] if loss.steps[after] > 0 else np.inf)
            late.append(relative[lane, after])
    about = about.noting(f"{beyond} lanes are predicted beyond the cap: not reached.")
    crossing = np.asarray([*np.asarray(late) / TOLERANCE, *TOLERANCE / np.asarray(early)])
    return of_double(runs.trajectories, at_most(about, crossing, 1.0, slack=1e-6))


STATEMENTS = (heads, one_head, confirmed)

"""Will gradient descent train this? The certificates evaluated on a user's own weights and data."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from descentlab._check import counted
from descentlab.experiment import MOST_STEPS, Experiment
from descentlab.lanes import MOST_SEED
from descentlab.mistake import Mistake
from descentlab.optim import Armijo
from descentlab.probes import Loss
from descentlab.probes.spectra import RANK_TOLERANCE
from descentlab.runs import Run
from descentlab.schedule import At
from descentlab.theory.advice import advise
from descentlab.theory.certificate import AbstractCertificate, CertificateRow, rounded_down, rounded_up
from descentlab.theory.certificates import CERTIFICATES, best, rows_of
from descentlab.theory.endings import EndState, in_words
from descentlab.theory.facts import Facts, measure
from descentlab.theory.full_batch import full_batch
from descentlab.training import train

__all__ = ["Certification", "CertificateRow", "certify"]

NEVER = 1e15
"""More steps than this take thirty years at a million a second."""


@dataclasses.dataclass(frozen=True)
class Certification:
    """What the certificates conclude.

    Attributes:
        sentence: the conclusion.
        rows: one a certificate.
        advice: what to change, and what that achieves.
        ending: what kind of point a run ends at; empty where none was made.
    """

    sentence: str
    rows: list[CertificateRow]
    advice: list[str]
    ending: str = ""

    def as_data(self) -> dict[str, Any]:
        """The certification as JSON-compatible data; a value that is not finite is `None`."""
        data = dataclasses.asdict(self)
        for row in data["rows"]:
            row |= {k: None for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)}
        return data


def _sentence(facts: Facts, rows: list[CertificateRow], tolerance: float) -> str:
    """The conclusion."""
    if facts.loss == 0:
        return "The loss is zero at the start: there is nothing to train."
    row = best(rows)
    if row is not None and row.steps is not None:
        yes = "Yes" if row.steps <= NEVER else "Yes, but no computer gets there"
        return (
            f"{yes}: {row.name} certifies that gradient descent with the step {row.step:.6g} brings the loss to "
            f"{tolerance:g} f_0 within {row.steps:.6g} steps."
        )
    if facts.rank < facts.rows:
        return _singular(facts, tolerance)
    closest = min((row for row in rows if row.factor), key=lambda row: row.factor or math.inf, default=None)
    how = ""
    if closest is not None and closest.factor is not None:
        how = f"; the closest, {closest.name}, fails by a factor of {rounded_up(closest.factor, 3):.3g}"
    return f"Not certified, though zero loss may well be reached: no certificate applies{how}."


def _singular(facts: Facts, tolerance: float) -> str:
    """What is said where K has not full rank: only what algebra forces is a fact, the rest is below the tolerance."""
    if facts.rank != facts.possible:
        return (
            f"Not applicable: {facts.rows - facts.rank} of {facts.rows} singular values of the Jacobian lie below the "
            f"rank tolerance, {RANK_TOLERANCE:g} of the largest, where certificates say nothing."
        )
    if facts.linear and facts.certain_floor > tolerance:
        floor = rounded_down(facts.certain_floor, 3)
        return f"No: whatever the step, the loss cannot fall below {floor:.3g} f_0 with these blocks trained."
    return "Not certified: the trained blocks cannot move the outputs in every direction (K is singular)."


def _ending(experiment: Experiment, seed: int, steps: int) -> str:
    """What kind of point a run by line search ends at, in words."""
    run = experiment.changed({"probes": {"loss": Loss(At((0, steps)))}, "steps": steps, "optimizer": Armijo()})
    seen = Run(run, train(run, (seed,))).look(EndState())
    return f"After {steps} steps by line search: {in_words(seen, 0)}."


def certify(
    experiment: Experiment,
    *,
    seed: int = 0,
    tolerance: float = 1e-10,
    steps: int = 0,
    certificates: Sequence[AbstractCertificate] = CERTIFICATES,
) -> Certification:
    """Evaluate every certificate at the start of an experiment; without training, unless steps are asked for.

    Args:
        experiment: what would be trained on all of its examples at each step; its optimizer, probes and steps do not
            matter. Constants are found in double precision at the weights and data of the experiment's own precision.
        seed: of data and initial weights.
        tolerance: the relative loss f / f_0 to which steps are predicted.
        steps: of a run by line search whose end state is classified; 0 makes none.
        certificates: what is evaluated, as far as it speaks of the model and its trained blocks.

    Returns:
        The conclusion in a sentence, one row a certificate, and what to change.

    Raises:
        Mistake: if the tolerance is not in (0, 1), no certificate speaks of the model, the experiment
            is not on the full batch or starts from the end of another, it has more targets than a dense spectrum is
            found for, or its loss at the start is not a finite number.
    """
    if not 0 < tolerance < 1:
        raise Mistake(f"the tolerance must lie between 0 and 1, got {tolerance:g}")
    counted("steps", steps, MOST_STEPS)
    counted("seed", seed, MOST_SEED)
    full_batch(experiment.data, "certificates")
    if experiment.origin is not None:
        raise Mistake("certificates are for a start that is drawn or given, got an experiment with an origin")
    facts = measure(experiment, seed, certificates)
    if not facts.certificates:
        names = ", ".join(one.name for one in certificates)
        raise Mistake(
            f"no certificate speaks of {type(experiment.model).__name__} with these blocks trained, of {names}; "
            "give one of your own in `certificates`, or register a bound with theory.lipschitz.jacobian_lipschitz"
        )
    rows = rows_of(facts, tolerance)
    advice = [one.text for one in advise(facts, tolerance)]
    ending = _ending(experiment, seed, steps) if steps else ""
    return Certification(_sentence(facts, rows, tolerance), rows, advice, ending)

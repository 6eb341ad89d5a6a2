"""Will gradient descent train this? The certificates evaluated on a user's own weights and data."""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import numpy as np

from descentlab._check import counted
from descentlab._describe import replace_at
from descentlab.experiment import MOST_STEPS, Experiment
from descentlab.experiment import start as begin
from descentlab.models import AttentionLayer, Normal
from descentlab.optim import GD, Armijo
from descentlab.probes import FeatureSpectrum, Loss, ModalSpectrum, TokenRank
from descentlab.schedule import At
from descentlab.theory.endings import classify_ends, in_words
from descentlab.theory.query_block import QueryBlock
from descentlab.theory.theorem_a import condition_number, least_squares_floor, steps_to
from descentlab.theory.theorem_b import TheoremB
from descentlab.theory.theorem_c import TRAINED, TheoremC
from descentlab.train import MOST_SEED, Lanes, advance, prepare, train, trajectories
from descentlab.trajectory import Trajectory

__all__ = ["Certification", "Row", "certify"]

LARGEST = 2048
"""Rows of a Jacobian whose dense spectrum is still found; a certificate takes no other."""

TRIED = (0.25, 0.5, 2.0, 4.0)
"""Factors on the initial scale of query and key that are tried for better conditioning."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One certificate's answer.

    Attributes:
        name: the theorem.
        source: where it is proved.
        applies: whether its assumptions hold here.
        obstacle: the assumption that fails, in words; empty where it applies.
        factor: how many times too large the decisive quantity is; at most 1 where it applies.
        step: the largest admissible step size.
        steps: predicted number of steps to the tolerance, an upper bound.
        detail: the constants.
    """

    name: str
    source: str
    applies: bool
    obstacle: str = ""
    factor: float | None = None
    step: float | None = None
    steps: float | None = None
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Certification:
    """What the certificates conclude.

    Attributes:
        sentence: the conclusion.
        rows: one a certificate.
        advice: what to change.
        ending: what kind of point a run ends at; empty where none was made.
    """

    sentence: str
    rows: list[Row]
    advice: list[str]
    ending: str = ""

    def as_data(self) -> dict[str, Any]:
        """The certification as JSON-compatible data; a value that is not finite is `None`."""
        data = dataclasses.asdict(self)
        for row in data["rows"]:
            row |= {k: None for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)}
        return data


@dataclasses.dataclass(frozen=True)
class _Facts:
    """What was measured at the start."""

    experiment: Experiment
    model: AttentionLayer
    loss: float
    spectrum: np.ndarray
    features: np.ndarray
    tokens: np.ndarray
    theorem_b: dict[str, float]
    theorem_c: dict[str, float]
    query_block: dict[str, float]
    targets: int
    dim: int

    @property
    def condition(self) -> float:
        """lambda_max / lambda_min of the Gram matrix of the trained blocks."""
        return condition_number(self.spectrum)


def _measure(experiments: list[Experiment], seed: int) -> list[Trajectory]:
    lanes = Lanes(tuple(experiments), (seed,) * len(experiments))
    constants, carry = prepare(lanes)
    return trajectories(lanes, constants, advance(lanes, constants, carry, 0, 1))


def _start(experiment: Experiment) -> Experiment:
    """The experiment without training, the certificates' constants recorded."""
    start = At((0,))
    probes = {
        "loss": Loss(start),
        "modes": ModalSpectrum(),
        "features": FeatureSpectrum(start),
        "tokens": TokenRank(),
        "b": TheoremB(),
        "c": TheoremC(),
        "query": QueryBlock(),
    }
    changes = {"probes": probes, "steps": 0, "optimizer": GD(), "precision": "float64"}
    for path, value in changes.items():
        experiment = replace_at(experiment, path, value)
    return experiment


def _inputs(experiment: Experiment) -> tuple[int, ...]:
    """Shape of the inputs: samples, tokens, width.

    Raises:
        ValueError: if the dense spectrum of so many targets would be too large.
    """
    with jax.enable_x64(True):
        objective, _ = eqx.filter_eval_shape(lambda: begin(experiment, key=jax.random.key(0)))
    if objective.targets.size > LARGEST:
        raise ValueError(
            f"a certificate needs the dense spectrum of all targets, at most {LARGEST}, got {objective.targets.size}; "
            "give fewer samples"
        )
    return objective.inputs.shape


def _facts(experiment: Experiment, model: AttentionLayer, run: Trajectory, dim: int) -> _Facts:
    constants = ("b", "c", "query")
    named = {probe: dict(zip(run[probe].labels, run[probe].values[0, 0].tolist(), strict=True)) for probe in constants}
    spectrum = run["modes"].values[0, 0]
    return _Facts(
        experiment=experiment,
        model=model,
        loss=float(run["loss"].values[0, 0]),
        spectrum=spectrum,
        features=run["features"].values[0, 0],
        tokens=run["tokens"].values[0, 0],
        theorem_b=named["b"],
        theorem_c=named["c"],
        query_block=named["query"],
        targets=spectrum.shape[1] // model.output_dim,
        dim=dim,
    )


def _geometric(decay: float, tolerance: float) -> float:
    """Steps after which (1 - decay)^t is at most the tolerance."""
    if decay >= 1:
        return 1.0
    return float(math.ceil(math.log(tolerance) / math.log1p(-decay))) if decay > 0 else math.inf


def _row_a(facts: _Facts, tolerance: float) -> Row:
    block = _trained(facts.experiment)[0]
    name, page = ("Theorem A", "theorem_a.md") if block == "value" else ("Theorem A'", "theorem_a_prime.md")
    source = f"docs/theory/{page}"
    if math.isinf(facts.condition):
        rank = int((facts.spectrum[0] > 1e-20 * facts.spectrum[0].max()).sum())
        missing = f"the Gram matrix of the {block} block has rank {rank}, {facts.spectrum.shape[1]} is needed"
        floor = least_squares_floor(facts.spectrum) / facts.loss
        detail = f"least-squares floor {floor:.3g} f_0"
        return Row(name, source, False, missing, facts.spectrum.shape[1] / max(rank, 1), detail=detail)
    largest = float(facts.spectrum[0].max())
    # 1 - (1 - mu/L)^2, which would round to zero where mu/L is below 1e-16.
    steps = _geometric((2 - 1 / facts.condition) / facts.condition, tolerance)
    exact = steps_to(facts.spectrum, 1 / largest, tolerance)
    detail = f"L/mu {facts.condition:.3g}; exactly {exact:.6g} steps by the modal formula"
    return Row(name, source, True, "", 1 / facts.condition, 1 / largest, steps, detail)


def _row_b(facts: _Facts, tolerance: float) -> Row:
    return _by_jacobian(facts, tolerance, Row("Theorem B", "docs/theory/theorem_b.md", False), facts.theorem_b)


def _row_query(facts: _Facts, tolerance: float) -> Row:
    empty, constants = Row("Query block", "docs/theory/query_block.md", False), facts.query_block
    if math.isnan(constants["tokens"]):
        kernel = type(facts.model.attention).__name__
        obstacle = f"it needs a target for every token and a kernel with known constants, here {kernel}"
        return dataclasses.replace(empty, obstacle=obstacle)
    said = f"PL bound {constants['bound']:.3g} of lambda_min(K_Q) {constants['smallest']:.3g}"
    row = _by_jacobian(facts, tolerance, empty, constants)
    return dataclasses.replace(row, detail=f"{said}, {row.detail}")


def _by_jacobian(facts: _Facts, tolerance: float, row: Row, constants: dict[str, float]) -> Row:
    """What a certificate concludes that bounds how fast J changes; `row` gives its name and source."""
    said = f"sigma_0 {constants['sigma_min']:.3g}, beta {constants['beta']:.3g}, ||r_0|| {constants['residual']:.3g}"
    row = dataclasses.replace(row, detail=said)
    if constants["sigma_min"] == 0:
        return dataclasses.replace(row, obstacle="the Jacobian of the trained blocks has not full row rank")
    if math.isnan(constants["beta"]):
        kernel = type(facts.model.attention).__name__
        return dataclasses.replace(row, obstacle=f"no bound of the second derivative is known for {kernel}")
    step, ratio = constants["step"], constants["ratio"]
    if ratio > 1:
        return dataclasses.replace(row, obstacle="8 beta ||r_0|| exceeds sigma_0^2", factor=ratio)
    steps = _geometric(step * constants["sigma_min"] ** 2 / 4, tolerance)
    return dataclasses.replace(row, applies=True, factor=ratio, step=step, steps=steps)


def _row_c(facts: _Facts, tolerance: float) -> Row:
    constants, source = facts.theorem_c, "docs/theory/theorem_c.md"
    said = f"lambda_B {constants['lambda_b']:.3g}, omega {constants['omega']:.3g}, mu {constants['mu']:.3g}"
    if set(_trained(facts.experiment)) != set(TRAINED):
        obstacle = "it needs query, key and value trained and the output block fixed"
        return Row("Theorem C", source, False, obstacle, detail=said)
    if constants["lambda_b"] == 0:
        return Row("Theorem C", source, False, "B has not full row rank", detail=said)
    if constants["omega"] == 0:
        obstacle = "an output matrix has not full column rank (head_dim >= output_dim is needed)"
        return Row("Theorem C", source, False, obstacle, detail=said)
    if math.isnan(constants["ratio"]):
        kernel = type(facts.model.attention).__name__
        return Row("Theorem C", source, False, f"no bound of the first derivative is known for {kernel}", detail=said)
    if constants["ratio"] > 1:
        obstacle = "query and key may move further than the features can bear"
        return Row("Theorem C", source, False, obstacle, constants["ratio"], detail=said)
    steps = _geometric(constants["step"] * constants["mu"], tolerance)
    return Row("Theorem C", source, True, "", constants["ratio"], constants["step"], steps, said)


def _about_rank(facts: _Facts) -> list[str]:
    """What keeps B from full row rank, and the way out."""
    rank, rows = int(facts.features[2]), facts.targets
    if rank >= rows:
        return []
    heads, dim = facts.model.heads, facts.dim
    token_rank, distinct = int(facts.tokens[0]), int(facts.tokens[2])
    found = []
    if heads * dim < rows:
        found.append(
            f"HD = {heads * dim} is below the {rows} targets: take at least {math.ceil(rows / dim)} heads, or tokens "
            f"of width {math.ceil(rows / heads)}; four times as much makes training fast."
        )
    if distinct < rows:
        found.append(
            f"{rows - distinct} token(s) repeat another of their sample, so their outputs can never differ: add "
            "positions to the tokens, or remove the repeats."
        )
    if token_rank < dim and heads * token_rank < rows:
        found.append(
            f"the stacked tokens have rank r = {token_rank}, and rank(B) is at most H r = {heads * token_rank}: take "
            f"at least {math.ceil(rows / token_rank)} heads, or tokens that span more directions."
        )
    return found or [f"B has rank {rank} of {rows}: start query and key at another scale, or take more heads."]


def _about_scale(facts: _Facts, seed: int) -> list[str]:
    """Whether another initial scale of query and key conditions the problem better."""
    query, key = facts.model.query, facts.model.key
    if not isinstance(query, Normal) or not isinstance(key, Normal):
        return []
    others = []
    for factor in TRIED:
        moved = replace_at(facts.experiment, "model.query.scale", factor * query.scale)
        others.append(replace_at(moved, "model.key.scale", factor * key.scale))
    conditions = [condition_number(run["modes"].values[0, 0]) for run in _measure(others, seed)]
    best = int(np.argmin(conditions))
    if not conditions[best] < 0.8 * facts.condition:
        return []
    scale = TRIED[best] * query.scale
    return [
        f"start query and key at scale {scale:g} instead of {query.scale:g}: L/mu falls from "
        f"{facts.condition:.3g} to {conditions[best]:.3g}."
    ]


def _about_output(facts: _Facts) -> list[str]:
    """How far the output block must be scaled up for Theorem B."""
    ratio = facts.theorem_b["ratio"]
    trained = _trained(facts.experiment)
    if not 1 < ratio < math.inf or "output" in trained or "value" not in trained:
        return []
    return [
        f"start the value block at zero and make the output block {ratio:.2g} times larger: with the value block at "
        "zero the ratio of Theorem B falls as 1 over that scale."
    ]


def _trained(experiment: Experiment) -> tuple[str, ...]:
    """The trained blocks of a layer of attention."""
    return experiment.trained or ("query", "key", "value", "output")


def _sentence(facts: _Facts, rows: list[Row], tolerance: float) -> str:
    best = min((row for row in rows if row.applies), key=lambda row: row.steps or math.inf, default=None)
    if best is not None:
        return (
            f"Yes: {best.name} certifies that gradient descent with a step of at most {best.step:.3g} brings the loss "
            f"below {tolerance:g} f_0 within {best.steps:.6g} steps."
        )
    floor = least_squares_floor(facts.spectrum) / facts.loss
    if (
        floor > tolerance
        and len(_trained(facts.experiment)) == 1
        and _trained(facts.experiment)[0] in {"value", "output"}
    ):
        return f"No: whatever the step, the loss cannot fall below {floor:.3g} f_0 with these blocks trained."
    closest = min((row for row in rows if row.factor), key=lambda row: row.factor or math.inf, default=None)
    if math.isinf(facts.condition):
        return "Not certified: the trained blocks cannot move the outputs in every direction (K is singular)."
    how = f"; the closest, {closest.name}, fails by a factor of {closest.factor:.3g}" if closest else ""
    return f"Not certified, though zero loss may well be reached: no certificate applies{how}."


def _ending(start: Experiment, seed: int, steps: int) -> str:
    """What kind of point a run by line search ends at, in words."""
    probes = {"loss": Loss(At((0, steps)))}
    experiment = dataclasses.replace(start, optimizer=Armijo(), steps=steps, probes=probes)
    ending = classify_ends(experiment, train(experiment, (seed,)))
    return f"After {steps} steps by line search: {in_words(ending, 0)}."


def certify(experiment: Experiment, *, seed: int = 0, tolerance: float = 1e-10, steps: int = 0) -> Certification:
    """Evaluate every certificate at the start of an experiment; without training, unless steps are asked for.

    Args:
        experiment: what would be trained; its optimizer, probes and steps do not matter.
        seed: of data and initial weights.
        tolerance: the relative loss f / f_0 to which steps are predicted.
        steps: of a run by line search whose end state is classified; 0 makes none.

    Returns:
        The conclusion in a sentence, one row a certificate, and what to change.

    Raises:
        ValueError: if the tolerance is not in (0, 1), the model is not a layer of multi-head attention, or it has
            more targets than a dense spectrum is found for.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"the tolerance must lie between 0 and 1, got {tolerance:g}")
    counted("steps", steps, MOST_STEPS)
    counted("seed", seed, MOST_SEED)
    model = experiment.model
    if not isinstance(model, AttentionLayer):
        raise ValueError(f"certificates are for one AttentionLayer, got {type(model).__name__}")
    start = _start(experiment)
    dim = _inputs(start)[-1]
    facts = _facts(start, model, _measure([start], seed)[0], dim)
    rows = [_row_a(facts, tolerance)] if _trained(experiment) in {("value",), ("output",)} else []
    rows += [_row_query(facts, tolerance)] if _trained(experiment) == ("query",) else []
    rows += [_row_b(facts, tolerance), _row_c(facts, tolerance)]
    advice = _about_rank(facts) + _about_scale(facts, seed) + _about_output(facts)
    ending = _ending(start, seed, steps) if steps else ""
    return Certification(_sentence(facts, rows, tolerance), rows, advice, ending)

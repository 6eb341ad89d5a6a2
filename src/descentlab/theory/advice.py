"""What to change so that a certificate applies, or applies with fewer steps.

Every piece of advice is evaluated before it is given: the changed experiment is measured under the same seed, and what
the change achieves there is part of the advice. One that achieves nothing is not given.
"""

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from descentlab._describe import replace_at, value_at
from descentlab.experiment import Experiment, start
from descentlab.given import Given
from descentlab.models import Fixed, Normal, PerToken
from descentlab.tasks import Arrays, TextWindows, TokenRegression
from descentlab.theory.certificate import rounded_up
from descentlab.theory.certificates import best, rows_of
from descentlab.theory.facts import BLOCKS, Facts, measure

__all__ = ["Advice", "advise"]

SCALES = (0.25, 0.5, 2.0, 4.0)
"""Factors on the initial scale of query and key that are tried for better conditioning."""

WORTH = 0.8
"""A number of steps or a condition number must fall below this part of what it was to be worth a change."""

ENTRIES = 2**26
"""Entries of the largest Jacobian that advice is evaluated on, half a GiB."""


@dataclasses.dataclass(frozen=True)
class Advice:
    """A change of an experiment and what it achieves.

    Attributes:
        text: both, in words.
        experiment: the changed one.
    """

    text: str
    experiment: Experiment


@dataclasses.dataclass(frozen=True)
class _Change:
    """A change in words, and the facts of the changed experiment."""

    words: str
    facts: Facts


def advise(facts: Facts, tolerance: float) -> list[Advice]:
    """Changes that make a certificate apply or training better conditioned.

    Args:
        facts: what was measured at the start.
        tolerance: the loss, relative to the start, to which steps are predicted.
    """
    if facts.loss == 0 or facts.head_dim is None:  # the changes below are of a layer of attention
        return []
    first = _ranked(facts) if facts.rank < facts.rows else _other_scale(facts)
    steps = [(facts, first)]
    if first is not None and facts.rank < facts.rows:
        steps.append((first.facts, _ample_heads(facts, first.facts)))
    if not facts.linear and "value" in facts.trained:
        steps.append((facts, _louder(facts)))
    found = []
    for before, change in steps:
        gain = "" if change is None else _gain(before, change.facts, tolerance)
        if change is not None and gain:
            found.append(Advice(f"{change.words}: {gain}.", change.facts.experiment))
    return found


def _gain(before: Facts, after: Facts, tolerance: float) -> str:
    """What a change achieves, in words; empty where it achieves nothing, or makes a certificate worse."""
    old, new = (best(rows_of(facts, tolerance)) for facts in (before, after))
    was, now = (math.inf if row is None or row.steps is None else row.steps for row in (old, new))
    gains = []
    if before.rank < before.rows:
        gains.append(f"K then has full rank, L/mu {after.condition:.3g}")
    elif after.condition < WORTH * before.condition:
        gains.append(f"L/mu falls from {before.condition:.3g} to {after.condition:.3g}")
    if new is not None and now < WORTH * was:
        gains.append(f"{new.name} then certifies the step {new.step:.6g}, {now:.6g} steps at most")
    return "; ".join(gains) if now <= was else ""


def _with(facts: Facts, changes: dict[str, Any]) -> Facts:
    """The facts of the experiment with fields replaced."""
    experiment = facts.experiment
    for path, value in changes.items():
        experiment = replace_at(experiment, path, value)
    return measure(experiment, facts.seed, facts.certificates)


def _ranked(facts: Facts) -> _Change | None:
    """Changes after which K has full rank, one kind after the other as far as needed; `None` where none is known."""
    words, current = [], facts
    for kind in (_apart, _awake, _other_scale, _more_heads):
        change = kind(current)
        if change is not None:
            words.append(change.words)
            current = change.facts
        if current.rank == current.rows:
            return _Change(", and ".join(words), current)
    return None


def _apart(facts: Facts) -> _Change | None:
    """Tokens that differ where some repeat another of their sample."""
    experiment = facts.experiment
    if not facts.repeated or not isinstance(value_at(experiment, "model.readout"), PerToken):
        return None
    task = experiment.task
    if isinstance(task, TextWindows) and task.position_scale == 0:
        how, changes = "give the tokens positions (task.position_scale 1)", {"task.position_scale": 1.0}
    elif isinstance(task, TokenRegression):
        how, changes = "draw every token anew (task.duplicates 0)", {"task.duplicates": 0}
    else:
        how, changes = "add positions as large as the tokens", {"task": _positioned(facts)}
    after = _with(facts, changes)
    said = f"{facts.repeated} token(s) repeat another of their sample, so that their outputs cannot differ: {how}"
    return _Change(said, after) if after.repeated < facts.repeated else None


def _positioned(facts: Facts) -> Arrays:
    """The examples as arrays, their tokens with random positions of the same size."""
    with jax.enable_x64(True):
        objective, _ = start(facts.experiment, key=jax.random.key(facts.seed))
    inputs, targets = np.asarray(objective.inputs, np.float64), np.asarray(objective.targets, np.float64)
    positions = np.random.default_rng(0).normal(size=inputs.shape[1:]) * np.sqrt(np.mean(inputs**2))
    return Arrays(Given("inputs with positions", inputs + positions), Given("targets", targets))


def _awake(facts: Facts) -> _Change | None:
    """Blocks that are zero and keep J from moving the outputs start at random."""
    names = [name for name in facts.zero if (name, name in facts.trained) != ("value", True)]
    if not names:
        return None
    after = _with(facts, {f"model.{name}": Normal(1.0) for name in names})
    said = f"start the block{'s' * (len(names) > 1)} {' and '.join(names)} at scale 1 instead of zero"
    return _Change(said, after) if after.rank > facts.rank else None


def _other_scale(facts: Facts) -> _Change | None:
    """Query and key at the scale of those tried at which K has the highest rank, and is conditioned best."""
    names = ("query", "key")
    before = [float(getattr(value_at(facts.experiment, f"model.{name}"), "scale", 0.0)) for name in names]
    if not all(before) or facts.possible < facts.rows:
        return None
    tried = [
        _with(facts, {f"model.{name}.scale": factor * old for name, old in zip(names, before, strict=True)})
        for factor in SCALES
    ]
    place = min(range(len(SCALES)), key=lambda i: (-tried[i].rank, tried[i].condition))
    after, scales = tried[place], [f"{SCALES[place] * old:g}" for old in before]
    olds = [f"{old:g}" for old in before]
    how = f"scale {scales[0]} instead of {olds[0]}"
    if olds[0] != olds[1]:
        how = f"the scales {' and '.join(scales)} instead of {' and '.join(olds)}"
    better = (after.rank, -after.condition) > (facts.rank, -facts.condition)
    return _Change(f"start query and key at {how}", after) if better else None


def _more_heads(facts: Facts) -> _Change | None:
    """The fewest heads, of those tried, with which K has full rank; the width of a head stays."""
    model = facts.experiment.model
    heads = value_at(model, "heads")
    given = any(isinstance(value_at(model, name), Fixed) for name in BLOCKS)
    if given or not facts.rank or (facts.repeated and isinstance(value_at(model, "readout"), PerToken)):
        return None
    # Each head adds as much to the rank as those that are there, or less where they share a direction.
    needed = math.ceil(facts.rows * heads / facts.rank)
    for count in sorted({needed, needed + 1, 2 * needed}):
        if count * facts.columns // heads * facts.rows > ENTRIES:
            return None
        after = _with(facts, {"model.head_dim": facts.head_dim, "model.heads": count})
        if after.rank == after.rows:
            sizes = f"(model.heads {count}, model.head_dim {facts.head_dim})"
            return _Change(f"K has rank {facts.rank} of {facts.rows}: take {count} heads {sizes}", after)
    return None


def _ample_heads(facts: Facts, ranked: Facts) -> _Change | None:
    """Four times the heads that just suffice for full rank, where more heads were taken for it."""
    heads = [value_at(one.experiment, "model.heads") for one in (facts, ranked)]
    if heads[0] == heads[1] or 4 * ranked.columns * ranked.rows > ENTRIES:
        return None
    return _Change(f"beyond that, take {4 * heads[1]} heads", _with(ranked, {"model.heads": 4 * heads[1]}))


def _louder(facts: Facts) -> _Change | None:
    """The output block so much larger, the value block starting at zero, that Theorem B applies.

    With the value block at zero the ratio of the theorem is inverse to the scale of the output block, so that the ratio
    there is the factor that is wanted.
    """
    output = value_at(facts.experiment, "model.output")
    if facts.constants["b"]["ratio"] <= 1 or "output" in facts.zero:
        return None
    quiet = facts if "value" in facts.zero else _with(facts, {"model.value": Normal(0.0)})
    ratio = quiet.constants["b"]["ratio"]
    if not math.isfinite(ratio):
        return None
    factor = rounded_up(max(ratio, 1.0), 2)
    if isinstance(output, Fixed):
        after = _with(quiet, {"model.output.array.value": factor * output.array.value})
    else:
        after = _with(quiet, {"model.output.scale": factor * value_at(output, "scale")})
    said = [] if quiet is facts else ["start the value block at zero"]
    said += [] if factor == 1 else [f"make the output block {factor:.2g} times larger"]
    return _Change(" and ".join(said), after) if after.constants["b"]["ratio"] <= 1 else None

"""What a step of training computes and keeps: forward, backward, computing again, and the bytes in memory."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from descentlab._check import nearest
from descentlab.cost.attention import KERNELS
from descentlab.cost.model import Layer, Model
from descentlab.cost.operators import Elementwise, Matmul, Operator
from descentlab.cost.part import Work
from descentlab.cost.precision import Precision, weight_bytes
from descentlab.mistake import Mistake

__all__ = ["OPTIMIZERS", "RECOMPUTE", "Memory", "Utilisation", "memory", "products", "step", "utilisation"]

OPTIMIZERS = {"sgd": 0, "momentum": 1, "adam": 2}
"""Optimizers and the entries that they keep for a parameter, in float32."""

RECOMPUTE = ("none", "attention", "layers")
"""What the backward pass computes again: nothing, scores and weights of attention, or whole layers from their input."""


def products(operators: Sequence[Operator]) -> float:
    """Operations of matrix products alone, 2 for each multiply-add: what counters of other tools count."""
    chosen = (one for one in operators if isinstance(one, Matmul))
    return float(sum(np.sum(2.0 * one.count * one.rows * one.inner * one.columns) for one in chosen))


def step(operators: Sequence[Operator], recompute: str = "none") -> list[Operator]:
    """The operators of a step of training: forward, backward, and what is computed again.

    The gradient of a product out = a b takes two products of the same size, for a and for b. That of what is done entry
    by entry is taken to cost its forward pass, and reads the gradient besides. The optimizer's update is not counted.

    Args:
        operators: of the forward pass.
        recompute: one of `RECOMPUTE`.

    Raises:
        Mistake: if `recompute` is none of them.
    """
    if recompute not in RECOMPUTE:
        raise Mistake(f"there is no recomputation {recompute!r}; {nearest(recompute, RECOMPUTE)}")
    again = {
        "none": [],
        "attention": [one for one in operators if one.name == "scores" or one.name in KERNELS],
        "layers": [one for one in operators if one.group != "head"],
    }[recompute]
    found = list(operators)
    for one in operators:
        found += _backward(one)
    return found + [dataclasses.replace(one, name=f"{one.name} again") for one in again]


def _backward(one: Operator) -> list[Operator]:
    if isinstance(one, Elementwise):
        return [dataclasses.replace(one, name=f"{one.name} backward", reads=one.reads + 1)]
    inputs = dataclasses.replace(
        one, name=f"{one.name} backward", rows=one.inner, inner=one.rows, right=None, full=True, bias=False, wide=False,
        extra=0, cached=0,
    )  # fmt: skip
    left = dataclasses.replace(
        inputs, name=f"{one.name} gradient", rows=one.rows, inner=one.columns, columns=one.inner, left="activations",
        held=None,
    )  # fmt: skip
    return [inputs, left]


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes that a step of training holds.

    Attributes:
        weights: of the parameters in their working precision.
        gradients: of the parameters, in the precision of computed entries.
        optimizer: what the optimizer keeps in float32, and the parameters in float32 where they work in fewer bits.
        activations: what the forward pass keeps for the backward pass.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def as_data(self) -> dict[str, float]:
        """JSON-compatible data."""
        return dataclasses.asdict(self) | {"total": self.total}


def memory(
    model: Model, works: Sequence[tuple[Any, Work]], of: Precision, optimizer: str = "adam", recompute: str = "none"
) -> Memory:
    """Bytes that a step of training holds; all of the model's parameters are trained.

    Args:
        model: the model.
        works: stacks and what goes through them, of `Model.works`.
        of: precisions.
        optimizer: one of `OPTIMIZERS`.
        recompute: one of `RECOMPUTE`.

    Raises:
        Mistake: if there is no such optimizer, or weights are kept in fewer than 16 bits.
    """
    if optimizer not in OPTIMIZERS:
        raise Mistake(f"there is no optimizer {optimizer!r}; {nearest(optimizer, OPTIMIZERS)}")
    if min(of.weights.bytes, of.experts.bytes, of.plain.bytes) < 2:
        raise Mistake(f"training needs weights of at least 16 bits, got {of.words}; add --weights bfloat16")
    count, weights = float(model.total), weight_bytes(model.parameters(), of)
    master = count if weights < 4 * count else 0.0
    kept = sum(_kept(stack, work, recompute) for stack, work in works) * of.activations.bytes
    return Memory(weights, count * of.activations.bytes, 4 * (OPTIMIZERS[optimizer] * count + master), kept)


def _kept(stack: Any, work: Work, recompute: str) -> float:
    """Entries that are kept of one stack."""
    ends = [one for part in stack.ends for one in part.operators(work)]
    outside = sum(_entries(one) for one in ends)
    if recompute == "layers":
        inputs = sum(float(run.count) * _inputs(run.layer, work) for run in stack.layers)
        return outside + inputs + max((_layer(run.layer, work) for run in stack.layers), default=0.0)
    without = KERNELS if recompute == "attention" else ()
    return outside + sum(float(run.count) * _layer(run.layer, work, without) for run in stack.layers)


def _layer(layer: Layer, work: Work, without: Any = ()) -> float:
    return sum(_entries(one) for one in layer.operators(work) if one.name not in without)


def _inputs(layer: Layer, work: Work) -> float:
    """Entries of a layer's input: those of its first residual addition."""
    added = (one for one in layer.operators(work) if isinstance(one, Elementwise) and one.name.startswith("residual"))
    return next((float(np.sum(one.count * one.elements)) for one in added), 0.0)


def _entries(one: Operator) -> float:
    return float(np.sum(one.count * one.kept))


@dataclasses.dataclass(frozen=True)
class Utilisation:
    """How much of a machine's rate a measured step of training uses.

    Attributes:
        seconds: measured.
        model: operations of forward and backward products a second, over the peak rate.
        hardware: the same with what is computed again.
        rule: by the rule of thumb of 6 operations a parameter and token, N of which a token is multiplied with.
    """

    seconds: float
    model: float
    hardware: float
    rule: float


def utilisation(seconds: float, peak: float, forward: float, whole: float, rule: float) -> Utilisation:
    """How much of the peak rate a measured step uses.

    Args:
        seconds: of the step.
        peak: operations a second.
        forward: operations of the forward products.
        whole: of all products of the step.
        rule: 6 N D.

    Raises:
        Mistake: if the step would be faster than the peak rate allows.
    """
    if whole > seconds * peak:
        raise Mistake(
            f"a step of {1e3 * seconds:.4g} ms would need {whole / seconds / peak:.3g} times the machine's peak rate; "
            "is the time, the batch or the machine another one?"
        )
    return Utilisation(seconds, 3 * forward / seconds / peak, whole / seconds / peak, rule / seconds / peak)

"""What is known at one step of a run. Evaluated once; probes look at it, the optimizer moves from it."""

from typing import Any

import equinox as eqx
import jax

from descentlab._types import Array, Float, Int, PyTree
from descentlab.objective import Examples, Objective, Splits

__all__ = ["Point", "evaluate"]


class Point(eqx.Module):
    """Parameters with their loss and gradient.

    Attributes:
        step: number of updates made so far.
        params: the trained blocks.
        loss: f at `params`.
        gradient: its gradient, a tree like `params`.
        objective: the function that is minimised.
        start: the trained blocks at step 0.
        step_size: of the update that led here; NaN at step 0.
        stored: the data set of the task, where it has one.
        world: what all examples of the lane have in common, where the task draws such a thing.
        held_out: examples that training never sees, where there are any.
        task: where the examples come from.
        data: how they are put together.
        change: what the optimizer adds to `params` next, a tree like them; `None` where no step follows.
        next_step_size: that of this next update.
        preconditioner: the diagonal of P where that step is along $P^{-1} m$, a tree like `params`; `None` for P = 1.
    """

    step: Int[Array, ""]
    params: PyTree
    loss: Float[Array, ""]
    gradient: PyTree
    objective: Objective
    start: PyTree
    step_size: Float[Array, ""]
    stored: Splits | None = None
    world: PyTree = None
    held_out: Examples | None = None
    task: Any = None
    data: Any = None
    change: PyTree | None = None
    next_step_size: Float[Array, ""] | None = None
    preconditioner: PyTree | None = None


def evaluate(
    objective: Objective,
    params: PyTree,
    step: Array,
    start: PyTree,
    step_size: Array,
) -> Point:
    """The point at `params`: one forward and one backward pass."""
    loss, gradient = jax.value_and_grad(objective.loss)(params)
    return Point(step, params, loss, gradient, objective, start, step_size)

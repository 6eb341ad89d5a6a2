"""Loss and accuracy on examples that training never sees, and on all that there are."""

from typing import Literal

import jax
import jax.numpy as jnp

from descentlab._check import positive
from descentlab._types import Array, PyTree
from descentlab.axis import Axis
from descentlab.mistake import Mistake
from descentlab.objective import Examples
from descentlab.point import Point
from descentlab.probes.base import AbstractProbe
from descentlab.schedule import AbstractSchedule, LogSpaced

__all__ = ["HeldOut", "PopulationLoss"]

AT_ONCE = 64
"""Examples that are evaluated together; it bounds memory."""


class HeldOut(AbstractProbe):
    """Loss and accuracy on examples that are held out from training; nothing is dropped.

    The accuracy is that of classes or signs, and NaN where targets are numbers.

    Args:
        when: the steps at which they are recorded.
        part: the examples held out, for choosing: those that `Experiment.held_out` asks for, of a data set those of
            its development part; the test part of a data set, for reporting once; or its whole training part, of tasks
            that draw the batch of the step.
        examples: how many, from the front (their order is random); `None` takes all.

    Raises:
        Mistake: if `examples` is not above 0, or there are no such examples.
    """

    when: AbstractSchedule = LogSpaced()
    part: Literal["held_out", "test", "train"] = "held_out"
    examples: int | None = None

    def __check_init__(self):
        positive(self, "examples")

    def __call__(self, point: Point) -> Array:
        """Loss and accuracy."""
        seen = self._seen(point).at(slice(self.examples))
        model, measure = point.objective.model(point.params), point.objective.loss_function
        outputs = jax.lax.map(model, seen.inputs, batch_size=min(AT_ONCE, seen.rows))
        metrics = measure.metrics(outputs, seen.targets, seen.weights)
        accuracy = metrics.get("accuracy", jnp.full((), jnp.nan, outputs.dtype))
        return jnp.stack([measure(outputs, seen.targets, seen.weights), accuracy])

    def _seen(self, point: Point) -> Examples:
        """The examples of the part."""
        if self.part == "train":
            return point.objective.examples if point.stored is None else point.stored.train
        found = point.held_out if self.part == "held_out" else point.stored and point.stored.test
        if not found:
            way = "Experiment.held_out above 0" if self.part == "held_out" else "a task on a data set"
            raise Mistake(f"HeldOut of the part {self.part!r} needs {way}; there are no such examples here")
        return found

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """Loss and accuracy."""
        del params
        return (Axis("quantity", ("loss", "accuracy")),)


class PopulationLoss(AbstractProbe):
    """The exact mean of the loss over all examples of the lane's world, where the task knows it.

    Args:
        when: the steps at which it is recorded.

    Raises:
        Mistake: if the task does not know it.
    """

    when: AbstractSchedule = LogSpaced()

    def __call__(self, point: Point) -> Array:
        """The loss."""
        found = None
        if point.task is not None:
            found = point.task.population_loss(point.objective.model(point.params), point.world)
        if found is None:
            raise Mistake(
                f"PopulationLoss needs a task with the method population_loss, {type(point.task).__name__} does not "
                "know it; record HeldOut, an estimate"
            )
        return found

"""Loss and accuracy on examples that training never sees."""

from typing import Literal

import jax
import jax.numpy as jnp

from descentlab._check import positive
from descentlab._types import Array, PyTree
from descentlab.axis import Axis
from descentlab.objective import CrossEntropy, Examples
from descentlab.point import Point
from descentlab.probes.base import AbstractProbe
from descentlab.schedule import AbstractSchedule, LogSpaced

__all__ = ["HeldOut"]

AT_ONCE = 64
"""Examples that are evaluated together; it bounds memory."""


class HeldOut(AbstractProbe):
    """Loss and accuracy on a part of the data set that is held out from training; nothing is dropped.

    Args:
        when: the steps at which they are recorded.
        part: the development part, for choosing; the test part, for reporting once; or the training part.
        examples: how many, from the front (the order of a data set is random); `None` takes all.

    Raises:
        ValueError: if `examples` is not above 0, or the task has no data set with classes.
    """

    when: AbstractSchedule = LogSpaced()
    part: Literal["train", "development", "test"] = "development"
    examples: int | None = None

    def __check_init__(self):
        positive(self, "examples")

    def __call__(self, point: Point) -> Array:
        """Loss and accuracy."""
        measure = point.objective.loss_function
        if point.stored is None or not isinstance(measure, CrossEntropy):
            raise ValueError(
                "HeldOut needs a task with a data set, such as Classification(IMDb()); leave the probe out"
            )
        held = getattr(point.stored, self.part)
        count = held.inputs.shape[0] if self.examples is None else min(self.examples, held.inputs.shape[0])
        model = point.objective.model(point.params)

        def one(example: Examples) -> Array:
            outputs, targets = model(example.inputs)[None], example.targets[None]
            return jnp.stack([measure(outputs, targets), measure.accuracy(outputs, targets)])

        chosen = Examples(held.inputs[:count], held.targets[:count])
        return jax.lax.map(one, chosen, batch_size=min(AT_ONCE, count)).mean(axis=0)

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """Loss and accuracy."""
        del params
        return (Axis("quantity", ("loss", "accuracy")),)

"""A quantity of the same parameters in a changed model: another kernel, more loops."""

import dataclasses
from abc import abstractmethod

import equinox as eqx

from descentlab._definition import Definition, DefinitionError
from descentlab._tree import array_names, parted
from descentlab._types import Array, PyTree
from descentlab.attention import AbstractAttention
from descentlab.axis import Axis
from descentlab.point import Point, evaluate
from descentlab.probes.base import AbstractProbe
from descentlab.schedule import AbstractSchedule, LogSpaced

__all__ = ["AbstractChange", "Changed", "WithKernel"]


class AbstractChange(Definition):
    """How a trained model is changed before it is looked at; its parameters stay."""

    @abstractmethod
    def __call__(self, model: PyTree) -> PyTree:
        """The changed model."""


class WithKernel(AbstractChange):
    """Another attention kernel.

    Args:
        attention: the kernel.

    Raises:
        DefinitionError: if the model has none.
    """

    attention: AbstractAttention

    def __call__(self, model: PyTree) -> PyTree:
        """The model with the kernel."""
        if not isinstance(getattr(model, "attention", None), AbstractAttention):
            raise DefinitionError(f"WithKernel needs a model with one attention kernel, got {type(model).__name__}")
        return eqx.tree_at(lambda one: one.attention, model, self.attention)


class Changed(AbstractProbe):
    """What a probe would see of the same parameters, were the model another; training does not know of it.

    Args:
        change: of the model.
        probe: what is recorded; its own `when` does not count.
        when: the steps at which it is recorded.
    """

    change: AbstractChange
    probe: AbstractProbe
    when: AbstractSchedule = LogSpaced(10)

    def __call__(self, point: Point) -> Array:
        """The quantity in the changed model."""
        model = self.change(point.objective.model(point.params))
        params, frozen = parted(model, array_names(point.params))
        objective = dataclasses.replace(point.objective, frozen=frozen)
        there = evaluate(objective, params, point.step, point.start, point.step_size)
        seen = {name: getattr(there, name) for name in ("objective", "params", "loss", "gradient")}
        return self.probe(dataclasses.replace(point, **seen))

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """Those of the probe."""
        return self.probe.axes(params)

"""Rules around a rule: a schedule of the step size, and clipped gradients."""

import dataclasses
from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from descentlab._check import not_negative, positive, real
from descentlab._definition import Definition
from descentlab._types import Array, Float, Int, PyTree
from descentlab.mistake import Mistake
from descentlab.optim.base import AbstractOptimizer, Update
from descentlab.point import Point

__all__ = ["AbstractRamp", "Clipped", "Cosine", "OneCycle", "Scheduled"]


class AbstractRamp(Definition):
    """A factor of the step size that changes along the run, 1 at its largest."""

    @abstractmethod
    def __call__(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """The factor at a step."""


def _checked(ramp: "OneCycle | Cosine") -> None:
    positive(ramp, "steps")
    not_negative(ramp, "warmup")
    if ramp.warmup >= ramp.steps:
        raise Mistake(
            f"{type(ramp).__name__}.warmup must be below steps={ramp.steps}, got {ramp.warmup}; shorten the warm-up"
        )


class OneCycle(AbstractRamp):
    """Up in a straight line for `warmup` steps, then down in a straight line to zero.

    Args:
        steps: at which zero is reached.
        warmup: at which 1 is reached.

    Raises:
        Mistake: if `steps` is not above 0, or `warmup` not below it.
    """

    steps: int
    warmup: int = 0

    def __check_init__(self):
        _checked(self)

    def __call__(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """The factor at a step."""
        rise = optax.schedules.linear_schedule(1 / (self.warmup + 1), 1.0, self.warmup)
        fall = optax.schedules.linear_schedule(1.0, 0.0, self.steps - self.warmup)
        return jnp.asarray(optax.schedules.join_schedules([rise, fall], [self.warmup])(step))


class Cosine(AbstractRamp):
    """Up in a straight line for `warmup` steps, then down to zero along half a period of the cosine.

    Args:
        steps: at which zero is reached.
        warmup: at which 1 is reached.

    Raises:
        Mistake: if `steps` is not above 0, or `warmup` not below it.

    References:
        Loshchilov and Hutter (2017), arXiv:1608.03983.
    """

    steps: int
    warmup: int = 0

    def __check_init__(self):
        _checked(self)

    def __call__(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """The factor at a step."""
        rise = optax.schedules.linear_schedule(1 / (self.warmup + 1), 1.0, self.warmup)
        fall = optax.schedules.cosine_decay_schedule(1.0, self.steps - self.warmup)
        return jnp.asarray(optax.schedules.join_schedules([rise, fall], [self.warmup])(step))


class Scheduled(AbstractOptimizer):
    r"""A rule whose update is multiplied by a ramp, $\theta_{t+1} = \theta_t + a_t \, \Delta_t$.

    For every rule whose update is proportional to its step size this is that rule at the step size $a_t \eta$.

    Args:
        rule: makes the update $\Delta_t$.
        ramp: $a_t$.
    """

    rule: AbstractOptimizer
    ramp: AbstractRamp

    def init(self, point: Point) -> PyTree:
        """The state of the rule."""
        return self.rule.init(point)

    def step(self, point: Point, state: PyTree) -> Update:
        """One update."""
        update = self.rule.step(point, state)
        factor = self.ramp(point.step).astype(point.loss.dtype)
        params = jax.tree.map(lambda new, old: old + factor * (new - old), update.params, point.params)
        return Update(params, update.state, factor * update.step_size, update.accurate)


class Clipped(AbstractOptimizer):
    r"""A rule that sees gradients of norm at most `norm`, $g \min(1, c / \lVert g \rVert)$.

    Args:
        rule: that moves.
        norm: the bound c on the norm over all trained blocks together.

    Raises:
        Mistake: if `norm` is not above 0.

    References:
        Pascanu et al. (2013), arXiv:1211.5063.
    """

    rule: AbstractOptimizer
    norm: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        positive(self, "norm")

    def init(self, point: Point) -> PyTree:
        """The state of the rule."""
        return self.rule.init(point)

    def step(self, point: Point, state: PyTree) -> Update:
        """One update."""
        clip = optax.clip_by_global_norm(self.norm)
        gradient, _ = clip.update(point.gradient, clip.init(point.params))
        return self.rule.step(dataclasses.replace(point, gradient=gradient), state)

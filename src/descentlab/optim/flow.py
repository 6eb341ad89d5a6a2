"""Gradient flow."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import positive, real
from descentlab._types import PyTree
from descentlab.objective import ZERO_LOSS
from descentlab.optim.base import AbstractOptimizer, Update
from descentlab.point import Point

__all__ = ["GradientFlow"]


class GradientFlow(AbstractOptimizer):
    r"""Gradient flow, $\dot\theta = -\nabla f(\theta)$, integrated with error control; one step is a stretch of time.

    The loss falls along the true flow. A stretch on which it rises (above the level of zero loss), or which needs
    more than 4096 inner steps, is reported as inaccurate.

    Args:
        time_step: length of the stretch, in units of time.
        tolerance: relative and absolute tolerance of the integration.

    Raises:
        Mistake: if `time_step` or `tolerance` is not above 0.
    """

    time_step: float = eqx.field(default=0.1, converter=real)
    tolerance: float = eqx.field(default=1e-9, converter=real)

    def __check_init__(self):
        # Here, because it takes a quarter of the package's start-up time, and outside any tracing.
        import diffrax as diffrax

        positive(self, "time_step")
        positive(self, "tolerance")

    def init(self, point: Point) -> PyTree:
        """The loss at the start."""
        return point.loss

    def step(self, point: Point, state: PyTree) -> Update:
        """One stretch of time."""
        import diffrax

        def velocity(time: Any, params: PyTree, objective: PyTree) -> PyTree:
            del time
            return jax.tree.map(jnp.negative, jax.grad(objective.loss)(params))

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),
            diffrax.Tsit5(),
            t0=0.0,
            t1=self.time_step,
            dt0=None,
            y0=point.params,
            args=point.objective,
            stepsize_controller=diffrax.PIDController(rtol=self.tolerance, atol=self.tolerance),
            throw=False,
        )
        params = jax.tree.map(lambda path: path[-1], solution.ys)
        loss = point.objective.loss(params)
        falls = (loss <= point.loss) | (loss <= ZERO_LOSS * state)
        accurate = falls & (solution.result == diffrax.RESULTS.successful)
        return Update(params, state, jnp.asarray(self.time_step, point.loss.dtype), accurate)

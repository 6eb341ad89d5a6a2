"""Gradient descent: constant step, step from the Gram matrix, heavy-ball momentum."""

import equinox as eqx
import jax.numpy as jnp
import optax

from descentlab._check import not_negative, positive, real
from descentlab._types import PyTree
from descentlab.curvature import largest_eigenvalue
from descentlab.mistake import Mistake
from descentlab.optim.base import AbstractOptimizer, Update
from descentlab.point import Point

__all__ = ["GD", "GramGD", "Momentum"]


def _apply(rule: optax.GradientTransformation, point: Point, state: PyTree) -> tuple[PyTree, PyTree]:
    updates, state = rule.update(point.gradient, state, point.params)
    return optax.apply_updates(point.params, updates), state


class GD(AbstractOptimizer):
    r"""Gradient descent with a constant step, $\theta_{t+1} = \theta_t - \eta \nabla f(\theta_t)$.

    Args:
        lr: the step size $\eta$.

    Raises:
        Mistake: if `lr` is not above 0.
    """

    lr: float = eqx.field(default=0.1, converter=real)

    def __check_init__(self):
        positive(self, "lr")

    def init(self, point: Point) -> PyTree:
        """The state before the first update."""
        return optax.sgd(self.lr).init(point.params)

    def step(self, point: Point, state: PyTree) -> Update:
        """One update."""
        params, state = _apply(optax.sgd(self.lr), point, state)
        return Update(params, state, jnp.asarray(self.lr, point.loss.dtype), jnp.asarray(True))

    @property
    def threshold(self) -> float:
        r"""$2 / \eta$."""
        return 2 / self.lr


class GramGD(AbstractOptimizer):
    r"""Gradient descent with the constant step $\eta = \phi / \lambda_{\max}(K_0)$.

    $K_0$ is the Gram matrix of the trained blocks at the start. For a model that is linear in them (only `value`, or
    only `output`), $\phi = 1$ is the step of the convergence theorem.

    Args:
        fraction: the factor $\phi$.

    Raises:
        Mistake: if `fraction` is not above 0.

    References:
        Song et al. (2024), arXiv:2411.07538; `docs/theory/theorem_a.md`.
    """

    fraction: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        positive(self, "fraction")

    def init(self, point: Point) -> PyTree:
        """The step size, found once."""
        return self.fraction / largest_eigenvalue(point.objective, point.params)

    def step(self, point: Point, state: PyTree) -> Update:
        """One update."""
        rule = optax.sgd(state)
        params, _ = _apply(rule, point, rule.init(point.params))
        return Update(params, state, state, jnp.asarray(True))


class Momentum(AbstractOptimizer):
    r"""Heavy-ball gradient descent, $m_{t+1} = \mu m_t + \nabla f$, $\theta_{t+1} = \theta_t - \eta m_{t+1}$.

    Args:
        lr: the step size $\eta$.
        momentum: the decay $\mu$, at least 0 and below 1.

    Raises:
        Mistake: if `lr` is not above 0 or `momentum` not in [0, 1).

    References:
        Polyak (1964), Some methods of speeding up the convergence of iteration methods.
    """

    lr: float = eqx.field(default=0.1, converter=real)
    momentum: float = eqx.field(default=0.9, converter=real)

    def __check_init__(self):
        positive(self, "lr")
        not_negative(self, "momentum")
        if isinstance(self.momentum, float) and self.momentum >= 1:
            raise Mistake(f"Momentum.momentum must be below 1, got {self.momentum}")

    def init(self, point: Point) -> PyTree:
        """Zero velocity."""
        return optax.sgd(self.lr, momentum=self.momentum).init(point.params)

    def step(self, point: Point, state: PyTree) -> Update:
        """One update."""
        params, state = _apply(optax.sgd(self.lr, momentum=self.momentum), point, state)
        return Update(params, state, jnp.asarray(self.lr, point.loss.dtype), jnp.asarray(True))

    @property
    def threshold(self) -> float:
        r"""$2 (1 + \mu) / \eta$."""
        return 2 * (1 + self.momentum) / self.lr

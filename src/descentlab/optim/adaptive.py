"""Adaptive rules: Adam, and Adam with decoupled weight decay."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from descentlab._check import not_negative, positive, real
from descentlab._types import PyTree
from descentlab.mistake import Mistake
from descentlab.optim.base import AbstractOptimizer, Update
from descentlab.point import Point

__all__ = ["Adam"]


class Adam(AbstractOptimizer):
    r"""Steps along $\hat m_t / (\sqrt{\hat v_t} + \epsilon)$ with means of gradients and of their squares.

    With `weight_decay` $\lambda$ the blocks also shrink by $\eta \lambda \theta$ at every step (AdamW).

    Args:
        lr: the step size $\eta$.
        b1: decay of the mean of gradients.
        b2: decay of the mean of their squares.
        eps: $\epsilon$, added to the root.
        weight_decay: $\lambda$.

    Raises:
        Mistake: if `lr` or `eps` is not above 0, a decay not in [0, 1), or `weight_decay` below 0.

    References:
        Kingma and Ba (2015), arXiv:1412.6980; Loshchilov and Hutter (2019), arXiv:1711.05101; for the
        preconditioner and the threshold Cohen et al. (2022), arXiv:2207.14484.
    """

    adaptive: ClassVar[bool] = True

    lr: float = eqx.field(default=1e-3, converter=real)
    b1: float = eqx.field(default=0.9, converter=real)
    b2: float = eqx.field(default=0.999, converter=real)
    eps: float = eqx.field(default=1e-8, converter=real)
    weight_decay: float = eqx.field(default=0.0, converter=real)

    def __check_init__(self):
        positive(self, "lr")
        positive(self, "eps")
        not_negative(self, "weight_decay")
        for name in ("b1", "b2"):
            not_negative(self, name)
            value = getattr(self, name)
            if isinstance(value, float) and value >= 1:
                raise Mistake(f"Adam.{name} must be below 1, got {value}")

    def _rule(self) -> optax.GradientTransformation:
        return optax.adamw(self.lr, self.b1, self.b2, self.eps, weight_decay=self.weight_decay)

    def init(self, point: Point) -> PyTree:
        """Both means zero."""
        return self._rule().init(point.params)

    def step(self, point: Point, state: PyTree) -> Update:
        """One update."""
        updates, state = self._rule().update(point.gradient, state, point.params)
        params = optax.apply_updates(point.params, updates)
        return Update(params, state, jnp.asarray(self.lr, point.loss.dtype), jnp.asarray(True))

    def preconditioner(self, state: PyTree) -> PyTree:
        r"""$(1 - \beta_1^t) (\sqrt{\hat v_t} + \epsilon)$; the mean of gradients is taken as it is, with its bias."""
        count, _, squares = state[0]
        first, second = (1 - jnp.asarray(decay) ** count for decay in (self.b1, self.b2))
        return jax.tree.map(lambda square: first * (jnp.sqrt(square / second) + self.eps), squares)

    @property
    def threshold(self) -> float:
        r"""$2 (1 + \beta_1) / ((1 - \beta_1) \eta)$."""
        return 2 * (1 + self.b1) / ((1 - self.b1) * self.lr)

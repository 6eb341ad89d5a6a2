"""Sign gradient descent."""

import equinox as eqx
import jax.numpy as jnp
import optax

from descentlab._check import positive, real
from descentlab._types import PyTree
from descentlab.optim.base import AbstractOptimizer, Update
from descentlab.point import Point

__all__ = ["SignGD"]


class SignGD(AbstractOptimizer):
    r"""Every parameter moves against the sign of its gradient, $\Delta\theta = -\eta\, \mathrm{sign} \nabla f$.

    It is Adam without its two means. With a constant step it does not come closer to a minimum than $\eta$. An entry
    whose gradient is exactly zero stays where it is; in single precision gradients of a saturated model underflow to
    that, which the probe `ZeroGradients` counts.

    Args:
        lr: the step size $\eta$.

    Raises:
        Mistake: if `lr` is not above 0.

    References:
        Li et al. (2024), arXiv:2410.04870; Bernstein et al. (2018), arXiv:1802.04434.
    """

    lr: float = eqx.field(default=1e-3, converter=real)

    def __check_init__(self):
        positive(self, "lr")

    def init(self, point: Point) -> PyTree:
        """The state before the first update."""
        return optax.sign_sgd(self.lr).init(point.params)

    def step(self, point: Point, state: PyTree) -> Update:
        """One update."""
        updates, state = optax.sign_sgd(self.lr).update(point.gradient, state, point.params)
        params = optax.apply_updates(point.params, updates)
        return Update(params, state, jnp.asarray(self.lr, point.loss.dtype), jnp.asarray(True))

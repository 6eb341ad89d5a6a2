"""Gradient descent with a backtracking line search."""

from typing import cast

import jax
import jax.numpy as jnp
import optax

from descentlab._types import PyTree
from descentlab.optim.base import AbstractOptimizer, Update
from descentlab.point import Point

__all__ = ["Armijo"]


class Armijo(AbstractOptimizer):
    r"""Gradient descent whose step satisfies $f(\theta_{t+1}) \le f(\theta_t) - \frac{\eta_t}{2} \|\nabla f\|^2$.

    The search starts at twice the last step tried and halves it until the inequality holds, so that
    $f_{t+1} \le (1 - \eta_t \lambda_{\min}(K_t)) f_t$ follows at every step. Where `halvings` do not suffice, no step
    is made, its size is 0, and the next search goes on from there.

    Args:
        halvings: the most halvings tried in one step.

    References:
        Armijo (1966), Pacific J. Math. 16:1; `docs/theory/pl.md`.
    """

    halvings: int = 12

    def _rule(self) -> optax.GradientTransformationExtraArgs:
        search = optax.scale_by_backtracking_linesearch(
            self.halvings, slope_rtol=0.5, decrease_factor=0.5, increase_factor=2.0, max_learning_rate=jnp.inf
        )
        return optax.chain(optax.sgd(1.0), search)

    def init(self, point: Point) -> PyTree:
        """The last step tried counts as 1, so that the first search starts at 2."""
        # Weakly typed numbers lose that in the first segment, and the next one would be compiled anew.
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), self._rule().init(point.params))

    def step(self, point: Point, state: PyTree) -> Update:
        """One update."""
        loss = point.objective.loss
        updates, new = self._rule().update(
            point.gradient, state, point.params, value=point.loss, grad=point.gradient, value_fn=loss
        )
        # To optax the state of a chain is any tree.
        search = cast(tuple[PyTree, optax.ScaleByBacktrackingLinesearchState], new)[-1]
        accepted = jnp.less_equal(search.info.decrease_error, 0)
        params = jax.tree.map(lambda x, u: jnp.where(accepted, x + u, x), point.params, updates)
        return Update(params, new, jnp.where(accepted, search.learning_rate, 0.0), jnp.asarray(True))

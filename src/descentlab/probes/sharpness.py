"""Sharpness along a run: extreme Hessian eigenvalues, and the cheap one along the update."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from descentlab._check import not_negative, positive, real
from descentlab._definition import LATER
from descentlab._types import Array, Bool, PyTree
from descentlab.axis import Axis
from descentlab.curvature import Eigenpairs, Hessian, Krylov, Preconditioned, eigenpairs
from descentlab.mistake import Mistake
from descentlab.point import Point
from descentlab.probes.base import AbstractProbe
from descentlab.schedule import AbstractSchedule, Every, LogSpaced

__all__ = ["CriticalSharpness", "Sharpness"]


class Sharpness(AbstractProbe):
    r"""The largest eigenvalues of the Hessian of the loss, and the smallest where wanted, with their residuals.

    Each look starts from the vectors of the last one. With minibatches the Hessian is that of the step's batch.

    Args:
        when: the steps at which it is recorded.
        top: number of largest eigenvalues.
        bottom: number of smallest ones.
        method: tolerance and limits. Verification costs about half a look; without it, one that starts from the last
            vectors may miss an eigenvalue that has overtaken them, or a copy of a multiple one.
        preconditioned: whether eigenvalues are those of $P^{-1/2} H P^{-1/2}$ with the preconditioner of the optimizer,
            which decide on its stability: see `AbstractOptimizer.threshold`. A rule without one has P = 1.

    Raises:
        Mistake: if a number is below 0, or no eigenvalue is wanted.

    References:
        Cohen et al. (2021), arXiv:2103.00065; with a preconditioner Cohen et al. (2022), arXiv:2207.14484.
    """

    when: AbstractSchedule = LogSpaced(10)
    top: int = 1
    bottom: int = 0
    method: Krylov = Krylov(tolerance=1e-4, products=300)
    preconditioned: bool = eqx.field(default=False, metadata=LATER)

    def __check_init__(self):
        not_negative(self, "top")
        not_negative(self, "bottom")
        if not self.top + self.bottom:
            raise Mistake("Sharpness.top and bottom must name at least one eigenvalue, got 0 and 0; choose top=1")

    def begin(self, point: Point) -> Array:
        """Random vectors."""
        size = Hessian(point.objective, point.params).shape[0]
        return jax.random.normal(jax.random.key(0), (self.top + self.bottom, size))

    def _pairs(self, point: Point, start: Array | None) -> Eigenpairs:
        hessian = Hessian(point.objective, point.params)
        if self.preconditioned and point.preconditioner is not None:
            hessian = Preconditioned(hessian, ravel_pytree(point.preconditioner)[0])
        return eigenpairs(hessian, top=self.top, bottom=self.bottom, method=self.method, start=start)

    @staticmethod
    def _listed(pairs: Eigenpairs) -> Array:
        values, errors = (jnp.asarray(numbers) for numbers in pairs.values)
        products = jnp.full_like(values, pairs.products, values.dtype)
        return jnp.stack([values, errors, products], axis=-1)

    def __call__(self, point: Point) -> Array:
        """Each eigenvalue, the largest first and then the smallest, its residual, and the products that all took."""
        return self._listed(self._pairs(point, None))

    def look(self, point: Point, memory: Array) -> tuple[Array, Array]:
        """The same from the vectors of the last look, and the vectors for the next."""
        pairs = self._pairs(point, memory)
        # Where the loss has overflowed there are none.
        kept = jnp.where(jnp.isfinite(pairs.vectors).all(), pairs.vectors, memory)
        return self._listed(pairs), kept

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The eigenvalues, and value, error and number of products of each."""
        del params
        names = (*(f"top.{i}" for i in range(self.top)), *(f"bottom.{i}" for i in range(self.bottom)))
        return Axis("eigenvalue", names), Axis("quantity", ("value", "error", "products"))


class CriticalSharpness(AbstractProbe):
    r"""The curvature of the loss along the next update, $\lambda_c = 2 / \eta_c$, from a few evaluations of the loss.

    $\eta_c$ is the least step size at which the loss after the update is above the one before. Along a gradient step of
    a quadratic loss $\lambda_c = g^\top H g / g^\top g$, at most the sharpness; training is stable while it is below
    $2/\eta$. The step is doubled or halved until it brackets $\eta_c$, and the bracket is halved on a logarithmic
    scale. With minibatches both losses are those of the step's batch.

    Args:
        when: the steps at which it is recorded.
        tolerance: relative half-width of the last bracket.
        reach: factor by which $\eta_c$ may lie above or below the step size; beyond it there is no value.

    Raises:
        Mistake: if a number is not above 0.

    References:
        Kalra et al. (2026), arXiv:2601.16979.
    """

    when: AbstractSchedule = Every(1)
    tolerance: float = eqx.field(default=0.05, converter=real)
    reach: float = eqx.field(default=2.0**20, converter=real)

    def __check_init__(self):
        positive(self, "tolerance")
        positive(self, "reach")

    def __call__(self, point: Point) -> Array:
        """The critical sharpness, the half-width of its bracket, the number of losses evaluated."""
        if point.change is None or point.next_step_size is None:
            raise Mistake("the critical sharpness needs the next update; record it during a run")
        change, rate = point.change, point.next_step_size

        def rises(factor: Array) -> Bool[Array, ""]:
            moved = jax.tree.map(lambda a, b: a + factor * b, point.params, change)
            loss = point.objective.loss(moved)
            return ~(loss <= point.loss)  # an overflow is a rise

        one = jnp.ones((), point.loss.dtype)
        outside = rises(one)

        def unbracketed(state: tuple[Array, Array, Array]) -> Array:
            factor, found, _ = state
            return (found == outside) & (factor < self.reach) & (factor > 1 / self.reach)

        def spread(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            factor, _, count = state
            factor = jnp.where(outside, factor / 2, factor * 2)
            return factor, rises(factor), count + 1

        factor, found, count = jax.lax.while_loop(unbracketed, spread, (one, outside, one))
        low = jnp.where(outside, factor, factor / 2)

        def wide(state: tuple[Array, Array, Array]) -> Array:
            return state[1] / state[0] > 1 + 2 * self.tolerance

        def halved(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            low, high, count = state
            middle = jnp.sqrt(low * high)
            above = rises(middle)
            return jnp.where(above, low, middle), jnp.where(above, middle, high), count + 1

        low, high, count = jax.lax.while_loop(wide, halved, (low, 2 * low, count))
        ends = 2 / (rate * jnp.stack([high, low]))
        value = jnp.where(found != outside, ends.mean(), jnp.nan)
        return jnp.stack([value, jnp.where(found != outside, (ends[1] - ends[0]) / 2, jnp.nan), count])

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The critical sharpness, its error, and the number of losses."""
        del params
        return (Axis("quantity", ("sharpness", "error", "losses")),)

r"""Theorem B: gradient descent stays in a ball in which the Jacobian keeps its rank, whatever blocks are trained.

With $\sigma_0$ the smallest singular value of J at the start, $\beta(\rho)$ a Lipschitz bound of J on the ball of
radius $\rho$, $\rho$ the root of $\beta(\rho)\rho = \sigma_0/2$ and $L_J = \sigma_{\max}(J_0) + \sigma_0/2$: if
$8\beta\|r_0\| \le \sigma_0^2$ and the step is at most $1/(L_J^2 + \beta\|r_0\|)$, all iterates stay within
$4\|r_0\|/\sigma_0$ of the start and $f_t \le (1 - \eta\sigma_0^2/4)^t f_0$. Proof: `docs/theory/theorem_b.md`.
Constants are found in double precision, and $\sigma_0$ is a lower bound: the computed value less its error.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from descentlab._types import Array, Float, PyTree
from descentlab.axis import Axis
from descentlab.objective import Objective
from descentlab.point import Point
from descentlab.probes import AbstractProbe
from descentlab.probes.precision import in_float64
from descentlab.probes.spectra import certain_smallest, jacobian_modes, singular_error
from descentlab.schedule import AbstractSchedule, At
from descentlab.theory.full_batch import full_batch
from descentlab.theory.lipschitz import jacobian_lipschitz, largest_radius

__all__ = ["LipschitzSearch", "TheoremB", "TheoremBConstants", "extreme_singular", "theorem_b"]


class TheoremBConstants(NamedTuple):
    r"""What Theorem B rests on at a start, and what it says.

    Attributes:
        sigma_min: a lower bound of $\sigma_0$.
        sigma_max: an upper bound of $\sigma_{\max}(J_0)$.
        residual: $\|r_0\|$.
        radius: $\rho$.
        beta: $\beta(\rho)$; NaN where no Lipschitz bound is known.
        ratio: $8\beta\|r_0\| / \sigma_0^2$, at most 1 where it applies; infinite where J has not full row rank.
        step: the largest step size it speaks of.
        reach: how far from the start an iterate may be.
    """

    sigma_min: Float[Array, ""]
    sigma_max: Float[Array, ""]
    residual: Float[Array, ""]
    radius: Float[Array, ""]
    beta: Float[Array, ""]
    ratio: Float[Array, ""]
    step: Float[Array, ""]
    reach: Float[Array, ""]


def extreme_singular(singular: Float[Array, " row"], params: PyTree) -> tuple[Array, Array]:
    r"""A lower bound of $\sigma_0$ (see `certain_smallest`) and an upper one of $\sigma_{\max}$.

    Args:
        singular: the singular values of J, of `jacobian_modes`.
        params: the trained blocks.
    """
    shape = (singular.shape[0], sum(leaf.size for leaf in jax.tree.leaves(params)))
    return certain_smallest(singular, shape), singular[0] * (1 + singular_error(shape, singular.dtype))


def theorem_b(objective: Objective, params: PyTree, singular: Float[Array, " row"]) -> TheoremBConstants:
    """The constants, in the precision of what is given.

    Args:
        objective: of any model; what is known of it decides `beta`.
        params: its trained blocks at the start.
        singular: the singular values of J there, of `jacobian_modes`.
    """
    smallest, largest = extreme_singular(singular, params)
    residual = jnp.sqrt(2 * objective.loss(params))
    slope = jacobian_lipschitz(objective.model(params), objective, params)
    unknown = jnp.full_like(smallest, jnp.nan)
    radius = unknown if slope is None else largest_radius(slope, smallest / 2)
    beta, reach = unknown if slope is None else slope(radius), 4 * residual / smallest
    ratio = jnp.where(smallest > 0, 8 * beta * residual / smallest**2, jnp.inf)
    # The two sides of the equivalence agree, except where the radius was cut off at the end of its range.
    ratio = jnp.where(reach > radius, jnp.maximum(ratio, reach / radius), ratio)
    step = 1 / ((largest + smallest / 2) ** 2 + beta * residual)
    return TheoremBConstants(smallest, largest, residual, radius, beta, ratio, step, reach)


class TheoremB(AbstractProbe):
    """The constants of Theorem B at a point; certified where `ratio` is at most 1.

    NaN in `beta` says that no Lipschitz bound is known for the model or its kernel, an infinite `ratio` that J has not
    full row rank.

    Args:
        when: the steps at which they are recorded.

    References:
        Derived in `docs/theory/theorem_b.md`; the rate is that of Song et al. (2024), arXiv:2411.07538.
    """

    when: AbstractSchedule = At((0,))

    def __call__(self, point: Point) -> Array:
        """A `TheoremBConstants`, stacked."""
        full_batch(point.data, "the constants of Theorem B")
        return in_float64(lambda objective, params: jnp.stack(_constants(objective, params)), point)

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The constants."""
        del params
        return (Axis("quantity", TheoremBConstants._fields),)


def _constants(objective: Objective, params: PyTree) -> TheoremBConstants:
    return theorem_b(objective, params, jacobian_modes(objective, params)[0])


class LipschitzSearch(AbstractProbe):
    r"""A search for points of Theorem B's ball at which J changes faster than the claimed $\beta$.

    The quotient $\|J(\theta) - J(\theta')\| / \|\theta - \theta'\|$ is taken for pairs of random points of the ball,
    and in the limit of close points, where it is the trilinear form $u^\top D^2 r[\delta, \epsilon]$, raised by
    alternating maximisation.

    Args:
        when: the steps at which it is made.
        points: number of random points.
        rounds: alternations at each.
    """

    when: AbstractSchedule = At((0,))
    points: int = 4
    rounds: int = 8

    def __call__(self, point: Point) -> Array:
        """The largest quotient found, and the claimed bound."""
        full_batch(point.data, "the constants of Theorem B")
        # Drawn out here: in a program of single precision JAX has no random numbers of double precision.
        keys = jax.random.split(jax.random.key(0), 3)
        size = sum(leaf.size for leaf in jax.tree.leaves(point.params))
        moves = jax.random.normal(keys[0], (self.points, 4, size))
        left = jax.random.normal(keys[1], (self.points, point.objective.targets.size))
        shares = jax.random.uniform(keys[2], (self.points,))
        return in_float64(self._search, point, moves, left, shares)

    def _search(self, objective: Objective, params: PyTree, *drawn: Array) -> Array:
        constants = _constants(objective, params)
        flat, unravel = ravel_pytree(params)
        moves, left, shares = drawn
        units = _unit(moves)
        places = flat + constants.radius * shares[:, None] * units[:, 0]

        def function(vector: Array) -> Array:
            return objective.residual(unravel(vector))

        slopes = jax.vmap(functools.partial(self._steepest, function))(places, _unit(left), units[:, 1])
        far = jax.vmap(functools.partial(_quotient, objective, params))(
            *(constants.radius * units[:, 2:]).swapaxes(0, 1)
        )
        return jnp.stack([jnp.maximum(slopes.max(), far.max()), constants.beta])

    def _steepest(self, function: Callable, at: Array, left: Array, second: Array) -> Array:
        """The largest second derivative found at a point, from a first guess of two of its three directions."""

        def pairing(vector: Array, left: Array, direction: Array) -> Array:
            return left @ jax.jvp(function, (vector,), (direction,))[1]

        def sharpen(_: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            left, second, _ = state
            gradient = jax.grad(pairing)(at, left, second)
            first = _unit(gradient)
            change = jax.jvp(lambda vector: jax.jvp(function, (vector,), (second,))[1], (at,), (first,))[1]
            return _unit(change), first, jnp.linalg.norm(change)

        return jax.lax.fori_loop(0, self.rounds, sharpen, (left, second, jnp.zeros((), at.dtype)))[2]

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The quotient found and the bound."""
        del params
        return (Axis("quantity", ("found", "bound")),)


def _unit(vectors: Array) -> Array:
    lengths = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / jnp.maximum(lengths, jnp.finfo(vectors.dtype).tiny)


def _quotient(objective: Objective, params: PyTree, one: Array, other: Array) -> Array:
    """||J(a) - J(b)|| / ||a - b|| for two points, given as moves from the centre."""
    flat, unravel = ravel_pytree(params)
    jacobians = [objective.jacobian(unravel(flat + move)) for move in (one, other)]
    gram = (jacobians[0] - jacobians[1]) @ (jacobians[0] - jacobians[1]).T
    return jnp.sqrt(jnp.linalg.eigvalsh(gram)[-1]) / jnp.linalg.norm(one - other)

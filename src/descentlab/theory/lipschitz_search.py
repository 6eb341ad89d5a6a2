"""A search for points at which J changes faster than Theorem B's constant says: it must find none."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from descentlab._types import Array, PyTree
from descentlab.axis import Axis
from descentlab.objective import Objective
from descentlab.point import Point
from descentlab.probes import AbstractProbe
from descentlab.probes.precision import in_float64
from descentlab.probes.spectra import jacobian_modes
from descentlab.schedule import AbstractSchedule, At
from descentlab.theory.full_batch import full_batch
from descentlab.theory.theorem_b import TheoremB

__all__ = ["LipschitzSearch"]


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
        constants = TheoremB().constants(objective, params, jacobian_modes(objective, params)[0])
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

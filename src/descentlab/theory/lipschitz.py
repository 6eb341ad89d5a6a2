r"""Upper bounds on how fast the attention features and the Jacobian change with the weights.

Everything here is an upper bound: of the first and second derivative of a head's features,
$\|dB_h\| \le C_1 \|d(W^Q, W^K)_h\|$ and $\|d^2 B_h\| \le C_2 \|d(W^Q, W^K)_h\|^2$, and, put together with the norms
of the other blocks, of the Lipschitz constant $\beta(\rho)$ of the Jacobian on the ball of radius $\rho$ around the
given weights. Proofs are in `docs/theory/lipschitz.md`. Rounding of float64 is not bounded.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._tree import block_names
from descentlab._types import Array, Float, PyTree
from descentlab.attention import AbstractAttention, Gaussian, Heads, Linear, Softmax
from descentlab.attention.gaussian import bandwidth
from descentlab.models import MultiHeadAttention
from descentlab.objective import Objective
from descentlab.theory.full_batch import all_alike

__all__ = [
    "Geometry",
    "KernelBounds",
    "attention_lipschitz",
    "geometry",
    "is_known",
    "jacobian_lipschitz",
    "kernel_bounds",
    "largest_radius",
]

SOFTMAX_CURVATURE = (2 / 27) ** 0.5
"""Largest norm of the second derivative of softmax along unit directions."""


class KernelBounds(NamedTuple):
    """How fast one head's features change with its trained query and key weights.

    Attributes:
        first: $C_1$, with the factor 1/sqrt(N) of B.
        second: $C_2$, with the same factor.
    """

    first: Float[Array, ""]
    second: Float[Array, ""]


class Geometry(eqx.Module):
    """What the bounds depend on: norms of the tokens and of the weights, and which blocks move.

    Attributes:
        spectral: spectral norm of each sample's token matrix.
        longest: norm of the longest token of each sample.
        tokens: tokens of a sample.
        head_dim: width of a head.
        norms: the largest spectral norm over heads of `query`, `key`, `value`, `output`.
        features: the largest spectral norm over heads of a head's columns of B.
        trained: names of the blocks that move.
    """

    spectral: Float[Array, " batch"]
    longest: Float[Array, " batch"]
    tokens: int = eqx.field(static=True)
    head_dim: int = eqx.field(static=True)
    norms: dict[str, Float[Array, ""]]
    features: Float[Array, ""]
    trained: tuple[str, ...] = eqx.field(static=True)

    @property
    def moving(self) -> int:
        """How many of `query` and `key` move."""
        return sum(name in self.trained for name in ("query", "key"))

    def scores(self, radius: Array) -> Array:
        """Bound on the norm of the factors that a change of the trained query and key weights is multiplied with.

        It is the norm of the key block where the query moves, of the query block where the key does, and where both
        do the Euclidean norm of the two plus the radius.
        """
        query, key = self.norms["query"], self.norms["key"]
        if self.moving == 2:
            return jnp.sqrt(query**2 + key**2) + radius
        return key if "query" in self.trained else query

    def power_sum(self, terms: Array) -> Array:
        """Root of the mean over samples of squares: the Frobenius norm of the stack, with the factor of B."""
        return jnp.sqrt(jnp.mean(terms**2))


def geometry(model: MultiHeadAttention, objective: Objective, params: PyTree) -> Geometry:
    """The norms at the given weights.

    Args:
        model: a layer of attention at the given weights.
        objective: what is minimised.
        params: its trained blocks there.

    Raises:
        Mistake: if examples have weights.
    """
    all_alike(objective)

    def spectral(matrices: Array) -> Array:
        return jnp.linalg.norm(matrices, ord=2, axis=(-2, -1))

    inputs = objective.inputs
    rows = jax.vmap(model.features)(inputs)
    heads = model.query.shape[0]
    features = rows.reshape(-1, heads, inputs.shape[-1]).transpose(1, 0, 2) / jnp.sqrt(inputs.shape[0])
    names = ("query", "key", "value", "output")
    return Geometry(
        spectral=spectral(inputs),
        longest=jnp.linalg.norm(inputs, axis=-1).max(axis=-1),
        tokens=inputs.shape[1],
        head_dim=model.query.shape[-1],
        norms={name: spectral(getattr(model, name)).max() for name in names},
        features=spectral(features).max(),
        trained=block_names(params),
    )


@functools.singledispatch
def kernel_bounds(attention: AbstractAttention, where: Geometry, radius: Array) -> KernelBounds | None:
    """The constants $C_1$ and $C_2$ on the ball, or `None` for a kernel without known ones (such as non-smooth ones).

    Register another kernel with `kernel_bounds.register`, before the first run: a compiled program keeps what it found.

    Args:
        attention: the kernel.
        where: norms at the centre of the ball.
        radius: of the ball, in the Frobenius norm of all trained blocks.
    """
    del attention, where, radius
    return None


@kernel_bounds.register
def _(attention: Gaussian, where: Geometry, radius: Array) -> KernelBounds:
    r"""$C_1 = \sqrt{2cmn/e}\,(\sum x_i^4)^{1/2}$ and $C_2 = 2cm\sqrt n\,(\sum t_i^2 x_i^4)^{1/2}$, for every radius."""
    del radius
    c, m, n = bandwidth(attention, where.head_dim), where.moving, where.tokens
    first = jnp.sqrt(2 * c * m * n / jnp.e) * where.power_sum(where.spectral**2)
    second = 2 * c * m * jnp.sqrt(1.0 * n) * where.power_sum(where.longest * where.spectral**2)
    return KernelBounds(first, second)


@kernel_bounds.register
def _(attention: Softmax, where: Geometry, radius: Array) -> KernelBounds:
    r"""$C_1 = \frac{\kappa}{2\tau\,r(d)}(\sum x_i^6)^{1/2}$ and a $C_2$ with a term in $\kappa^2$; both grow."""
    kappa, root = where.scores(radius), attention.temperature * attention.scaling.divisor(where.head_dim)
    first = kappa / (2 * root) * where.power_sum(where.spectral**3)
    bilinear = where.spectral**3 / (2 * root) if where.moving == 2 else 0.0
    second = where.power_sum(SOFTMAX_CURVATURE * where.longest * where.spectral**4 * (kappa / root) ** 2 + bilinear)
    return KernelBounds(first, second)


@kernel_bounds.register
def _(attention: Linear, where: Geometry, radius: Array) -> KernelBounds:
    r"""$C_1 = \frac{\kappa}{r(d)}(\sum x_i^6)^{1/2}$; $C_2$ is the same without $\kappa$ where both blocks move."""
    cubes = where.power_sum(where.spectral**3) / attention.scaling.divisor(where.head_dim)
    return KernelBounds(where.scores(radius) * cubes, cubes * float(where.moving == 2))


def attention_lipschitz(attention: AbstractAttention, where: Geometry, radius: Array) -> Float[Array, ""] | None:
    r"""Upper bound $\beta(\rho)$ of the Lipschitz constant of a layer's J; `None` where the kernel has none.

    It is the spectral norm of the symmetric matrix over (query-key, value, output)

        [[C2 v w, C1 w, C1 v], [C1 w, 0, b], [C1 v, b, 0]]

    with the rows and columns of blocks that do not move left out, and w, v, b bounds of the spectral norms of a head's
    output, value and feature matrices in the ball.

    Args:
        attention: the kernel.
        where: norms at the centre.
        radius: of the ball.
    """
    bounds = kernel_bounds(attention, where, radius)
    if bounds is None:
        return None
    value = where.norms["value"] + radius * ("value" in where.trained)
    output = where.norms["output"] + radius * ("output" in where.trained)
    features = where.features + bounds.first * radius * (where.moving > 0)
    return assembled(bounds, (value, output, features), where.trained)


def assembled(bounds: KernelBounds, norms: tuple[Array, Array, Array], trained: tuple[str, ...]) -> Float[Array, ""]:
    """The spectral norm of the matrix in `attention_lipschitz`, from the norms of value, output and features."""
    value, output, features = norms
    zero = jnp.zeros_like(features)
    matrix = jnp.stack(
        [
            jnp.stack([bounds.second * value * output, bounds.first * output, bounds.first * value]),
            jnp.stack([bounds.first * output, zero, features]),
            jnp.stack([bounds.first * value, features, zero]),
        ]
    )
    moves = [bool({"query", "key"} & set(trained)), "value" in trained, "output" in trained]
    moving = jnp.asarray(moves, dtype=matrix.dtype)
    return jnp.abs(jnp.linalg.eigvalsh(matrix * moving[:, None] * moving)).max()


@functools.singledispatch
def jacobian_lipschitz(model: PyTree, objective: Objective, params: PyTree) -> Callable[[Array], Array] | None:
    r"""Upper bound $\beta$ of the Lipschitz constant of J on a ball, as an increasing function of its radius.

    Register another model with `jacobian_lipschitz.register`, and Theorem B speaks of it.

    Args:
        model: the whole model at the centre.
        objective: what is minimised.
        params: its trained blocks at the centre.

    Returns:
        The function, in the Frobenius norm of all trained blocks; `None` for a model without a known bound.
    """
    del model, objective, params
    return None


def is_known(model: PyTree) -> bool:
    """Whether a bound is registered for models of this class."""
    return jacobian_lipschitz.dispatch(type(model)) is not jacobian_lipschitz.dispatch(object)


@jacobian_lipschitz.register
def _(model: MultiHeadAttention, objective: Objective, params: PyTree) -> Callable[[Array], Array] | None:
    """That of `attention_lipschitz`."""
    where = geometry(model, objective, params)
    if isinstance(model.attention, Heads) or kernel_bounds(model.attention, where, jnp.zeros(())) is None:
        return None
    return functools.partial(attention_lipschitz, model.attention, where)  # pyright: ignore[reportReturnType]


def largest_radius(slope: Callable, half: Array) -> Float[Array, ""]:
    r"""The radius at which slope(radius) * radius reaches `half`, from below, by bisection in its logarithm.

    Args:
        slope: an increasing function of the radius.
        half: what the product must not exceed.

    Returns:
        A radius that satisfies it, within a relative $10^{-12}$ of the largest or at the end of the range that is
        searched, $e^{70}$; 0 where $e^{-70}$ is too large already.
    """

    def halve(_: Array, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = interval
        middle = 0.5 * (low + high)
        fits = slope(jnp.exp(middle)) * jnp.exp(middle) <= half
        return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

    ends = (jnp.full_like(half, -70.0), jnp.full_like(half, 70.0))
    low, _ = jax.lax.fori_loop(0, 60, halve, ends)
    radius = jnp.exp(low)
    return jnp.where(slope(radius) * radius <= half, radius, 0.0)

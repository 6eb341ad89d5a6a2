"""Spectra of the Gram matrix and of the attention-feature matrix.

Ranks and smallest singular values are found in double precision, whatever the precision of the run.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._types import Array, Float, Int, PyTree
from descentlab.axis import Axis
from descentlab.curvature import Krylov, dense_extremes, krylov_extremes
from descentlab.curvature.gram import DENSE_ROWS
from descentlab.models import AttentionFeatures, offering
from descentlab.objective import Objective
from descentlab.point import Point
from descentlab.probes.base import AbstractProbe
from descentlab.probes.precision import in_float64
from descentlab.schedule import AbstractSchedule, At, LogSpaced

__all__ = [
    "RANK_TOLERANCE",
    "FeatureSpectrum",
    "GramSpectrum",
    "ModalSpectrum",
    "TokenRank",
    "certain_smallest",
    "distinct_tokens",
    "feature_matrix",
    "jacobian_modes",
    "rank_of",
    "rank_tolerance",
    "singular_error",
]

RANK_TOLERANCE = 1e-10
"""In double precision a singular value counts towards the rank when it exceeds this times the largest one."""


def singular_error(shape: tuple[int, ...], dtype: Any) -> float:
    r"""The error of a computed singular value relative to the largest one, $\max(m, n)\,\epsilon$.

    It is the backward error of the decomposition, with $\epsilon$ twice the unit roundoff.

    Args:
        shape: of the matrix.
        dtype: in which it is decomposed.
    """
    return max(shape) * float(jnp.finfo(dtype).eps)


def rank_tolerance(shape: tuple[int, ...], dtype: Any) -> float:
    r"""The part of the largest singular value that one must exceed to count towards the rank.

    It is `RANK_TOLERANCE`, where values are still known to five digits, or their error where that is larger, as it is
    in single precision. See `singular_error`.
    """
    return max(RANK_TOLERANCE, singular_error(shape, dtype))


def rank_of(singular: Array, shape: tuple[int, ...]) -> Array:
    """How many of a matrix's singular values, largest first, exceed its tolerance, as a floating-point number."""
    return jnp.sum(singular > rank_tolerance(shape, singular.dtype) * singular[0]) * 1.0


def certain_smallest(singular: Array, shape: tuple[int, ...]) -> Array:
    """A lower bound of a matrix's last singular value: the computed one less its error, or 0 below the tolerance.

    Args:
        singular: as many singular values as the matrix has rows, largest first.
        shape: of the matrix.
    """
    counts = singular[-1] > rank_tolerance(shape, singular.dtype) * singular[0]
    return jnp.where(counts, singular[-1] - singular_error(shape, singular.dtype) * singular[0], 0.0)


def extreme_singular(singular: Float[Array, " row"], params: PyTree) -> tuple[Array, Array]:
    r"""A lower bound of $\sigma_0$ (see `certain_smallest`) and an upper one of $\sigma_{\max}$.

    Args:
        singular: the singular values of J, of `jacobian_modes`.
        params: the trained blocks.
    """
    shape = (singular.shape[0], sum(leaf.size for leaf in jax.tree.leaves(params)))
    return certain_smallest(singular, shape), singular[0] * (1 + singular_error(shape, singular.dtype))


def jacobian_modes(objective: Objective, params: PyTree) -> tuple[Array, Array]:
    """The singular values of J, largest first, and the residual's components along its left singular vectors.

    There are as many as J has rows, with zeros where it has fewer columns.
    """
    jacobian = objective.jacobian(params)
    missing = max(0, jacobian.shape[0] - jacobian.shape[1])
    triangle = jnp.linalg.qr(jnp.pad(jacobian, ((0, 0), (0, missing))).T, mode="r")
    left, singular, _ = jnp.linalg.svd(triangle.T)
    return singular, left.T @ objective.residual(params)


def feature_matrix(objective: Objective, params: PyTree) -> Array:
    r"""The attention-feature matrix $B = [S_{ih} X_i]_{i,h} / \sqrt N$, one row a target, H D columns.

    The outputs of a layer are $\sqrt N \sum_h B_h W^V_h W^O_h$, so that training the value block reaches every target
    if and only if B has full row rank (and each output matrix full column rank).

    Raises:
        Mistake: if the model has no features.
    """
    model = offering(objective.model(params), AttentionFeatures, "the feature matrix B")
    rows = jax.vmap(model.features)(objective.inputs)
    return objective.scaled(rows).reshape(-1, rows.shape[-1])


class GramSpectrum(AbstractProbe):
    r"""Smallest and largest eigenvalue of the Gram matrix K of the trained blocks, with their errors.

    From the singular values of J where K has at most 512 rows; otherwise from products, where errors are those to which
    the eigenvalues are verified, infinite where they are not.

    Args:
        when: the steps at which it is recorded.
        method: how hard eigenvalues are looked for where K is not formed.
    """

    when: AbstractSchedule = LogSpaced(10)
    method: Krylov = Krylov()

    def __call__(self, point: Point) -> Array:
        """Smallest, largest, error of the smallest, error of the largest, and 1 where they are from J."""
        rows = eqx.filter_eval_shape(point.objective.residual, point.params).shape[0]
        dense = rows <= DENSE_ROWS
        if dense:
            extremes = dense_extremes(point.objective, point.params)
        else:
            extremes = krylov_extremes(point.objective, point.params, self.method)
        values = [extremes.smallest.value, extremes.largest.value, extremes.smallest.error, extremes.largest.error]
        return jnp.stack([*values, jnp.asarray(float(dense))])

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """Smallest and largest eigenvalue, their errors, and whether they are from J."""
        del params
        return (Axis("quantity", ("smallest", "largest", "smallest_error", "largest_error", "dense")),)


class FeatureSpectrum(AbstractProbe):
    r"""Smallest and largest singular value and the rank of the attention-feature matrix B, in double precision.

    The smallest is the one with the index of the number of rows, without those of weight 0: zero where B has fewer
    columns. The rank counts singular values above $10^{-10}$ times the largest; see `rank_tolerance`.

    Args:
        when: the steps at which it is recorded.
    """

    when: AbstractSchedule = LogSpaced(10)

    def __call__(self, point: Point) -> Array:
        """Smallest, largest, rank."""
        return in_float64(_feature_spectrum, point)

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """Extreme singular values and the rank."""
        del params
        return (Axis("quantity", ("smallest", "largest", "rank")),)


def _feature_spectrum(objective: Objective, params: PyTree) -> Array:
    features = feature_matrix(objective, params)
    singular = jnp.linalg.svd(features, compute_uv=False)
    rows = objective.examples.rows
    count = jnp.sum(objective.counting((rows, features.shape[0] // rows)))
    smallest = jnp.where(count <= features.shape[1], singular[jnp.clip(count - 1, 0, singular.shape[0] - 1)], 0.0)
    return jnp.stack([smallest, singular[0], rank_of(singular, features.shape)])


class ModalSpectrum(AbstractProbe):
    r"""All eigenvalues of K and the squared components of the residual along its eigenvectors, in double precision.

    With a model linear in its trained blocks, gradient descent gives
    $f_t = \frac12 \sum_i c_i^2 (1 - \eta\lambda_i)^{2t}$ with these $\lambda_i$ and $c_i^2$. They come from the
    singular values of J, so that a small eigenvalue keeps its relative precision down to $10^{-30}$ of the largest.
    Rows of weight 0 add eigenvalues 0 with components 0, which are no modes of the run.

    Args:
        when: the steps at which it is recorded.

    References:
        `docs/theory/theorem_a.md`.
    """

    when: AbstractSchedule = At((0,))

    def __call__(self, point: Point) -> Array:
        """Two rows: eigenvalues, largest first, and squared components."""
        return in_float64(lambda objective, params: jnp.stack(jacobian_modes(objective, params)) ** 2, point)

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """Eigenvalue and squared component, of each mode."""
        del params
        return (Axis("quantity", ("eigenvalue", "squared_component")), Axis("mode"))


class TokenRank(AbstractProbe):
    """The rank r of all tokens of all samples that count, stacked, in double precision; see `rank_tolerance`.

    Whether the vector of ones lies in their column space decides whether rows of attention that sum to one share a
    direction among heads: then the rank of B is at most H (r - 1) + 1, otherwise H r.

    Args:
        when: the steps at which it is recorded; the tokens do not change.

    References:
        `docs/theory/theorem_a.md`.
    """

    when: AbstractSchedule = At((0,))

    def __call__(self, point: Point) -> Array:
        """The rank, the rank with a column of ones appended, and how many tokens differ from all before in a sample."""
        return in_float64(_token_rank, point)

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """Both ranks and the number of distinct tokens."""
        del params
        return (Axis("quantity", ("rank", "rank_with_ones", "distinct")),)


def _token_rank(objective: Objective, params: PyTree) -> Array:
    inputs = objective.inputs
    shape = eqx.filter_eval_shape(objective.outputs, params).shape
    counts = objective.counting(shape).reshape(inputs.shape[0], -1).any(axis=1)
    ones = jnp.broadcast_to(counts[:, None], inputs.shape[:2]).reshape(-1, 1).astype(inputs.dtype)
    tokens = ones * inputs.reshape(-1, inputs.shape[-1])
    distinct = jnp.sum(jnp.where(counts, _distinct(inputs), 0)) * 1.0
    return jnp.stack([_rank(tokens), _rank(jnp.concatenate([tokens, ones], axis=1)), distinct])


def distinct_tokens(inputs: Float[Array, "batch time dim"]) -> Int[Array, ""]:
    """How many tokens differ from all before them in their sample."""
    return jnp.sum(_distinct(inputs))


def _distinct(inputs: Float[Array, "batch time dim"]) -> Int[Array, " batch"]:
    """The same by sample."""
    equal = jnp.all(inputs[:, :, None] == inputs[:, None], axis=-1)
    return jnp.sum(~jnp.any(jnp.tril(equal, -1), axis=-1), axis=-1)


def _rank(matrix: Array) -> Array:
    return rank_of(jnp.linalg.svd(matrix, compute_uv=False), matrix.shape)

"""Spectra of the Gram matrix and of the attention-feature matrix."""

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import positive
from descentlab._types import Array, PyTree
from descentlab.curvature import dense_extremes, lanczos_extremes
from descentlab.curvature.gram import DENSE_ROWS
from descentlab.objective import Objective
from descentlab.point import Point
from descentlab.probes.base import AbstractProbe
from descentlab.schedule import AbstractSchedule, At, LogSpaced

__all__ = ["RANK_TOLERANCE", "FeatureSpectrum", "GramSpectrum", "ModalSpectrum", "TokenRank", "feature_matrix"]

RANK_TOLERANCE = 1e-10
"""A singular value counts towards the rank when it exceeds this times the largest one."""


def feature_matrix(objective: Objective, params: PyTree) -> Array:
    r"""The attention-feature matrix $B = [S_{ih} X_i]_{i,h} / \sqrt N$, one row a target, H D columns.

    The outputs of a layer are $\sqrt N \sum_h B_h W^V_h W^O_h$, so that training the value block reaches every target
    if and only if B has full row rank (and each output matrix full column rank).
    """
    model = objective.model(params)
    rows = jax.vmap(model.features)(objective.inputs)
    return rows.reshape(-1, rows.shape[-1]) / jnp.sqrt(objective.inputs.shape[0])


class GramSpectrum(AbstractProbe):
    r"""Smallest and largest eigenvalue of the Gram matrix K of the trained blocks, with their errors.

    Dense where K has at most 512 rows; Lanczos otherwise, where the smallest value is an upper bound of the true one
    and the errors are residuals.

    Args:
        when: the steps at which it is recorded.
        matvecs: Lanczos steps where K is not formed.
    """

    when: AbstractSchedule = LogSpaced(10)
    matvecs: int = 60

    def __check_init__(self):
        positive(self, "matvecs")

    def __call__(self, point: Point) -> Array:
        """Smallest, largest, error of the smallest, error of the largest, and 1 where the spectrum was dense."""
        rows = eqx.filter_eval_shape(point.objective.residual, point.params).shape[0]
        dense = rows <= DENSE_ROWS
        if dense:
            extremes = dense_extremes(point.objective, point.params)
        else:
            extremes = lanczos_extremes(point.objective, point.params, matvecs=self.matvecs)
        values = [extremes.smallest.value, extremes.largest.value, extremes.smallest.error, extremes.largest.error]
        return jnp.stack([*values, jnp.asarray(float(dense))])

    def labels(self, params: PyTree) -> tuple[str, ...]:
        """Names of the entries."""
        del params
        return ("smallest", "largest", "smallest_error", "largest_error", "dense")


class FeatureSpectrum(AbstractProbe):
    r"""Smallest and largest singular value and the rank of the attention-feature matrix B.

    The smallest is the one with the index of the number of rows: zero where B has fewer columns. The rank counts
    singular values above $10^{-10}$ times the largest.

    Args:
        when: the steps at which it is recorded.
    """

    when: AbstractSchedule = LogSpaced(10)

    def __call__(self, point: Point) -> Array:
        """Smallest, largest, rank."""
        features = feature_matrix(point.objective, point.params)
        singular = jnp.linalg.svd(features, compute_uv=False)
        smallest = singular[-1] if features.shape[1] >= features.shape[0] else jnp.zeros_like(singular[-1])
        return jnp.stack([smallest, singular[0], jnp.sum(singular > RANK_TOLERANCE * singular[0]) * 1.0])

    def labels(self, params: PyTree) -> tuple[str, ...]:
        """Names of the entries."""
        del params
        return ("smallest", "largest", "rank")


class ModalSpectrum(AbstractProbe):
    r"""All eigenvalues of K and the squared components of the residual along its eigenvectors.

    With a model linear in its trained blocks, gradient descent gives
    $f_t = \frac12 \sum_i c_i^2 (1 - \eta\lambda_i)^{2t}$ with these $\lambda_i$ and $c_i^2$. They come from the
    singular values of J, so that a small eigenvalue keeps its relative precision down to $10^{-30}$ of the largest.

    Args:
        when: the steps at which it is recorded.

    References:
        `docs/theory/theorem_a.md`.
    """

    when: AbstractSchedule = At((0,))

    def __call__(self, point: Point) -> Array:
        """Two rows: eigenvalues, largest first, and squared components."""
        jacobian = point.objective.jacobian(point.params)
        missing = max(0, jacobian.shape[0] - jacobian.shape[1])
        triangle = jnp.linalg.qr(jnp.pad(jacobian, ((0, 0), (0, missing))).T, mode="r")
        left, singular, _ = jnp.linalg.svd(triangle.T)
        components = left.T @ point.objective.residual(point.params)
        return jnp.stack([singular**2, components**2])

    def labels(self, params: PyTree) -> tuple[str, ...]:
        """None: entries are numbered."""
        del params
        return ()


class TokenRank(AbstractProbe):
    """The rank r of all tokens of all samples, stacked, to a relative tolerance of 1e-10.

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
        inputs = point.objective.inputs
        tokens = inputs.reshape(-1, inputs.shape[-1])
        ones = jnp.ones((tokens.shape[0], 1), tokens.dtype)
        equal = jnp.all(inputs[:, :, None] == inputs[:, None], axis=-1)
        repeated = jnp.any(jnp.tril(equal, -1), axis=-1)
        distinct = jnp.sum(~repeated) * 1.0
        return jnp.stack([_rank(tokens), _rank(jnp.concatenate([tokens, ones], axis=1)), distinct])

    def labels(self, params: PyTree) -> tuple[str, ...]:
        """Names of the entries."""
        del params
        return ("rank", "rank_with_ones", "distinct")


def _rank(matrix: Array) -> Array:
    singular = jnp.linalg.svd(matrix, compute_uv=False)
    return jnp.sum(singular > RANK_TOLERANCE * singular[0]) * 1.0

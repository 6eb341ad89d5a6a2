"""The Gram matrix K = J J^T of the trained blocks and its extreme eigenvalues."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from descentlab._types import Array, Bool, Float, PyTree
from descentlab.curvature.eigen import Krylov, eigenpairs
from descentlab.curvature.operators import MEMORY, Product
from descentlab.estimate import Estimate
from descentlab.losses import SquaredError
from descentlab.mistake import Mistake
from descentlab.objective import Objective

__all__ = ["Gram", "GramExtremes", "dense_extremes", "krylov_extremes", "largest_eigenvalue"]

DENSE_ROWS = 512
"""Up to this many rows a Gram matrix is formed and diagonalised; beyond, it is known by its products."""


class GramExtremes(NamedTuple):
    """Smallest and largest eigenvalue of a symmetric matrix.

    Attributes:
        smallest: with its error.
        largest: with its error.
    """

    smallest: Estimate
    largest: Estimate


class Gram(eqx.Module):
    r"""The Gram matrix (neural tangent kernel) of the outputs, $K = J J^\top$.

    Here $J = N^{-1/2}\, \partial F / \partial\theta$, for least squares the Jacobian of the residual, weights included.
    Rows are outputs, samples outermost.

    Args:
        objective: whose model and examples.
        params: where.

    References:
        Jacot, Gabriel, Hongler (2018), arXiv:1806.07572.
    """

    objective: Objective
    params: PyTree

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, as many as outputs of all samples."""
        rows = eqx.filter_eval_shape(self.objective.outputs, self.params).size
        return rows, rows

    @property
    def dtype(self) -> Any:
        """Of the parameters."""
        return jnp.result_type(*jax.tree.leaves(self.params))

    def linear(self) -> Product:
        """The map v -> K v, one backward and one forward pass a product."""
        outputs, push = jax.linearize(self.objective.outputs, self.params)
        pull = jax.linear_transpose(push, self.params)
        scaled = self.objective.scaled
        return lambda vector: scaled(push(pull(scaled(vector.reshape(outputs.shape)))[0])).ravel()

    def dense(self, *, memory: int = MEMORY) -> np.ndarray:
        """The matrix, from the Jacobians of a few samples at a time, as many as the memory holds.

        Only pairs of samples below the diagonal are multiplied.

        Args:
            memory: bytes that the matrix and the Jacobians in use may take.

        Raises:
            Mistake: if the matrix and the Jacobians of two samples would take more.
        """
        rows, count = self.shape[0], self.objective.examples.rows
        width = np.dtype(self.dtype).itemsize
        outputs, size = rows // count, sum(leaf.size for leaf in jax.tree.leaves(self.params))
        # Two Jacobians are held at once, and making one takes as much again.
        sample = 3 * outputs * size * width
        some = (memory - rows**2 * width) // sample
        if some < 1:
            # The largest N with (N o)^2 w + 3 o P w <= memory.
            most = int(max(0.0, (memory - sample) / width) ** 0.5 / outputs)
            raise Mistake(
                f"the Gram matrix of {count} samples with {outputs} outputs each takes "
                f"{(rows**2 * width + sample) / 2**30:.3g} GiB, and {memory / 2**30:.3g} GiB are allowed, enough for "
                f"{most} samples; take fewer, or ask for its largest eigenvalues, which need products only"
            )
        some = min(int(some), count)
        starts = [min(first, count - some) for first in range(0, count, some)]
        matrix = np.empty((rows, rows), dtype=self.dtype)
        for index, first in enumerate(starts):
            mine = _jacobian(self, first, some)
            for other in starts[: index + 1]:
                part = _product(mine, mine if other == first else _jacobian(self, other, some))
                here, there = (slice(one * outputs, (one + some) * outputs) for one in (first, other))
                matrix[here, there] = part
                matrix[there, here] = part.T
        return matrix

    def extremes(self, *, memory: int = MEMORY) -> "GramExtremes":
        r"""Smallest and largest eigenvalue of the dense matrix, with the error of a dense eigensolver.

        With m rows that error is $\delta = m\,\epsilon\,\lambda_{\max}$: for a smaller $\lambda_{\min}$ take
        `dense_extremes`, which needs all of J at once. A large matrix that is not singular is not
        diagonalised: $\lambda_{\min}$ comes from Lanczos steps with $K^{-1}$ and $\lambda_{\max}$ from such with K, and
        Cholesky factors of $K - (\lambda_{\min} - \delta) I$ and $(\lambda_{\max} + \delta) I - K$ confirm that no
        eigenvalue lies outside.

        Both are NaN where an entry is no number.

        Args:
            memory: bytes that the matrix, the Jacobians in use and a copy for a factor may take; see `dense`.

        Raises:
            Mistake: if that would take more.
        """
        matrix = self.dense(memory=memory)
        if not np.isfinite(matrix).all():
            return GramExtremes(Estimate(np.nan, np.nan), Estimate(np.nan, np.nan))
        rows, size = len(matrix), sum(leaf.size for leaf in jax.tree.leaves(self.params))
        if DENSE_ROWS < rows <= size and 2 * matrix.nbytes <= memory:
            found = _factored(matrix)
            if found is not None:
                return found
        values = scipy.linalg.eigvalsh(matrix.T, overwrite_a=True, check_finite=False)
        error = _rounding(values[-1], rows)
        return GramExtremes(Estimate(float(values[0]), error), Estimate(float(values[-1]), error))


def _rounding(largest: np.floating, rows: int) -> float:
    """The error of a dense eigensolver."""
    return float(rows * np.finfo(largest.dtype).eps * largest)


def _factored(matrix: np.ndarray) -> GramExtremes | None:
    """Extremes from factors; `None` where the matrix is singular to rounding or a factor does not confirm them."""
    rows = len(matrix)

    def factor(sign: float, shift: float) -> np.ndarray:
        """The lower Cholesky factor of sign * K + shift * I, in a copy."""
        work = sign * matrix
        work[np.diag_indices(rows)] += matrix.dtype.type(shift)
        return scipy.linalg.cho_factor(work.T, lower=True, overwrite_a=True, check_finite=False)[0]

    def last(operator: np.ndarray | LinearOperator) -> np.floating:
        start = np.random.default_rng(0).normal(size=rows).astype(matrix.dtype)
        return np.asarray(eigsh(operator, k=1, which="LA", v0=start, return_eigenvectors=False))[0]

    def solve(vector: np.ndarray) -> np.ndarray:
        return scipy.linalg.cho_solve((inverse, True), vector, check_finite=False)

    try:
        inverse = factor(1.0, 0.0)
        operator = LinearOperator(matrix.shape, solve, dtype=matrix.dtype)  # pyright: ignore[reportCallIssue]
        smallest = 1 / last(operator)
        del inverse
        largest = last(matrix)
        error = _rounding(largest, rows)
        factor(1.0, error - float(smallest))
        factor(-1.0, error + float(largest))
    except (np.linalg.LinAlgError, ArpackNoConvergence):
        return None
    return GramExtremes(Estimate(float(smallest), error), Estimate(float(largest), error))


@eqx.filter_jit
def _jacobian(gram: Gram, first: Array | int, some: int) -> Array:
    """The rows of J that belong to some samples."""
    objective, count = gram.objective, gram.objective.examples.rows
    part = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, first, some), objective.examples)
    share = objective.share(part) if isinstance(objective.loss_function, SquaredError) else some / count
    return objective.on(part).jacobian(gram.params) * share**0.5


def _product(one: Array, other: Array) -> np.ndarray:
    """On a processor by NumPy, whose products are twice as fast as JAX's there, and again where both are the same."""
    if jax.default_backend() == "cpu":
        return np.asarray(one) @ np.asarray(other).T
    return np.asarray(one @ other.T)


def dense_extremes(objective: Objective, params: PyTree) -> GramExtremes:
    r"""Extreme eigenvalues of K as squares of singular values of J, which keep the digits that K loses.

    With J of m rows and P columns a singular value is known to $\delta = \max(m, P)\,\epsilon\,\sigma_{\max}$, the
    backward error of QR and SVD, and its square to $\delta (2 \sigma + \delta)$. From K itself it would be known to
    $m\,\epsilon\,\sigma_{\max}^2$ only. Where J has fewer columns than rows the smallest eigenvalue is zero. Rows with
    a weight of 0 are none here.
    """
    jacobian = objective.jacobian(params)
    rows, columns = jacobian.shape
    count = jnp.sum(objective.counting(eqx.filter_eval_shape(objective.outputs, params).shape))
    singular = jnp.linalg.svd(jnp.linalg.qr(jacobian.T, mode="r"), compute_uv=False)
    reached = jnp.stack([columns >= count, jnp.asarray(True)])
    places = jnp.stack([jnp.clip(count - 1, 0, singular.shape[0] - 1), jnp.zeros_like(count)])
    ends = jnp.where(reached, singular[places], 0.0)
    known = max(rows, columns) * jnp.finfo(singular.dtype).eps * singular[0]
    errors = jnp.where(reached, known * (2 * ends + known), 0.0)
    return GramExtremes(Estimate(ends[0] ** 2, errors[0]), Estimate(ends[1] ** 2, errors[1]))


class _Counting(eqx.Module):
    """K on the rows that count; the others, which are 0 in K, get an eigenvalue between its extremes."""

    gram: Gram
    among: Bool[Array, " row"]

    @property
    def shape(self) -> tuple[int, int]:
        return self.gram.shape

    @property
    def dtype(self) -> Any:
        return self.gram.dtype

    def linear(self) -> Product:
        product = self.gram.linear()
        one = jnp.where(self.among, jax.random.normal(jax.random.key(0), self.among.shape, self.dtype), 0.0)
        between = one @ product(one) / (one @ one)
        return lambda vector: product(vector) + jnp.where(self.among, 0.0, between * vector)


def krylov_extremes(objective: Objective, params: PyTree, method: Krylov) -> GramExtremes:
    r"""Extreme eigenvalues of K from its products; see `eigenpairs`.

    An error is the larger of the residual and the resolution to which the eigenvalue is verified to be the extreme one;
    without verification the smallest value is only an upper bound, the largest a lower one, and the error is infinite.

    Args:
        objective: defines K.
        params: where.
        method: how hard the eigenpairs are looked for.

    Raises:
        Mistake: if the method's limits are too small for two pairs.
    """
    among = objective.counting(eqx.filter_eval_shape(objective.outputs, params).shape)
    found = eigenpairs(_Counting(Gram(objective, params), among), top=1, bottom=1, method=method)
    values, errors = map(jnp.asarray, found.placed(method))
    return GramExtremes(Estimate(values[1], errors[1]), Estimate(values[0], errors[0]))


def largest_eigenvalue(objective: Objective, params: PyTree) -> Float[Array, ""]:
    """The largest eigenvalue of K, dense where it has at most 512 rows, by `eigenpairs` otherwise."""
    rows = eqx.filter_eval_shape(objective.residual, params).shape[0]
    if rows <= DENSE_ROWS:
        jacobian = objective.jacobian(params)  # squaring costs the largest no digits
        return jnp.linalg.eigvalsh(jacobian @ jacobian.T)[-1]
    return jnp.asarray(eigenpairs(Gram(objective, params)).values.value)[0]

"""Eigenpairs at the ends of a spectrum, with their residuals and a bound of the probability that one is missing."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._check import positive, real
from descentlab._definition import Definition
from descentlab._types import Array, Bool, Float, Int, PRNGKeyArray
from descentlab.curvature.krylov import (
    STRIDE,
    Ends,
    Limits,
    allowed,
    begun,
    power_of_two,
    resolution,
    searched,
    wanted_pairs,
)
from descentlab.curvature.operators import MEMORY, Operator, dense
from descentlab.estimate import Estimate
from descentlab.mistake import Mistake

__all__ = ["Eigenpairs", "Krylov", "eigenpairs"]

DENSE_ROWS = 256
"""Up to this many rows a matrix is formed and diagonalised: a search that must count on a hard spectrum takes more."""


class Krylov(Definition):
    """How hard eigenpairs are looked for.

    Args:
        tolerance: a pair has converged when its residual is at most this times its absolute value, or rounding.
        products: the most products with the matrix; never more than its rows are made.
        verify: whether fresh random vectors must confirm the answer; costs about half as much again.
        risk: the probability, over these vectors, of calling an answer verified that is not right to its `resolution`.
        memory: bytes that the basis and its products may take; with less there are more restarts.

    Raises:
        Mistake: if a number is not above 0, or the risk not below 1.
    """

    tolerance: float = eqx.field(default=1e-6, converter=real)
    products: int = 3000
    verify: bool = True
    risk: float = eqx.field(default=1e-3, converter=real)
    memory: int = MEMORY

    def __check_init__(self):
        for name in ("tolerance", "products", "risk", "memory"):
            positive(self, name)
        if isinstance(self.risk, float) and self.risk >= 1:
            raise Mistake(f"Krylov.risk must be a probability below 1, got {self.risk}")


class Eigenpairs(NamedTuple):
    r"""Eigenvalues at the ends of a spectrum, the largest first, then the smallest, each end from the outside in.

    Attributes:
        values: with their true residuals $\lVert A v - \lambda v \rVert$ as errors: an eigenvalue lies that close.
        vectors: unit eigenvectors, one a row.
        converged: which residuals, and those of all pairs further out, are within the tolerance; with verification none
            at an end that is not verified. Others are no eigenvalues yet, only bounds: the i-th largest is at least the
            i-th value, the i-th smallest at most.
        verified: whether, but with probability `risk`, no eigenvalue lies further out than it should: the i-th largest
            is at least the i-th value and exceeds it by at most its `resolution`, and so at the other end.
        resolution: the larger of the tolerance times the absolute value and $1024\,\epsilon$ times a bound of the norm
            of A at machine precision $\epsilon$; of a dense matrix the error of its eigensolver. Eigenvalues that are
            equal, or closer than this, are all counted.
        risk: that of the method; none for a dense matrix, and 1 where nothing is verified.
        products: made with the matrix.
    """

    values: Estimate
    vectors: Float[Array, "pair row"]
    converged: Bool[Array, " pair"]
    verified: Bool[Array, ""]
    resolution: Float[Array, " pair"]
    risk: Float[Array, ""]
    products: Int[Array, ""]

    def placed(self, method: Krylov) -> Estimate:
        """The values, and how far each may be from the eigenvalue of its place, but with the risk of the method.

        That is the larger of residual and resolution, and infinite where it has not converged or is not verified.

        Args:
            method: with which they were found.
        """
        sure = self.converged & (method.verify | (self.risk == 0))  # a dense matrix runs no risk
        errors = jnp.maximum(jnp.asarray(self.values.error), self.resolution)
        return Estimate(self.values.value, jnp.where(sure, errors, jnp.inf))

    def as_data(self) -> dict[str, Any]:
        """All but the vectors as JSON-compatible data."""
        fields = {"value": self.values.value, "error": self.values.error} | self._asdict()
        return {name: np.asarray(one).tolist() for name, one in fields.items() if name not in ("values", "vectors")}

    def listed(self) -> list[tuple[float, float, bool]]:
        """Each eigenvalue with its residual and whether it has converged, as plain numbers."""
        columns = (*self.values, self.converged)
        return list(zip(*(np.asarray(column).tolist() for column in columns), strict=True))


def eigenpairs(
    operator: Operator,
    *,
    top: int = 1,
    bottom: int = 0,
    method: Krylov | None = None,
    start: Float[Array, "pair row"] | None = None,
    key: PRNGKeyArray | None = None,
) -> Eigenpairs:
    r"""The `top` largest and the `bottom` smallest eigenpairs of a symmetric matrix.

    Lanczos with full reorthogonalisation and thick restarts, then rounds of the same in the complement of what was
    found, which find what is missing or bound the probability that something is: `descentlab.curvature.krylov` has the
    proof. A matrix of few rows is formed and diagonalised; its residuals are rounding. Compiles, and maps over lanes.

    Args:
        operator: the matrix.
        top: number of largest eigenvalues.
        bottom: number of smallest (most negative) ones.
        method: tolerance and limits; those of `Krylov()` without.
        start: vectors near the wanted ones, such as those at the last point of a run; random without.
        key: of random vectors; a fixed one without.

    Raises:
        Mistake: if no pair or more pairs than rows are wanted, or the memory holds no basis for them, or the
            products are too few.

    Examples:
        >>> import jax
        >>> from descentlab import Experiment
        >>> from descentlab.curvature import Hessian
        >>> from descentlab.experiment import start
        >>> found = eigenpairs(Hessian(*start(Experiment(), key=jax.random.key(0))), top=2, bottom=1)
        >>> found.vectors.shape
        (3, 784)

    References:
        Wu, Simon (2000), Thick-restart Lanczos method for large symmetric eigenvalue problems; van Dorsselaer,
        Hochstenbach, van der Vorst (2000), Computing probabilistic bounds for extreme eigenvalues of symmetric matrices
        with the Lanczos method; Sorensen (1992), Implicit application of polynomial filters.
    """
    rows = operator.shape[0]
    if top < 0 or bottom < 0 or not 1 <= top + bottom <= rows:
        raise Mistake(f"a matrix of {rows} rows has between 1 and {rows} eigenpairs, got top={top} and bottom={bottom}")
    method = Krylov() if method is None else method
    width = np.dtype(operator.dtype).itemsize
    basis = _basis(rows, top + bottom, width, method.memory)
    if basis == rows or (rows <= min(DENSE_ROWS, method.products) and rows**2 * width <= method.memory):
        return _of_dense(operator, top, bottom)
    if method.products < top + bottom + STRIDE:
        raise Mistake(
            f"{top + bottom} eigenpairs take at least {top + bottom + STRIDE} products, got products={method.products}"
        )
    key = jax.random.key(0) if key is None else key
    # Numbers are traced, so that another tolerance or limit needs no other program.
    tolerance, risk = (jnp.asarray(one, operator.dtype) for one in (method.tolerance, method.risk))
    most = jnp.asarray(min(method.products, rows), jnp.int32)
    limits = Limits(most, tolerance, risk if method.verify else None)
    return _search(operator, Ends(top, bottom, basis), limits, start, key)


def _basis(rows: int, wanted: int, width: int, memory: int) -> int:
    """How many vectors the basis holds: all, or the wanted ones twice, as many to restart with, and some to come.

    Raises:
        Mistake: if the memory is too small for the fewest that work.
    """
    fits, least = memory // (2 * rows * width), 3 * wanted + 3 * STRIDE
    if fits < min(least, rows):
        raise Mistake(
            f"{wanted} eigenpairs of a matrix of {rows} rows need {2 * rows * width * least / 2**30:.3g} GiB, and "
            f"{memory / 2**30:.3g} GiB are allowed, enough for {max(0, (fits - 3 * STRIDE) // 3)}; ask for fewer pairs "
            "or allow more memory"
        )
    return min(max(30 + 6 * wanted, least), fits, rows)


@eqx.filter_jit
def _of_dense(operator: Any, top: int, bottom: int) -> Eigenpairs:
    rows = operator.shape[0]
    matrix = dense(operator, memory=rows**2 * np.dtype(operator.dtype).itemsize)
    scale = power_of_two(jnp.abs(matrix).max())
    matrix = matrix / scale
    values, vectors = jnp.linalg.eigh((matrix + matrix.T) / 2)
    error = rows * jnp.finfo(values.dtype).eps * jnp.maximum(values[-1], -values[0])
    places = np.concatenate([rows - 1 - np.arange(top), np.arange(bottom)])
    values, vectors = values[places], vectors.T[places]
    residuals = jnp.linalg.norm(vectors @ matrix.T - values[:, None] * vectors, axis=1)
    known = jnp.isfinite(residuals)
    return Eigenpairs(
        Estimate(scale * values, scale * residuals),
        vectors,
        known,
        known.all(),
        jnp.full_like(values, scale * error),
        jnp.where(known.all(), 0.0, 1.0),
        jnp.asarray(rows, jnp.int32),
    )


@eqx.filter_jit
def _search(operator: Any, ends: Ends, limits: Limits, start: Array | None, key: PRNGKeyArray) -> Eigenpairs:
    _, tolerance, risk = limits
    first = jax.random.normal(key, (operator.shape[0],), operator.dtype)
    state = searched(operator.linear(), begun(first, ends, start), ends, limits, key)
    ritz = wanted_pairs(state, ends)
    good = ritz.residuals <= allowed(state, ritz.values, tolerance)
    # A pair has its place only if those further out have theirs.
    converged = jnp.concatenate([jnp.cumprod(good[: ends.top]), jnp.cumprod(good[ends.top :])]) > 0
    verified = state.done & (risk is not None)
    if risk is not None:
        converged &= jnp.repeat(state.sure, np.asarray([ends.top, ends.bottom]), total_repeat_length=ends.wanted)
    return Eigenpairs(
        Estimate(state.scale * ritz.values, state.scale * ritz.residuals),
        ritz.coefficients @ state.vectors,
        converged,
        verified,
        state.scale * resolution(state, ritz.values, tolerance),
        jnp.where(verified, 1.0 if risk is None else risk, 1.0),
        state.products,
    )

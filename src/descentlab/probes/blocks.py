"""What a block is made of: its part of the Gram matrix, and the ranks of its matrices."""

import jax
import jax.numpy as jnp

from descentlab._definition import DefinitionError
from descentlab._tree import array_names, block_names, blocks, is_meant, named
from descentlab._types import Array, PyTree
from descentlab.axis import Axis
from descentlab.objective import Objective
from descentlab.point import Point
from descentlab.probes.base import AbstractProbe
from descentlab.probes.precision import in_float64
from descentlab.probes.spectra import rank_of
from descentlab.schedule import AbstractSchedule, LogSpaced

__all__ = ["GramShares", "Rank"]


class GramShares(AbstractProbe):
    r"""Each trained block's part of the trace of the Gram matrix, $\mathrm{tr}(J_b J_b^\top) = \|J_b\|_F^2$.

    The trace of K is their sum. Rows of J are made one sample at a time, so that memory is that of one sample's.

    Args:
        when: the steps at which they are recorded.
    """

    when: AbstractSchedule = LogSpaced(10)

    def __call__(self, point: Point) -> Array:
        """Trace and share of every block."""
        objective, params = point.objective, point.params

        def squares(example: PyTree) -> Array:
            rows = jax.jacrev(lambda params: objective.model(params)(example).ravel())(params)
            return jnp.stack([sum(jnp.sum(array**2) for array in arrays) for arrays in blocks(rows).values()])

        factors = objective.scaled(jnp.ones(objective.examples.rows, point.loss.dtype)) ** 2
        traces = factors @ jax.lax.map(squares, objective.inputs)
        return jnp.stack([traces, traces / traces.sum()], axis=-1)

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The trained blocks, and trace and share of each."""
        return (Axis("block", block_names(params)), Axis("quantity", ("trace", "share")))


class Rank(AbstractProbe):
    r"""The rank and the stable rank $\|W\|_F^2 / \|W\|_2^2$ of trained matrices, in double precision.

    The matrices of all heads count as one, side by side: (heads, dim, width) as dim rows, (heads, width, out) of an
    output block as the rows of all heads.

    Args:
        of: which parameters: a path, a prefix, a block or a pattern.
        when: the steps at which they are recorded.

    Raises:
        DefinitionError: if it means no trained parameter, or one without two axes.

    References:
        `rank_tolerance` says from which singular value on a direction counts.
    """

    of: str
    when: AbstractSchedule = LogSpaced(10)

    def __call__(self, point: Point) -> Array:
        """Rank and stable rank of every matrix."""
        meant = self._meant

        def ranks(_: Objective, params: PyTree) -> Array:
            return jnp.stack([_ranks(name, array) for name, array in meant(params).items()])

        return in_float64(ranks, point)

    def _meant(self, params: PyTree) -> dict[str, Array]:
        found = {name: jnp.asarray(array) for name, array in named(params).items() if is_meant(name, self.of)}
        if not found:
            known = ", ".join(array_names(params))
            raise DefinitionError(f"Rank.of means no trained parameter, got {self.of!r}; there are {known}")
        return found

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The matrices, and both ranks of each."""
        meant = tuple(name for name in array_names(params) if is_meant(name, self.of))
        return (Axis("parameter", meant), Axis("quantity", ("rank", "stable_rank")))


def _ranks(name: str, array: Array) -> Array:
    if array.ndim not in (2, 3):
        raise DefinitionError(f"a rank is that of a matrix, or of one a head, {name!r} has shape {array.shape}")
    beside = array.ndim == 3 and not name.endswith("output")
    matrix = jnp.moveaxis(array, 0, 1).reshape(array.shape[1], -1) if beside else array.reshape(-1, array.shape[-1])
    singular = jnp.linalg.svd(matrix, compute_uv=False)
    return jnp.stack([rank_of(singular, matrix.shape), jnp.sum(singular**2) / singular[0] ** 2])

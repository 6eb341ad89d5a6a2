"""Curvature matrices of an objective over its trained blocks, known by their products with vectors.

With outputs F(theta), loss l(F) and the whole f = l(F(theta)), the Hessian is the sum of two parts,

    H = J_F^T (d2l/dF2) J_F  +  sum_m (dl/dF_m) d2F_m/dtheta2,

the Gauss-Newton (outer-product) part H_o and the functional part H_f. Vectors list the trained parameters in tree
order.
"""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from descentlab._tree import array_names, is_meant, select
from descentlab._types import Array, Float, PyTree
from descentlab.mistake import Mistake
from descentlab.objective import Examples, Objective

__all__ = [
    "MEMORY",
    "AbstractCurvature",
    "Block",
    "EmpiricalFisher",
    "Functional",
    "GaussNewton",
    "Hessian",
    "Operator",
    "Preconditioned",
    "dense",
]

MEMORY = 2**31
"""Bytes that a matrix or a basis of vectors may take, unless a caller says otherwise."""

TOGETHER = 16
"""Products that are made at once where many are wanted: a few fill the machine, more take memory."""

Product = Callable[[Array], Array]
TreeProduct = Callable[[PyTree], PyTree]


@runtime_checkable
class Operator(Protocol):
    """A real matrix known by its products. All algorithms of this folder ask no more of a matrix."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    @property
    def dtype(self) -> Any:
        """Of its entries."""
        ...

    def linear(self) -> Product:
        """The map v -> A v; what all products share is computed once, here."""
        ...


class AbstractCurvature(eqx.Module):
    """A symmetric matrix over the trained blocks of an objective, the mean of one matrix an example.

    Indexing by names of blocks gives a part of it: `H["query"]` the diagonal block, `H["query", "value"]` the block of
    these rows and columns. In a deep model `query` is that block of all layers and `layers.0.query` the first one's.
    """

    objective: eqx.AbstractVar[Objective]
    params: eqx.AbstractVar[PyTree]
    batch: eqx.AbstractVar[int | None]

    @abstractmethod
    def of(self, objective: Objective) -> TreeProduct:
        """The product on the examples of one batch, linearised at the parameters."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, as many as parameters."""
        size = sum(leaf.size for leaf in jax.tree.leaves(self.params))
        return size, size

    @property
    def dtype(self) -> Any:
        """Of the parameters."""
        return jnp.result_type(*jax.tree.leaves(self.params))

    @property
    def blocks(self) -> dict[str, int]:
        """Parameters of every array by its name, in the order of rows."""
        return dict(zip(array_names(self.params), (a.size for a in jax.tree.leaves(self.params)), strict=True))

    def linear(self) -> Product:
        """The map v -> A v.

        With all examples at once they are linearised here, and a product is two passes over them. In batches the
        examples are passed through in turn at every product, so that memory is that of one batch.
        """
        _, restore = ravel_pytree(self.params)
        product = self.of(self.objective) if self.batch is None else self._in_batches(self.batch)
        return lambda vector: ravel_pytree(product(restore(vector)))[0]

    def _in_batches(self, batch: int) -> TreeProduct:
        count = self.objective.examples.rows
        whole = count // batch * batch
        examples = self.objective.examples
        parts = jax.tree.map(lambda a: a[:whole].reshape(-1, batch, *a.shape[1:]), examples)
        rest = jax.tree.map(lambda a: a[whole:], examples)

        def product(direction: PyTree) -> PyTree:
            total, _ = jax.lax.scan(
                lambda total, part: (self._with(total, part, direction), None),
                jax.tree.map(jnp.zeros_like, direction),
                parts,
            )
            return total if whole == count else self._with(total, rest, direction)

        return product

    def _with(self, total: PyTree, part: Examples, direction: PyTree) -> PyTree:
        """A sum of products over examples, with those of a part added by their share of all."""
        share = self.objective.share(part)
        found = self.of(self.objective.on(part))(direction)
        return jax.tree.map(lambda a, b: a + share * b, total, found)

    def among(self, names: Sequence[str]) -> "AbstractCurvature":
        """The rows and columns of these blocks.

        Raises:
            Mistake: if there is no such block.
        """
        kept, rest = select(self.params, names)
        frozen = eqx.combine(rest, self.objective.frozen)
        objective = dataclasses.replace(self.objective, frozen=frozen)
        return type(self)(objective, kept, self.batch)  # pyright: ignore[reportCallIssue]

    def __getitem__(self, names: str | tuple[str, str]) -> "AbstractCurvature | Block":
        """One block; see the class.

        Raises:
            Mistake: if there is no such block.
        """
        rows, columns = (names, names) if isinstance(names, str) else names
        if rows == columns:
            return self.among((rows,))
        self.among((rows, columns))
        return Block(self, rows, columns)

    def dense(self, *, memory: int = MEMORY) -> Float[Array, "param param"]:
        """The matrix itself; see `dense`.

        Args:
            memory: bytes that it may take.

        Raises:
            Mistake: if it would take more.
        """
        return dense(self, memory=memory)


class Hessian(AbstractCurvature):
    r"""The Hessian of the loss, $H = \nabla^2 f$.

    Args:
        objective: whose loss.
        params: where.
        batch: examples that are passed through at once; `None` takes all.

    Examples:
        >>> import jax
        >>> from descentlab import Experiment
        >>> from descentlab.experiment import start
        >>> hessian = Hessian(*start(Experiment(), key=jax.random.key(0)))
        >>> hessian["query", "value"].shape
        (256, 256)

    References:
        Pearlmutter (1994), Fast exact multiplication by the Hessian.
    """

    objective: Objective
    params: PyTree
    batch: int | None = eqx.field(default=None, static=True)

    def of(self, objective: Objective) -> TreeProduct:
        """The product on the examples of one batch."""
        return jax.linearize(jax.grad(objective.loss), self.params)[1]


class GaussNewton(AbstractCurvature):
    r"""The Gauss-Newton part, $H_o = J_F^\top (\partial^2 \ell / \partial F^2) J_F$.

    It is positive semidefinite where $\ell$ is convex. It is the Fisher matrix too, for cross-entropy and, with unit
    variance, for least squares: there the second derivative of the loss with respect to the outputs does not depend on
    the targets.

    Args:
        objective: whose loss.
        params: where.
        batch: examples that are passed through at once; `None` takes all.

    References:
        Schraudolph (2002), Fast curvature matrix-vector products; Martens (2020), arXiv:1412.1193, section 9.
    """

    objective: Objective
    params: PyTree
    batch: int | None = eqx.field(default=None, static=True)

    def of(self, objective: Objective) -> TreeProduct:
        """The product on the examples of one batch."""
        outputs, push = jax.linearize(objective.outputs, self.params)
        pull = jax.linear_transpose(push, self.params)
        _, bend = jax.linearize(jax.grad(objective.compared), outputs)
        return lambda direction: pull(bend(push(direction)))[0]


class Functional(AbstractCurvature):
    r"""The functional part, $H_f = \sum_m (\partial \ell / \partial F_m)\, \nabla^2 F_m = H - H_o$.

    Computed as it stands and not as a difference, so that it is exactly zero where the outputs are linear.

    Args:
        objective: whose loss.
        params: where.
        batch: examples that are passed through at once; `None` takes all.
    """

    objective: Objective
    params: PyTree
    batch: int | None = eqx.field(default=None, static=True)

    def of(self, objective: Objective) -> TreeProduct:
        """The product on the examples of one batch."""
        pull_back = jax.grad(objective.compared)(objective.outputs(self.params))
        return jax.linearize(lambda params: jax.vjp(objective.outputs, params)[1](pull_back)[0], self.params)[1]


class EmpiricalFisher(AbstractCurvature):
    r"""The mean of $\nabla f_i \nabla f_i^\top$ over examples, $f_i$ the loss of one. It is not the Fisher matrix.

    Each example counts by its share of the weights.

    Args:
        objective: whose loss.
        params: where.
        batch: examples that are passed through at once; `None` takes all.

    References:
        Kunstner, Balles, Hennig (2019), arXiv:1905.12558.
    """

    objective: Objective
    params: PyTree
    batch: int | None = eqx.field(default=None, static=True)

    def of(self, objective: Objective) -> TreeProduct:
        """The product on the examples of one batch."""
        # One example is a batch of one.
        each_alone = jax.tree.map(lambda a: a[:, None], objective.examples)

        def each(params: PyTree) -> tuple[Array, Array | float]:
            return jax.vmap(lambda one: (objective.on(one).loss(params), objective.share(one)))(each_alone)

        _, push, shares = jax.linearize(each, self.params, has_aux=True)
        pull = jax.linear_transpose(push, self.params)
        return lambda direction: pull(shares * push(direction))[0]


class Preconditioned(eqx.Module):
    r"""$P^{-1/2} A P^{-1/2}$ with a diagonal P.

    Attributes:
        whole: A, symmetric.
        diagonal: of P, above 0.
    """

    whole: AbstractCurvature
    diagonal: Float[Array, " row"]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.whole.shape

    @property
    def dtype(self) -> Any:
        """Of the parameters."""
        return self.whole.dtype

    def linear(self) -> Product:
        """The map v -> P^(-1/2) A P^(-1/2) v."""
        product, root = self.whole.linear(), jnp.sqrt(self.diagonal)
        return lambda vector: product(vector / root) / root


class Block(eqx.Module):
    """Some rows and some columns of a curvature matrix.

    Attributes:
        whole: the matrix.
        rows: name of the block of its rows.
        columns: that of its columns.
    """

    whole: AbstractCurvature
    rows: str = eqx.field(static=True)
    columns: str = eqx.field(static=True)

    @property
    def shape(self) -> tuple[int, int]:
        """Parameters of either block."""
        rows, columns = self._places()
        return rows.size, columns.size

    @property
    def dtype(self) -> Any:
        """Of the parameters."""
        return self.whole.dtype

    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Where rows and columns stand among the parameters of both blocks."""
        both = {
            array: size
            for array, size in self.whole.blocks.items()
            if is_meant(array, self.rows) or is_meant(array, self.columns)
        }
        rows, columns = (
            np.flatnonzero(np.repeat([is_meant(array, name) for array in both], list(both.values())))
            for name in (self.rows, self.columns)
        )
        return rows, columns

    def linear(self) -> Product:
        """The map v -> A v, through the smallest symmetric part that holds the block."""
        part = self.whole.among((self.rows, self.columns))
        rows, columns = self._places()
        product, size = part.linear(), part.shape[0]

        def apply(vector: Array) -> Array:
            return product(jnp.zeros(size, vector.dtype).at[columns].set(vector))[rows]

        return apply

    def dense(self, *, memory: int = MEMORY) -> Float[Array, "row column"]:
        """The matrix itself; see `dense`.

        Args:
            memory: bytes that it may take.

        Raises:
            Mistake: if it would take more.
        """
        return dense(self, memory=memory)


def dense(operator: Operator, *, memory: int = MEMORY) -> Float[Array, "row column"]:
    """A matrix from its products with all unit vectors, one column a product.

    Args:
        operator: known by its products.
        memory: bytes that it may take.

    Raises:
        Mistake: if it would take more.
    """
    rows, columns = operator.shape
    width = np.dtype(operator.dtype).itemsize
    if rows * columns * width > memory:
        raise Mistake(
            f"a dense matrix of {rows} x {columns} entries takes {rows * columns * width / 2**30:.3g} GiB, and "
            f"{memory / 2**30:.3g} GiB are allowed, enough for {int((memory / width) ** 0.5)} parameters; take fewer "
            "blocks, ask for eigenpairs or traces, which need products only, or allow more memory"
        )
    return _dense(operator)


@eqx.filter_jit
def _dense(operator: Any) -> Array:
    rows, together = operator.shape[1], min(TOGETHER, operator.shape[1])
    units = jnp.eye(rows + -rows % together, rows, dtype=operator.dtype)  # no rest that would be compiled once more
    return jax.lax.map(operator.linear(), units, batch_size=together)[:rows].T

"""The training objective: one convention for loss, gradient, Jacobian and Gram matrix.

With N samples, outputs F(theta) and targets Y, the scaled residual is r = vec(F - Y) / sqrt(N) and

    f(theta) = 1/2 ||r||^2 = 1/(2N) sum_i ||F_i - Y_i||^2,   J = dr/dtheta,   grad f = J^T r,   K = J J^T.

Every rate, step size and certificate of the package is stated in these quantities. With weights w of the examples,
w_i / sum w stands for 1/N. Other losses than least squares have no residual.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._definition import DefinitionError
from descentlab._types import Array, Bool, Float, PRNGKeyArray, PyTree
from descentlab.losses import AbstractLossFunction, SquaredError, scaled, total

__all__ = ["ZERO_LOSS", "Examples", "Objective", "Splits"]

ZERO_LOSS = 1e-20
"""A loss is called zero when f <= ZERO_LOSS * f_0 in float64; below that, rounding decides."""


class Examples(NamedTuple):
    """Inputs with their targets, as NumPy arrays where they were read and JAX arrays in a program.

    Attributes:
        inputs: one example a row: real token vectors of axes example, time and dim, or integer tokens of axes example
            and time, in which 0 is padding and stands at the end only.
        targets: one a row: real targets, signs, or integer classes.
        weights: how much each counts in the loss, one an example or one a target; `None` counts all the same.
        parts: what else is known of each example, by name, one a row.
    """

    inputs: Any
    targets: Any
    weights: Any = None
    parts: Mapping[str, Any] = {}

    @property
    def rows(self) -> int:
        """How many examples there are."""
        return jax.tree.leaves(self.inputs)[0].shape[0]

    def at(self, places: Any) -> "Examples":
        """The examples at the given places."""
        return jax.tree.map(lambda array: array[places], self)


class Splits(NamedTuple):
    """The parts of a data set.

    Attributes:
        train: what a run trains on.
        development: held out from the training part, for choosing rates and stopping.
        test: looked at once, at the end.
    """

    train: Examples
    development: Examples
    test: Examples


class Objective(eqx.Module):
    """A loss on a full batch as a function of the trained blocks.

    Args:
        frozen: the model with `None` in place of the trained blocks.
        examples: the N examples of the batch.
        loss_function: how outputs and targets are compared.
        key: of the model's dropout; `None` where nothing is dropped.
    """

    frozen: PyTree
    examples: Examples
    loss_function: AbstractLossFunction = SquaredError()
    key: PRNGKeyArray | None = None

    @property
    def inputs(self) -> Any:
        """Of the examples."""
        return self.examples.inputs

    @property
    def targets(self) -> Any:
        """Of the examples."""
        return self.examples.targets

    def on(self, examples: Examples, *, key: PRNGKeyArray | None = None) -> "Objective":
        """The same objective on other examples."""
        return Objective(self.frozen, examples, self.loss_function, key)

    def share(self, some: Examples) -> Float[Array, ""] | float:
        """The share of the loss that some of the examples have: loss = sum of share times loss over its parts."""
        part, whole = (self.loss_function.counted(one.targets, one.weights) for one in (some, self.examples))
        if part is None or whole is None:
            return some.targets.shape[0] / self.targets.shape[0]
        return jnp.sum(part) / total(whole)

    def model(self, params: PyTree) -> PyTree:
        """The whole model, its trained blocks set to `params`."""
        return eqx.combine(params, self.frozen)

    def outputs(self, params: PyTree) -> Float[Array, "batch ..."]:
        """The model's outputs for every example."""
        model = self.model(params)
        if self.key is None:
            return jax.vmap(model)(self.inputs)
        keys = jax.random.split(self.key, self.examples.rows)
        return jax.vmap(lambda example, key: model(example, key=key))(self.inputs, keys)

    def residual(self, params: PyTree) -> Float[Array, " row"]:
        """The scaled residual r, samples outermost, then tokens, then outputs.

        Raises:
            DefinitionError: if the loss is not least squares.
        """
        if not isinstance(self.loss_function, SquaredError):
            raise DefinitionError(
                f"only least squares has a residual, this task has {type(self.loss_function).__name__}; leave out "
                "optimizers, probes and certificates that need one"
            )
        return self.loss_function.residual(self.outputs(params), self.targets, self.examples.weights)

    def loss(self, params: PyTree) -> Float[Array, ""]:
        """The loss f."""
        return self.compared(self.outputs(params))

    def compared(self, outputs: Float[Array, "batch ..."]) -> Float[Array, ""]:
        """The loss of given outputs."""
        return self.loss_function(outputs, self.targets, self.examples.weights)

    def scaled(self, rows: Float[Array, "batch ..."]) -> Float[Array, "batch ..."]:
        """Rows of all examples over sqrt(N), in least squares with weights times sqrt(w_i / sum w), as in J."""
        return scaled(rows, self.examples.weights if isinstance(self.loss_function, SquaredError) else None)

    def counting(self, shape: tuple[int, ...]) -> Bool[Array, " row"]:
        """Which numbers of arrays of this shape, examples first, have no weight of 0; the other rows of J are 0."""
        return self.scaled(jnp.ones(shape)).ravel() > 0

    def jacobian(self, params: PyTree) -> Float[Array, "row param"]:
        """J, its columns the trained parameters in tree order.

        Each output depends on its own sample alone, so the rows of one sample are found from that sample.
        """

        def of_sample(params: PyTree, example: PyTree) -> Array:
            return self.model(params)(example).ravel()

        rows = jax.vmap(jax.jacrev(of_sample), in_axes=(None, 0))(params, self.inputs)
        samples, outputs = jax.tree.leaves(rows)[0].shape[:2]
        columns = [leaf.reshape(samples, outputs, -1) for leaf in jax.tree.leaves(rows)]
        return self.scaled(jnp.concatenate(columns, axis=2)).reshape(samples * outputs, -1)

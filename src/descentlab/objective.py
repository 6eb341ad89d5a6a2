"""The training objective: one convention for loss, gradient, Jacobian and Gram matrix.

With N samples, outputs F(theta) and targets Y, the scaled residual is r = vec(F - Y) / sqrt(N) and

    f(theta) = 1/2 ||r||^2 = 1/(2N) sum_i ||F_i - Y_i||^2,   J = dr/dtheta,   grad f = J^T r,   K = J J^T.

Every rate, step size and certificate of the package is stated in these quantities. Classification has no residual;
there f is the mean cross-entropy.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._definition import Definition, DefinitionError
from descentlab._types import Array, Float, Integer, PRNGKeyArray, PyTree

__all__ = ["ZERO_LOSS", "AbstractLossFunction", "CrossEntropy", "Examples", "Objective", "Splits", "SquaredError"]

ZERO_LOSS = 1e-20
"""A loss is called zero when f <= ZERO_LOSS * f_0 in float64; below that, rounding decides."""


class Examples(NamedTuple):
    """Inputs with their targets, as NumPy arrays where they were read and JAX arrays in a program.

    Attributes:
        inputs: one example a row: real token vectors of axes example, time and dim, or integer tokens of axes example
            and time, in which 0 is padding and stands at the end only.
        targets: one a row: real targets, or integer classes.
    """

    inputs: Any
    targets: Any


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


class AbstractLossFunction(Definition):
    """How outputs are compared with targets."""

    @abstractmethod
    def __call__(self, outputs: Array, targets: Array) -> Float[Array, ""]:
        """The loss of a batch, its examples along the first axis."""

    @abstractmethod
    def check(self, outputs: tuple[int, ...], targets: tuple[int, ...]) -> None:
        """Raise where shapes do not fit.

        Raises:
            ValueError: if they do not.
        """


class SquaredError(AbstractLossFunction):
    r"""Least squares, $f = \frac{1}{2N} \sum_i \lVert F_i - Y_i \rVert^2$."""

    def residual(self, outputs: Array, targets: Array) -> Float[Array, " row"]:
        """The scaled residual r, samples outermost, then tokens, then outputs."""
        return (outputs - targets).ravel() / jnp.sqrt(outputs.shape[0])

    def __call__(self, outputs: Array, targets: Array) -> Float[Array, ""]:
        """Half the squared norm of the residual."""
        # A sum, not a product: the compiler fuses it with what makes the residual.
        return 0.5 * jnp.sum(self.residual(outputs, targets) ** 2)

    def check(self, outputs: tuple[int, ...], targets: tuple[int, ...]) -> None:
        """Raise unless targets have the shape of the outputs."""
        if outputs != targets:
            raise ValueError(
                f"targets must have the shape of the model's outputs {outputs}, got {targets}; "
                "change the model's output_dim or readout, or the task's target"
            )


class CrossEntropy(AbstractLossFunction):
    r"""Mean cross-entropy of integer classes, $f = -\frac1M \sum_m \log \mathrm{softmax}(F_m)_{y_m}$, in nats."""

    def __call__(self, outputs: Array, targets: Array) -> Float[Array, ""]:
        """The mean over all targets."""
        logs = jax.nn.log_softmax(outputs, axis=-1)
        return -jnp.mean(jnp.take_along_axis(logs, targets[..., None], axis=-1))

    def accuracy(self, outputs: Array, targets: Array) -> Float[Array, ""]:
        """The share of targets whose class has the largest output."""
        return jnp.mean(jnp.argmax(outputs, axis=-1) == targets, dtype=outputs.dtype)

    def check(self, outputs: tuple[int, ...], targets: tuple[int, ...]) -> None:
        """Raise unless there is one vector of outputs, one a class, for each target."""
        if outputs[:-1] != targets or not outputs[len(targets) :]:
            raise ValueError(
                f"outputs must have the shape {(*targets, 'classes')} for targets of shape {targets}, got {outputs}; "
                "choose a read-out of one vector a sequence (Classify, MeanPool) or a token (EachToken, PerToken)"
            )


class Objective(eqx.Module):
    """A loss on a full batch as a function of the trained blocks.

    Args:
        frozen: the model with `None` in place of the trained blocks.
        inputs: the N examples, a tree with a leading axis.
        targets: what the model should return for each.
        loss_function: how the two are compared.
        key: of the model's dropout; `None` where nothing is dropped.
    """

    frozen: PyTree
    inputs: Float[Array, "batch ..."] | Integer[Array, "batch ..."]
    targets: Float[Array, "batch ..."] | Integer[Array, "batch ..."]
    loss_function: AbstractLossFunction = SquaredError()
    key: PRNGKeyArray | None = None

    @property
    def examples(self) -> Examples:
        """The batch."""
        return Examples(self.inputs, self.targets)

    def on(self, examples: Examples, *, key: PRNGKeyArray | None = None) -> "Objective":
        """The same objective on other examples."""
        return Objective(self.frozen, examples.inputs, examples.targets, self.loss_function, key)

    def model(self, params: PyTree) -> PyTree:
        """The whole model, its trained blocks set to `params`."""
        return eqx.combine(params, self.frozen)

    def outputs(self, params: PyTree) -> Float[Array, "batch ..."]:
        """The model's outputs for every example."""
        model = self.model(params)
        if self.key is None:
            return jax.vmap(model)(self.inputs)
        keys = jax.random.split(self.key, self.inputs.shape[0])
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
        return self.loss_function.residual(self.outputs(params), self.targets)

    def loss(self, params: PyTree) -> Float[Array, ""]:
        """The loss f."""
        return self.compared(self.outputs(params))

    def compared(self, outputs: Float[Array, "batch ..."]) -> Float[Array, ""]:
        """The loss of given outputs."""
        return self.loss_function(outputs, self.targets)

    def jacobian(self, params: PyTree) -> Float[Array, "row param"]:
        """J, its columns the trained parameters in tree order.

        Each output depends on its own sample alone, so the rows of one sample are found from that sample.
        """

        def of_sample(params: PyTree, example: PyTree) -> Array:
            return self.model(params)(example).ravel()

        rows = jax.vmap(jax.jacrev(of_sample), in_axes=(None, 0))(params, self.inputs)
        samples, outputs = jax.tree.leaves(rows)[0].shape[:2]
        columns = [leaf.reshape(samples * outputs, -1) for leaf in jax.tree.leaves(rows)]
        return jnp.concatenate(columns, axis=1) / jnp.sqrt(samples)

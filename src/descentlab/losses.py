"""How outputs are compared with targets: losses, their weights, and what else is measured of outputs.

A loss gives a number l for every target. The loss of N examples is its mean under weights w not below 0, one an example
or one a target,

    f = sum w l / sum w;

without weights all count the same. The loss of nothing, where all weights are 0, is 0 with gradient 0.
"""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._definition import LATER, Definition, DefinitionError
from descentlab._types import Array, Float
from descentlab.mistake import Mistake

__all__ = ["AbstractLossFunction", "CrossEntropy", "Logistic", "SquaredError", "scaled", "total", "weighted_mean"]

Shape = tuple[int, ...]


class AbstractLossFunction(Definition):
    """How outputs are compared with targets. A loss of one's own says what one target costs, in `each`."""

    @abstractmethod
    def each(self, outputs: Array, targets: Array) -> Float[Array, "batch ..."]:
        """The loss l of every target, examples along the first axis."""

    def counted(self, targets: Array, weights: Array | None = None) -> Array | None:
        """The weights w with 0 where a target is ignored; `None` where all targets count the same."""
        del targets
        return weights

    def __call__(self, outputs: Array, targets: Array, weights: Array | None = None) -> Float[Array, ""]:
        """The loss f of a batch, its examples along the first axis.

        Args:
            outputs: of the model.
            targets: what they should be.
            weights: one an example or one a target; `None` counts all the same.
        """
        return weighted_mean(self.each(outputs, targets), self.counted(targets, weights))

    def metrics(self, outputs: Array, targets: Array, weights: Array | None = None) -> dict[str, Float[Array, ""]]:
        """What else is read off the outputs, by name: the accuracy where targets are classes or signs."""
        del outputs, targets, weights
        return {}

    def margins(self, outputs: Array, targets: Array) -> Float[Array, "batch ..."]:
        """By how much every target is classified rightly, above 0 where it is.

        Raises:
            DefinitionError: if targets are neither classes nor signs.
        """
        del outputs, targets
        raise DefinitionError(f"a margin needs classes or signs, and {type(self).__name__} compares numbers")

    def check(self, outputs: Shape, targets: Shape, weights: Shape | None = None) -> None:
        """Raise where shapes do not fit; unless a loss says otherwise, targets have the shape of the outputs.

        Raises:
            Mistake: if they do not.
        """
        _alike(outputs, targets)
        _leading(targets, weights)


class SquaredError(AbstractLossFunction):
    r"""Least squares, $f = \frac{1}{2N} \sum_i \lVert F_i - Y_i \rVert^2$.

    With weights, one an example, $f = \sum_i w_i \lVert F_i - Y_i \rVert^2 / (2 \sum_i w_i)$.
    """

    def each(self, outputs: Array, targets: Array) -> Float[Array, " batch"]:
        """Half the squared distance of every example."""
        return 0.5 * jnp.sum((outputs - targets) ** 2, axis=range(1, outputs.ndim))

    def residual(self, outputs: Array, targets: Array, weights: Array | None = None) -> Float[Array, " row"]:
        r"""The scaled residual r, samples outermost, then tokens, then outputs.

        It is $(F_i - Y_i) / \sqrt N$, with weights $\sqrt{w_i / \sum_j w_j}\,(F_i - Y_i)$.
        """
        return scaled(outputs - targets, weights).ravel()

    def __call__(self, outputs: Array, targets: Array, weights: Array | None = None) -> Float[Array, ""]:
        """Half the squared norm of the residual."""
        # A sum, not a product: the compiler fuses it with what makes the residual.
        return 0.5 * jnp.sum(self.residual(outputs, targets, weights) ** 2)

    def check(self, outputs: Shape, targets: Shape, weights: Shape | None = None) -> None:
        """Raise unless targets have the shape of the outputs, and weights are one an example."""
        _alike(outputs, targets)
        _leading(targets[:1], weights)


class CrossEntropy(AbstractLossFunction):
    r"""Cross-entropy of integer classes, $l_m = -\log \mathrm{softmax}(F_m)_{y_m}$, in nats.

    Args:
        ignored: the target that stands for no class, such as -100; it has loss 0 and does not count. The loss of any
            other target that is no class is NaN.
    """

    ignored: int | None = eqx.field(default=None, metadata=LATER)

    def each(self, outputs: Array, targets: Array) -> Float[Array, "batch ..."]:
        """Minus the log-probability of every target's class; 0 where it is ignored."""
        logs = jax.nn.log_softmax(outputs, axis=-1)
        # Negative indices would count from the last class.
        classes = jnp.where(targets < 0, jnp.int32(outputs.shape[-1]), targets)
        losses = -jnp.take_along_axis(logs, classes[..., None], axis=-1, mode="fill")[..., 0]
        return losses if self.ignored is None else jnp.where(targets == self.ignored, 0, losses)

    def counted(self, targets: Array, weights: Array | None = None) -> Array | None:
        """The weights with 0 where a target is ignored; `None` where all targets count the same."""
        if self.ignored is None:
            return weights
        kept = targets != self.ignored
        return kept if weights is None else kept * _spread(weights, kept)

    def margins(self, outputs: Array, targets: Array) -> Float[Array, "batch ..."]:
        """The output of every target's class less the largest other one."""
        own = jax.nn.one_hot(targets, outputs.shape[-1], dtype=bool)
        return jnp.sum(jnp.where(own, outputs, 0), axis=-1) - jnp.max(jnp.where(own, -jnp.inf, outputs), axis=-1)

    def metrics(self, outputs: Array, targets: Array, weights: Array | None = None) -> dict[str, Float[Array, ""]]:
        """The share of targets whose class has the largest output."""
        hits = (jnp.argmax(outputs, axis=-1) == targets).astype(outputs.dtype)
        return {"accuracy": weighted_mean(hits, self.counted(targets, weights))}

    def check(self, outputs: Shape, targets: Shape, weights: Shape | None = None) -> None:
        """Raise unless there is one vector of outputs, one a class, for each target."""
        if outputs[:-1] != targets or not outputs[len(targets) :]:
            raise Mistake(
                f"outputs must have the shape {(*targets, 'classes')} for targets of shape {targets}, got {outputs}; "
                "choose a read-out of one vector a sequence (Classify, MeanPool) or a token (EachToken, PerToken)"
            )
        _leading(targets, weights)


class Logistic(AbstractLossFunction):
    r"""The logistic loss of signs, $l_m = \log(1 + e^{-y_m F_m})$ for $y_m = \pm 1$, in nats.

    The loss of a target that is neither 1 nor -1 is NaN. There is one output a target, with an axis of its own or
    without.
    """

    def each(self, outputs: Array, targets: Array) -> Float[Array, "batch ..."]:
        """The loss of every target."""
        margins = _margins(outputs, targets)
        return jnp.where(jnp.abs(targets) == 1, jax.nn.softplus(-margins), jnp.nan)

    def margins(self, outputs: Array, targets: Array) -> Float[Array, "batch ..."]:
        """Output times sign."""
        return _margins(outputs, targets)

    def metrics(self, outputs: Array, targets: Array, weights: Array | None = None) -> dict[str, Float[Array, ""]]:
        """The share of targets whose sign is that of the output; an output of 0 has none."""
        hits = (_margins(outputs, targets) > 0).astype(outputs.dtype)
        return {"accuracy": weighted_mean(hits, weights)}

    def check(self, outputs: Shape, targets: Shape, weights: Shape | None = None) -> None:
        """Raise unless there is one output for each target."""
        if outputs not in (targets, (*targets, 1)):
            raise Mistake(
                f"outputs must have the shape {targets} or {(*targets, 1)} for signs of shape {targets}, "
                f"got {outputs}; choose a read-out of one number (output_dim=1)"
            )
        _leading(targets, weights)


def _margins(outputs: Array, targets: Array) -> Array:
    """Output times sign, one a target."""
    return outputs.reshape(targets.shape) * targets


def weighted_mean(values: Float[Array, "batch ..."], weights: Array | None = None) -> Float[Array, ""]:
    """The mean under weights, sum w v / sum w; 0 where all weights are 0.

    Args:
        values: one a target, examples along the first axis.
        weights: of the first axes of the values, the same along the others; `None` counts all the same.
    """
    if weights is None:
        return jnp.mean(values)
    spread = jnp.broadcast_to(_spread(weights, values).astype(values.dtype), values.shape)
    return jnp.sum(spread * values) / total(spread)


def scaled(rows: Float[Array, "batch ..."], weights: Array | None = None) -> Float[Array, "batch ..."]:
    r"""Rows of N examples times $\sqrt{w_i / \sum_j w_j}$, without weights over $\sqrt N$, as in a residual."""
    if weights is None:
        return rows / jnp.sqrt(rows.shape[0])
    weights = weights.astype(rows.dtype)
    return rows * _spread(jnp.sqrt(weights / total(weights)), rows)


def _spread(weights: Array, values: Array) -> Array:
    """Weights with axes of size 1 for those of the values that they lack."""
    return weights.reshape(*weights.shape, *(1,) * (values.ndim - weights.ndim))


def total(weights: Array) -> Array:
    """The sum of the weights; 1 where all are 0, so that a mean of nothing is 0."""
    total = jnp.sum(weights)
    return jnp.where(total == 0, 1, total)


def _alike(outputs: Shape, targets: Shape) -> None:
    if outputs != targets:
        raise Mistake(
            f"targets must have the shape of the model's outputs {outputs}, got {targets}; "
            "change the model's output_dim or readout, or the task's target"
        )


def _leading(targets: Shape, weights: Shape | None) -> None:
    if weights is not None and (not weights or targets[: len(weights)] != weights):
        allowed = " or ".join(str(targets[:axes]) for axes in range(1, len(targets) + 1))
        raise Mistake(f"weights must have the shape {allowed}, one an example or one a target, got {weights}")

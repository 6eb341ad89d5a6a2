"""A single layer of multi-head attention with a linear read-out, the model of the theory."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import positive
from descentlab._definition import LATER, Definition
from descentlab._types import Array, Bool, Float, PRNGKeyArray
from descentlab.attention import AbstractAttention, Heads, Softmax, over_heads
from descentlab.cost import TransformerSizes
from descentlab.cost.model import Model
from descentlab.mistake import Mistake
from descentlab.models.base import AbstractArchitecture
from descentlab.models.initializers import AbstractInit, Normal
from descentlab.models.kernel_costs import kernel_cost

__all__ = ["AbstractReadout", "AttentionLayer", "MeanPool", "MultiHeadAttention", "PerToken", "SumPool"]


class AbstractReadout(Definition):
    """What is read out of a sequence of vectors."""

    @abstractmethod
    def __call__(self, sequence: Float[Array, "time width"]) -> Float[Array, "..."]:
        """The part that is compared with the targets."""


class PerToken(AbstractReadout):
    """Every token has a target of its own."""

    def __call__(self, sequence: Float[Array, "time width"]) -> Float[Array, "time width"]:
        """The sequence itself."""
        return sequence


class MeanPool(AbstractReadout):
    """One target a sample, read off the mean over its tokens."""

    def __call__(self, sequence: Float[Array, "time width"]) -> Float[Array, " width"]:
        """The mean over the tokens."""
        return jnp.mean(sequence, axis=0)


class SumPool(AbstractReadout):
    """One target a sample, read off the sum over its tokens."""

    def __call__(self, sequence: Float[Array, "time width"]) -> Float[Array, " width"]:
        """The sum over the tokens."""
        return jnp.sum(sequence, axis=0)


class MultiHeadAttention(eqx.Module):
    r"""The trainable layer, $F = \sum_h S_h X W^V_h W^O_h$ (plus $X$ with a residual connection).

    Attributes:
        query: $W^Q$, one matrix a head.
        key: $W^K$.
        value: $W^V$.
        output: $W^O$, the rows of head h as matrix h.
        attention: the kernel that makes $S_h$ from $X W^Q_h$ and $X W^K_h$.
        readout: all tokens, their mean or their sum.
        residual: whether the input is added to the output.
    """

    query: Float[Array, "heads dim head"]
    key: Float[Array, "heads dim head"]
    value: Float[Array, "heads dim value"]
    output: Float[Array, "heads value out"]
    attention: AbstractAttention | Heads
    readout: AbstractReadout
    residual: bool = eqx.field(static=True)

    def weights(
        self, inputs: Float[Array, "time dim"], mask: Bool[Array, "time time"] | None = None
    ) -> Float[Array, "heads time time"]:
        """The attention matrix $S_h$ of every head."""
        queries, keys = self._projected(inputs, self.query), self._projected(inputs, self.key)
        return over_heads(self.attention, lambda kernel, q, k: kernel.weights(q, k, mask), queries, keys)

    def contributions(self, inputs: Float[Array, "time dim"]) -> Float[Array, "heads time out"]:
        """What a unit of attention on each token adds to an output, $X W^V_h W^O_h$ of every head."""
        return jnp.einsum("id,hde,heo->hio", inputs, self.value, self.output)

    def features(
        self, inputs: Float[Array, "time dim"], mask: Bool[Array, "time time"] | None = None
    ) -> Float[Array, "... features"]:
        r"""This sample's rows of the attention-feature matrix, $[S_1 X, \dots, S_H X]$, after the read-out."""
        mixed = jnp.einsum("hij,jd->ihd", self.weights(inputs, mask), inputs)
        return self.readout(mixed.reshape(inputs.shape[0], -1))

    def __call__(
        self, inputs: Float[Array, "time dim"], mask: Bool[Array, "time time"] | None = None
    ) -> Float[Array, "... out"]:
        """The layer's outputs for one sample."""
        values = self._projected(inputs, self.value)
        mixed = jnp.einsum("hij,jhe->ihe", self.weights(inputs, mask), values)
        outputs = jnp.tensordot(mixed, self.output, axes=2)
        return self.readout(outputs + inputs if self.residual else outputs)

    @staticmethod
    def _projected(inputs: Float[Array, "time dim"], block: Float[Array, "heads dim head"]) -> Array:
        """$X W_h$ of every head, axes time, heads, head.

        One product for all heads: mapped over samples it is a single large matrix product, where heads as a mapped
        axis would make many small ones, and twice the time of a step.
        """
        if block.shape[0] == 1:  # an axis of one head would have the compiler transpose the gradient at every step
            return (inputs @ block[0])[:, None]
        return jnp.tensordot(inputs, block, axes=((1,), (1,)))


class AttentionLayer(AbstractArchitecture):
    r"""Multi-head attention with a linear read-out: $F(X) = \sum_h S_h(X)\, X W^V_h W^O_h$, no bias.

    Blocks are `query key` of shape (heads, dim, head_dim), `value` of shape (heads, dim, value_dim) and `output` of
    shape (heads, value_dim, output_dim).

    Args:
        attention: the kernel.
        heads: number of heads, $H$.
        head_dim: width $d$ of a head's queries and keys; `None` divides the token width evenly among the heads.
        value_dim: width of a head's values; `None` takes that of its queries and keys.
        output_dim: outputs $d_o$ a token.
        query: start of the query block, and so on for `key`, `value`, `output`.
        readout: a target for every token, or one for the mean or the sum over tokens.
        residual: whether the input is added to the output (then `output_dim` must be the token width).

    Raises:
        Mistake: if a size is not above 0, heads do not divide the token width, or a residual does not fit.

    References:
        Song et al. (2024), arXiv:2411.07538, section 3.
    """

    embeds: ClassVar[bool] = False

    attention: AbstractAttention = Softmax()
    heads: int = 2
    head_dim: int | None = None
    value_dim: int | None = eqx.field(default=None, metadata=LATER)
    output_dim: int = 1
    query: AbstractInit = Normal(1.0)
    key: AbstractInit = Normal(1.0)
    value: AbstractInit = Normal(1.0)
    output: AbstractInit = Normal(1.0)
    readout: AbstractReadout = PerToken()
    residual: bool = False

    def __check_init__(self):
        for name in ("heads", "head_dim", "value_dim", "output_dim"):
            positive(self, name)

    def cost_model(self, width: int | None) -> Model:
        """The layer; see the base class.

        Raises:
            Mistake: if the width of a token is not known.
        """
        if width is None:
            raise Mistake("the task does not say the width of a token; give an experiment whose task has a `width`")
        return TransformerSizes(
            1, width, self.heads, 0,
            head_dim=self.head_dim, value_dim=self.value_dim, out=self.output_dim, bias=False, norm="none",
            residual=self.residual, kernel=kernel_cost(self.attention),
        ).model  # fmt: skip

    def init(self, example: Float[Array, "time dim"], *, key: PRNGKeyArray) -> MultiHeadAttention:
        """The layer at its start; see the base class."""
        dim = example.shape[-1]
        if self.head_dim is None and dim % self.heads:
            raise Mistake(
                f"heads must divide the token width, got heads={self.heads} and dim={dim}; "
                "choose another number of heads, or give head_dim"
            )
        if self.residual and self.output_dim != dim:
            raise Mistake(
                f"a residual connection needs output_dim equal to the token width {dim}, got {self.output_dim}"
            )
        width = dim // self.heads if self.head_dim is None else self.head_dim
        value_width = width if self.value_dim is None else self.value_dim
        keys = jax.random.split(key, 4)
        return MultiHeadAttention(
            query=self.query((self.heads, dim, width), key=keys[0]),
            key=self.key((self.heads, dim, width), key=keys[1]),
            value=self.value((self.heads, dim, value_width), key=keys[2]),
            output=self.output((self.heads, value_width, self.output_dim), key=keys[3]),
            attention=self.attention.init(self.heads),
            readout=self.readout,
            residual=self.residual,
        )

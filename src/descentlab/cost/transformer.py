"""Transformers of equal layers by their sizes: what the survey counts, and candidates of a search by the thousand.

Sizes follow the figures of the survey: biases on projections, LayerNorm and a residual addition after each part.
Embeddings are not counted; the output head is where the vocabulary is given.
"""

import dataclasses

import numpy as np

from descentlab.cost.attention import KERNELS, Attention, Kernel
from descentlab.cost.feed_forward import FeedForwardPart
from descentlab.cost.model import Layer, Model, Repeated, Stack
from descentlab.cost.operators import Operator, Sizes
from descentlab.cost.part import AbstractPart, LinearPart, Norm, Residual
from descentlab.mistake import Mistake

__all__ = ["KERNELS", "Kernel", "TransformerSizes", "encoder", "generation"]


@dataclasses.dataclass(frozen=True)
class TransformerSizes:
    """Sizes of a Transformer. Each may be an array: see `descentlab.cost.operators`.

    Attributes:
        layers: number of equal layers.
        width: of a token.
        heads: query heads.
        ffn: width of the feed-forward part; 0 where there is none.
        kv_heads: key and value heads, each for heads / kv_heads query heads; `None` for as many as heads.
        head_dim: width of a head; `None` for width / heads.
        value_dim: width of a head's values; `None` for that of its queries and keys.
        out: width of an attention layer's result; `None` for the token width.
        gated: whether the feed-forward part has a second input projection that gates the first.
        bias: whether projections add a bias.
        norm: *layer*, *rms* or *none*, after attention and after the feed-forward part.
        residual: whether the input of a part is added to its result.
        kernel: of attention.
        causal: whether it generates token by token.
        vocabulary: outputs of the head, which is counted for every token; 0 leaves it out.

    Raises:
        Mistake: if a size is not above 0, or heads are not a multiple of the key and value heads.
    """

    layers: Sizes
    width: Sizes
    heads: Sizes
    ffn: Sizes
    kv_heads: Sizes = None
    head_dim: Sizes = None
    value_dim: Sizes = None
    out: Sizes = None
    gated: bool = False
    bias: bool = True
    norm: str = "layer"
    residual: bool = True
    kernel: Kernel = KERNELS["softmax"]
    causal: bool = False
    vocabulary: int = 0

    def __post_init__(self):
        for name in ("width", "heads", "kv_heads", "head_dim", "value_dim", "out"):
            _above(self, name, 1)
        for name in ("layers", "ffn", "vocabulary"):
            _above(self, name, 0 if isinstance(getattr(self, name), np.ndarray) or name != "layers" else 1)
        if self.head_dim is None and np.any(np.mod(self.width, self.heads)):
            raise Mistake(f"heads must divide the width, got heads={self.heads} and width={self.width}; give head_dim")
        if np.any(np.mod(self.heads, self.groups)):
            raise Mistake(f"kv_heads must divide heads, got kv_heads={self.kv_heads} and heads={self.heads}")
        if self.norm not in ("layer", "rms", "none"):
            raise Mistake(f"norm must be layer, rms or none, got {self.norm!r}")

    @property
    def groups(self) -> Sizes:
        """Key and value heads."""
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def head(self) -> Sizes:
        """Width of a head."""
        return self.width // self.heads if self.head_dim is None else self.head_dim

    @property
    def value_head(self) -> Sizes:
        """Width of a head's values."""
        return self.head if self.value_dim is None else self.value_dim

    @property
    def parameters(self) -> Sizes:
        """Entries of the weight matrices of all layers; biases, norms and embeddings are not counted."""
        inner, keys, values = self.heads * self.head, self.groups * self.head, self.groups * self.value_head
        attention = self.width * (inner + keys + values) + self.heads * self.value_head * self._out
        return self.layers * (attention + (2 + self.gated) * self.width * self.ffn)

    @property
    def model(self) -> Model:
        """The same as one stack of layers."""
        head = [LinearPart("head", "head", self.width, self.vocabulary, kind="plain")] * bool(self.vocabulary)
        run = Repeated(Layer(f"{self.kernel.name} attention", self._parts()), self.layers)
        return Model("transformer", (Stack("layers", (run,), after=tuple(head)),), causal=self.causal)

    def _parts(self) -> tuple[AbstractPart, ...]:
        attention = Attention(
            self.width, self.heads, self.head, self.groups, self._out, self.width, value_head=self.value_dim,
            bias=self.bias, out_bias=self.bias, kernel=self.kernel,
        )  # fmt: skip
        found: list[AbstractPart] = [attention, *self._closing("attention", self._out)]
        if np.any(self.ffn):
            found += [FeedForwardPart(self.width, self.ffn, self.gated, self.bias), *self._closing("ffn", self.width)]
        return tuple(found)

    def _closing(self, part: str, width: Sizes) -> list[AbstractPart]:
        """The norm and the residual addition after a part."""
        return [Norm(part, width, self.norm), *[Residual(part, width)] * self.residual]

    @property
    def _out(self) -> Sizes:
        return self.width if self.out is None else self.out


def _above(owner: object, name: str, least: int) -> None:
    """Raise unless every entry of a size is at least `least`.

    Raises:
        Mistake: if one is not.
    """
    value = getattr(owner, name)
    if value is not None and not np.all(np.asarray(value) >= least):
        raise Mistake(f"{type(owner).__name__}.{name} must be at least {least}, got {value}")


def encoder(model: TransformerSizes | Model, tokens: int, *, batch: int = 1) -> list[Operator]:
    """The operators of one pass over whole sequences, an encoder's or a decoder's over its prompt.

    See `descentlab.cost.model.Model.one_pass`.

    Args:
        model: the sizes.
        tokens: length of a sequence.
        batch: sequences at once; weights are read once for all.

    Returns:
        One operator a kind and layer, with the number of layers as its count.

    Raises:
        Mistake: if a size is below 1.
    """
    return _flat(_whole(model).one_pass(tokens, batch=batch))


def generation(model: TransformerSizes | Model, tokens: int, *, prompt: int = 0, batch: int = 1) -> list[Operator]:
    """The operators of generating tokens one by one with keys and values cached.

    See `descentlab.cost.model.Model.steps`.

    Args:
        model: the sizes.
        tokens: how many are generated; sizes get one entry a token on their last axis.
        prompt: tokens in the cache at the start; `encoder` costs computing them.
        batch: sequences at once.

    Returns:
        One operator a kind.

    Raises:
        Mistake: if a size is below 1, the prompt below 0, or a number too large to be counted.
    """
    return _flat(_whole(model).steps(tokens, prompt=prompt, batch=batch))


def _whole(model: TransformerSizes | Model) -> Model:
    return model.model if isinstance(model, TransformerSizes) else model


def _flat(rows: dict[str, list[Operator]]) -> list[Operator]:
    return [one for found in rows.values() for one in found]

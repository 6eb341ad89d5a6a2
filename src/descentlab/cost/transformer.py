"""Transformers as lists of operators: an encoder's pass, a decoder's generation token by token.

Sizes follow the figures of the survey: biases on projections, LayerNorm and a residual addition after each part.
Embeddings are not counted; the output head is where the vocabulary is given.
"""

import dataclasses

import numpy as np

from descentlab.cost.operators import Elementwise, Matmul, Operator, Sizes

__all__ = ["KERNELS", "Kernel", "Transformer", "encoder", "generation"]


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What an attention kernel costs beyond its two products.

    Attributes:
        name: as descentlab's class of attention.
        flops: operations a score.
        passes: passes of a unit of special functions over the scores.
        lengths: how many of queries and keys need their squared length, 0 to 2.
        separable: whether scores are products of a query with a key, so that keys and values may be contracted first.
    """

    name: str
    flops: int
    passes: int
    lengths: int = 0
    separable: bool = False


# Operations a score. Softmax: scale, exponential, sum, quotient. Gaussian: scale, two lengths, exponential; rows are
# not summed, so one pass does. Normalised Gaussian: the length of the query cancels, sum and quotient come back.
KERNELS = {
    "softmax": Kernel("softmax", 4, 3),
    "gaussian": Kernel("gaussian", 4, 1, lengths=2),
    "normalized-gaussian": Kernel("normalized-gaussian", 5, 3, lengths=1),
    "linear": Kernel("linear", 1, 1, separable=True),
    "relu": Kernel("relu", 3, 1),
}
"""The kernels of the package by name."""

EXACT = 2**53
"""The largest number of tokens or sequences; whole numbers above it are no floating-point numbers."""

GENERATED = 10**7
"""The largest number of tokens that are generated; their counts take about a gigabyte."""

GELU = 10
"""Operations an entry of GELU, fitted to the survey's tables; SiLU is counted alike."""

LAYER_NORM = 8
"""Operations an entry of LayerNorm, fitted to the survey's tables; without mean and shift it is half of them."""


@dataclasses.dataclass(frozen=True)
class Transformer:
    """Sizes of a Transformer. Each may be an array: see `descentlab.cost.operators`.

    Attributes:
        layers: number of equal layers.
        width: of a token.
        heads: query heads.
        ffn: width of the feed-forward part; 0 where there is none.
        kv_heads: key and value heads, each for heads / kv_heads query heads; `None` for as many as heads.
        head_dim: width of a head; `None` for width / heads.
        out: width of an attention layer's result; `None` for the token width.
        gated: whether the feed-forward part has a second input projection that gates the first.
        bias: whether projections add a bias.
        norm: *layer*, *rms* or *none*, after attention and after the feed-forward part.
        residual: whether the input of a part is added to its result.
        kernel: of attention.
        causal: whether it generates token by token.
        vocabulary: outputs of the head, which is counted for every token; 0 leaves it out.

    Raises:
        ValueError: if a size is not above 0, or heads are not a multiple of the key and value heads.
    """

    layers: Sizes
    width: Sizes
    heads: Sizes
    ffn: Sizes
    kv_heads: Sizes = None
    head_dim: Sizes = None
    out: Sizes = None
    gated: bool = False
    bias: bool = True
    norm: str = "layer"
    residual: bool = True
    kernel: Kernel = KERNELS["softmax"]
    causal: bool = False
    vocabulary: int = 0

    def __post_init__(self):
        for name in ("width", "heads", "kv_heads", "head_dim", "out"):
            _above(self, name, 1)
        for name in ("layers", "ffn", "vocabulary"):
            _above(self, name, 0 if isinstance(getattr(self, name), np.ndarray) or name != "layers" else 1)
        if self.head_dim is None and np.any(np.mod(self.width, self.heads)):
            raise ValueError(
                f"heads must divide the width, got heads={self.heads} and width={self.width}; give head_dim"
            )
        if np.any(np.mod(self.heads, self.groups)):
            raise ValueError(f"kv_heads must divide heads, got kv_heads={self.kv_heads} and heads={self.heads}")
        if self.norm not in ("layer", "rms", "none"):
            raise ValueError(f"norm must be layer, rms or none, got {self.norm!r}")

    @property
    def groups(self) -> Sizes:
        """Key and value heads."""
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def head(self) -> Sizes:
        """Width of a head."""
        return self.width // self.heads if self.head_dim is None else self.head_dim

    @property
    def parameters(self) -> Sizes:
        """Entries of the weight matrices of all layers; biases, norms and embeddings are not counted."""
        inner = self.heads * self.head
        attention = self.width * (inner + 2 * self.groups * self.head) + inner * self._out
        return self.layers * (attention + (2 + self.gated) * self.width * self.ffn)

    @property
    def _out(self) -> Sizes:
        return self.width if self.out is None else self.out


def _above(owner: object, name: str, least: int) -> None:
    """Raise unless every entry of a size is at least `least`.

    Raises:
        ValueError: if one is not.
    """
    value = getattr(owner, name)
    if value is not None and not np.all(np.asarray(value) >= least):
        raise ValueError(f"{type(owner).__name__}.{name} must be at least {least}, got {value}")


def check_lengths(tokens: int, batch: int, prompt: int = 0) -> None:
    """Raise unless tokens and batch are above 0, the prompt is not below, and each is an exact floating-point number.

    Raises:
        ValueError: if one is not.
    """
    for name, value, least in (("tokens", tokens, 1), ("batch", batch, 1), ("prompt", prompt, 0)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
        if value > EXACT:
            raise ValueError(f"{name} must be at most {EXACT}, beyond which counts are not exact, got {value}")


def encoder(model: Transformer, tokens: int, *, batch: int = 1) -> list[Operator]:
    """The operators of one pass over whole sequences, an encoder's or a decoder's over its prompt.

    A prompt is counted without use of the causal mask, as dense kernels compute it.

    Args:
        model: the sizes.
        tokens: length of a sequence.
        batch: sequences at once; weights are read once for all.

    Returns:
        One operator a kind and layer, with the number of layers as its count.

    Raises:
        ValueError: if a size is below 1.
    """
    check_lengths(tokens, batch)
    ones = np.ones(1)
    operators = _projections(model, tokens * batch, ones)
    operators += _attention(model, tokens, tokens, batch * ones)
    operators += _rest(model, tokens * batch, ones)
    # By the definition of entries moved, nonlinear operators of a layer move 18 entries a token and column. So they do
    # in the survey's table of a decoder, but its tables of encoders need 17, fitted here. Which one is left out is not
    # said.
    return [_less(one, model.width * tokens * batch) if one.name == "residual ffn" else one for one in operators]


def _less(operator: Elementwise | Matmul, entries: Sizes) -> Operator:
    return dataclasses.replace(operator, extra=operator.extra - entries)


def generation(model: Transformer, tokens: int, *, prompt: int = 0, batch: int = 1) -> list[Operator]:
    """The operators of generating tokens one by one with keys and values cached.

    Token t sees prompt + t + 1/2 keys: the mean of those before it and those with it, as in the survey, so that l
    tokens see l^2 / 2.

    Args:
        model: the sizes.
        tokens: how many are generated; sizes get one entry a token on their last axis.
        prompt: tokens in the cache at the start; `encoder` costs computing them.
        batch: sequences at once.

    Returns:
        One operator a kind.

    Raises:
        ValueError: if a size is below 1, the prompt below 0, or a number too large to be counted.
    """
    check_lengths(tokens, batch, prompt)
    if tokens > GENERATED:
        raise ValueError(f"at most {GENERATED} tokens are generated, each a number of its own, got {tokens}")
    context, ones = prompt + np.arange(tokens) + 0.5, np.ones(tokens)
    operators = _projections(model, batch, ones)
    operators += _attention(model, context, 1, batch * ones)
    return operators + _rest(model, batch, ones)


def _projections(model: Transformer, columns: Sizes, ones: np.ndarray) -> list[Operator]:
    """Query, key, value and output projections."""
    count, keys, inner = model.layers * ones, model.groups * model.head, model.heads * model.head
    rows = {"query": inner, "key": keys, "value": keys}
    found: list[Operator] = [
        Matmul(name, "projections", size, model.width, columns, count=count, bias=model.bias)
        for name, size in rows.items()
    ]
    out = Matmul("output", "projections", model._out, inner, columns, count=count, bias=model.bias, wide=True)
    return [*found, out]


def _attention(model: Transformer, context: Sizes, queries: int, batch: np.ndarray) -> list[Operator]:
    """Scores, the kernel, and the weighted sums, per key and value head."""
    if model.kernel.separable:
        return _separable(model, context, queries, batch)
    count = model.layers * batch * model.groups
    columns = queries * (model.heads // model.groups)
    single = np.ndim(context) > 0
    # A single query's scores are counted once, written, and its key and value are appended to the cache.
    appended = 2 * model.head - context * columns if single else 0
    scores = Matmul("scores", "attention", context, model.head, columns, count=count, full=single, wide=True)
    mixed = Matmul("mixing", "attention", model.head, context, columns, count=count, full=single, extra=appended)
    kernel = model.kernel
    score = Elementwise(
        kernel.name, "other", context * columns, kernel.flops, passes=kernel.passes, wide=True, count=count, row=context
    )
    query = Elementwise("lengths", "other", columns, 2 * model.head, reads=model.head, count=count, row=model.head)
    key = dataclasses.replace(query, elements=1 if single else context)
    return [scores, *[query, key][2 - kernel.lengths :], score, mixed]


def _separable(model: Transformer, context: Sizes, queries: int, batch: np.ndarray) -> list[Operator]:
    """Keys with values first: a matrix of head by head, which one more token adds its own product to."""
    count = model.layers * batch * model.groups
    columns = queries * (model.heads // model.groups)
    single = np.ndim(context) > 0
    keys = 1 if single else context
    state = Matmul("keys x values", "attention", model.head, keys, model.head, count=count, full=True,
                   extra=model.head**2 if single else 0)  # fmt: skip
    mixed = Matmul("mixing", "attention", model.head, model.head, columns, count=count, full=single)
    scale = Elementwise(model.kernel.name, "other", model.head * columns, model.kernel.flops, count=count)
    return [state, mixed, scale]


def _rest(model: Transformer, columns: Sizes, ones: np.ndarray) -> list[Operator]:
    """Norms, residual additions, the feed-forward part and the head."""
    count = model.layers * ones
    found: list[Operator] = [*_closing(model, "attention", model._out, columns, count)]
    if np.any(model.ffn):
        names = ("ffn in", "ffn gate")[: 1 + model.gated]
        into = Matmul("ffn in", "ffn", model.ffn, model.width, columns, count=count, bias=model.bias, wide=True)
        found += [dataclasses.replace(into, name=name) for name in names]
        reads = 1 + model.gated
        found.append(
            Elementwise("activation", "other", model.ffn * columns, GELU + model.gated, reads, wide=True, count=count)
        )
        found.append(dataclasses.replace(into, name="ffn out", rows=model.width, inner=model.ffn))
        found += _closing(model, "ffn", model.width, columns, count)
    if model.vocabulary:
        found.append(Matmul("head", "head", model.vocabulary, model.width, columns, count=ones, full=True))
    return found


def _closing(model: Transformer, part: str, width: Sizes, columns: Sizes, count: Sizes) -> list[Elementwise]:
    """The norm and the residual addition after a part."""
    whole = model.norm == "layer"
    norm = Elementwise(
        f"norm {part}", "other", width * columns, LAYER_NORM if whole else LAYER_NORM // 2, 1, 3 if whole else 2, True,
        parameters=(1 + whole) * width, count=count, row=width,
    )  # fmt: skip
    added = Elementwise(f"residual {part}", "other", width * columns, 1, 2, count=count)
    return [norm] * (model.norm != "none") + [added] * model.residual

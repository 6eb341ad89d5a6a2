"""Attention as operators: kernels, heads that share keys and values, windows, attention to an encoder."""

import dataclasses

import numpy as np

from descentlab._check import nearest
from descentlab.cost.operators import Elementwise, Matmul, Operator, Sizes
from descentlab.cost.part import NORMS, AbstractPart, Work
from descentlab.mistake import Mistake

__all__ = ["KERNELS", "Attention", "Kernel", "kernel", "products"]


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


def kernel(name: str) -> Kernel:
    """What the attention kernel of a name costs; case, hyphens and underscores do not count.

    Raises:
        Mistake: if there is none.
    """
    plain = {known.replace("-", ""): one for known, one in KERNELS.items()}
    found = plain.get(name.lower().replace("-", "").replace("_", ""))
    if found is None:
        raise Mistake(f"there is no kernel {name!r} whose cost is known; {nearest(name.lower(), KERNELS)}")
    return found


@dataclasses.dataclass(frozen=True)
class Attention(AbstractPart):
    """Multi-head attention, its projections included.

    Attributes:
        width: of a token.
        heads: of queries.
        head: width of a head's queries and keys.
        groups: key and value heads, each for heads / groups query heads.
        out: width of the result.
        source_width: of the tokens that keys and values are made of.
        bias: whether the projections of queries, keys and values add a bias.
        key_bias: whether that of keys does.
        out_bias: whether the output projection does.
        kernel: what makes weights of scores.
        window: keys that a query sees at most; `None` for all.
        cross: whether keys and values are those of the encoder.
        norm: parameters of the normalisations of queries and keys: *none*, *head* (shared by heads) or *all*.
        norm_kind: *layer* or *rms*.
        extra: parameters besides, such as sinks or vectors of relative positions.
        value_width: of the tokens that values are made of, where it is not that of keys.
        value_head: width of a head's values, where it is not that of keys.
    """

    width: Sizes
    heads: Sizes
    head: Sizes
    groups: Sizes
    out: Sizes
    source_width: Sizes
    bias: bool = True
    key_bias: bool = True
    out_bias: bool = True
    kernel: Kernel = KERNELS["softmax"]
    window: int | None = None
    cross: bool = False
    norm: str = "none"
    norm_kind: str = "rms"
    extra: Sizes = 0
    value_width: Sizes = None
    value_head: Sizes = None

    @property
    def valued(self) -> Sizes:
        """Width of the tokens that values are made of."""
        return self.source_width if self.value_width is None else self.value_width

    @property
    def mixed(self) -> Sizes:
        """Width of a head's values."""
        return self.head if self.value_head is None else self.value_head

    @property
    def parameters(self) -> dict[str, Sizes]:
        """Four matrices, biases, normalisations."""
        inner, keys = self.heads * self.head, self.groups * self.head
        mixed, values = self.heads * self.mixed, self.groups * self.mixed
        matrices = inner * self.width + mixed * self.out + keys * self.source_width + values * self.valued
        biases = self.bias * (inner + values + self.key_bias * keys) + self.out_bias * self.out
        vectors = {"none": 0, "head": 2 * self.head, "all": inner + keys}[self.norm]
        return {"weights": matrices, "plain": biases + vectors + self.extra}

    def cache(self, context: Sizes) -> Sizes:
        """Keys and values of the tokens that are still seen; those of the encoder are not the context's."""
        if self.cross or self.kernel.separable:
            return 0
        return self.groups * (self.head + self.mixed) * self.seen(context)

    def crossed(self, source: Sizes) -> Sizes:
        """Keys and values of the encoder's tokens."""
        return self.groups * (self.head + self.mixed) * source if self.cross else 0

    def seen(self, context: Sizes) -> Sizes:
        """Keys that a query sees."""
        return context if self.window is None else np.minimum(context, float(self.window))

    def operators(self, work: Work) -> list[Operator]:
        """Projections, normalisations, scores, the kernel, and the weighted sums."""
        whole = work.source * (work.ones if work.generates else 1) if self.cross else work.context
        context = whole if self.cross else self.seen(whole)
        found = self._projections(work) + self._norms(work)
        if self.kernel.separable:
            return found + self._separable(work, 1 if work.generates else context)
        appended = 0 if self.cross or not work.generates else self.head + self.mixed
        unseen = 0 if work.generates else whole - context
        shape = AttentionProducts(
            self.groups, self.heads // self.groups, self.head, self.mixed, appended=appended, unseen=unseen
        )
        return found + products(shape, self.kernel, context, work)

    def _projections(self, work: Work) -> list[Operator]:
        """Queries, keys, values and the output; in a generation keys and values of the encoder are there already."""
        inner, keys, ones, columns = self.heads * self.head, self.groups * self.head, work.ones, work.columns
        mixed, values = self.heads * self.mixed, self.groups * self.mixed
        sourced = work.batch * work.source if self.cross else columns
        # Queries, keys and values have one input, which the first of them keeps.
        sizes = {
            "query": (inner, self.width, columns, self.bias, self.width * columns),
            "key": (keys, self.source_width, sourced, self.bias and self.key_bias, 0),
            "value": (values, self.valued, sourced, self.bias, 0),
        }
        if self.cross and work.generates:
            del sizes["key"], sizes["value"]
        found: list[Operator] = [
            Matmul(name, "projections", rows, inputs, n, count=ones, bias=bias, kept=kept)
            for name, (rows, inputs, n, bias, kept) in sizes.items()
        ]
        out = Matmul(
            "output", "projections", self.out, mixed, columns, count=ones, bias=self.out_bias, wide=True,
            kept=mixed * columns,
        )  # fmt: skip
        return [*found, out]

    def _norms(self, work: Work) -> list[Operator]:
        if self.norm == "none":
            return []
        flops, passes = NORMS[self.norm_kind]
        row = self.head if self.norm == "head" else self.heads * self.head
        entries = (self.heads + self.groups) * self.head * work.columns
        return [
            Elementwise(
                "norm queries and keys", "other", entries, flops, 1, passes, True, count=work.ones, row=row,
                kept=entries,
            )
        ]  # fmt: skip

    def _separable(self, work: Work, keys: Sizes) -> list[Operator]:
        """Keys with values first: a matrix of key by value, which one more token adds its own product to."""
        count, single = work.ones * work.batch * self.groups, work.generates
        head, value = self.head, self.mixed
        columns = work.queries * (self.heads // self.groups)
        state = Matmul("keys x values", "attention", head, keys, value, count=count, full=True, left="activations",
                       extra=head * value if single else 0, kept=(head + value) * keys)  # fmt: skip
        mixed = Matmul("mixing", "attention", value, head, columns, count=count, full=single, left="activations",
                       kept=head * (value + columns))  # fmt: skip
        scale = Elementwise(self.kernel.name, "other", head * columns, self.kernel.flops, count=count)
        return [state, mixed, scale]


@dataclasses.dataclass(frozen=True)
class AttentionProducts:
    """The two products of attention, for one key and value head of several.

    Attributes:
        groups: key and value heads.
        share: query heads for each.
        key: width of a key.
        value: width of a value.
        appended: entries that one more token adds to the cache.
        common: entries of a key that are its value too, and are read once.
        unseen: keys that are read for the sake of other queries than the one that sees `context` of them.
    """

    groups: Sizes
    share: Sizes
    key: Sizes
    value: Sizes
    appended: Sizes = 0
    common: Sizes = 0
    unseen: Sizes = 0


def products(shape: AttentionProducts, kernel: Kernel, context: Sizes, work: Work) -> list[Operator]:
    """Scores, the kernel and the weighted sums of values.

    Args:
        shape: of keys and values.
        kernel: what makes weights of scores.
        context: keys that a query sees.
        work: what goes through.
    """
    single, count = work.generates, work.ones * work.batch * shape.groups
    columns = work.queries * shape.share
    left = "cache" if single else "activations"
    more, keys = shape.unseen, context + shape.unseen
    # A single query's scores are counted once, written, and its key and value are appended to the cache.
    scores = Matmul("scores", "attention", context, shape.key, columns, count=count, full=single, wide=True, left=left,
                    extra=more * shape.key, kept=shape.key * (keys + columns))  # fmt: skip
    mixed = Matmul("mixing", "attention", shape.value, context, columns, count=count, full=single, left=left,
                   extra=-context * columns if single else more * shape.value,
                   cached=shape.appended - shape.common * context, kept=shape.value * keys)  # fmt: skip
    score = Elementwise(
        kernel.name, "other", context * columns, kernel.flops, passes=kernel.passes, wide=True, count=count,
        row=context, kept=context * columns,
    )  # fmt: skip
    query = Elementwise("lengths", "other", columns, 2 * shape.key, reads=shape.key, count=count, row=shape.key)
    key = dataclasses.replace(query, elements=1 if single else keys)
    return [scores, *[query, key][2 - kernel.lengths :], score, mixed]

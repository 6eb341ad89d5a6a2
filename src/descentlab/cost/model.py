"""Models: stacks of layers made of parts, what they compute, how many parameters they have and what they cache."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from descentlab.cost.attention import Attention, Kernel
from descentlab.cost.latent import LatentAttention
from descentlab.cost.operators import Elementwise, Operator, Sizes, repeated
from descentlab.cost.part import AbstractPart, Embedding, LinearPart, Work
from descentlab.mistake import Mistake

__all__ = ["EXACT", "GENERATED", "Layer", "Model", "Repeated", "Stack", "check_lengths", "stacked"]

EXACT = 2**53
"""The largest number of tokens or sequences; whole numbers above it are no floating-point numbers."""

GENERATED = 10**7
"""The largest number of tokens that are generated; their counts take about a gigabyte."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """Parts one after another.

    Attributes:
        kind: in words, such as *full attention, experts*.
        parts: first to last.
    """

    kind: str
    parts: tuple[AbstractPart, ...]

    def operators(self, work: Work) -> list[Operator]:
        """Those of all parts."""
        return [one for part in self.parts for one in part.operators(work)]


@dataclasses.dataclass(frozen=True)
class Repeated:
    """Equal layers.

    Attributes:
        layer: one of them.
        count: how many there are.
        distinct: how many of them have parameters of their own; `None` for all.
        places: which they are, in words.
    """

    layer: Layer
    count: Sizes
    distinct: Sizes = None
    places: str = ""

    @property
    def held(self) -> Sizes:
        """Layers with parameters of their own."""
        return self.count if self.distinct is None else self.distinct

    def operators(self, work: Work) -> list[Operator]:
        """Those of one layer, done so often."""
        found = [repeated(one, self.count, self.distinct) for one in self.layer.operators(work)]
        if work.generates:
            return found
        # By the definition of entries moved, nonlinear operators of a layer move 18 entries a token and column. So they
        # do in the survey's table of a decoder, but its tables of encoders need 17, fitted here. Which one is left out
        # is not said.
        return [_less(one) if one.name == "residual ffn" else one for one in found]


def _less(operator: Operator) -> Operator:
    assert isinstance(operator, Elementwise)
    return dataclasses.replace(operator, extra=operator.extra - operator.elements)


def stacked(layers: Iterable[Layer]) -> tuple[Repeated, ...]:
    """Layers from the first to the last, equal ones together."""
    found: dict[Layer, list[int]] = {}
    for at, layer in enumerate(layers):
        found.setdefault(layer, []).append(at)
    return tuple(Repeated(layer, len(places), places=_places(places)) for layer, places in found.items())


def _places(places: Sequence[int]) -> str:
    """Runs of numbers, such as *0-2, 5*; after the third one they are cut short."""
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    runs = [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in np.split(np.array(places), cuts)]
    return ", ".join(runs[:3]) + (", ..." if len(runs) > 3 else "")


@dataclasses.dataclass(frozen=True)
class Stack:
    """Layers that one stream of tokens goes through.

    Attributes:
        name: such as *decoder*.
        layers: first to last.
        before: parts ahead of the layers, such as embeddings.
        after: parts behind them, such as the head.
        length: tokens where those are fixed, such as the patches of an image; `None` for those of the sequence.
        images: whether it sees images, which a pass may have none of.
    """

    name: str
    layers: tuple[Repeated, ...]
    before: tuple[AbstractPart, ...] = ()
    after: tuple[AbstractPart, ...] = ()
    length: int | None = None
    images: bool = False

    def by_layer(self, work: Work) -> dict[str, list[Operator]]:
        """Operators by kind of layer, and of what stands before and after."""
        rows = {"input": [one for part in self.before for one in part.operators(work)]}
        for at, run in enumerate(self.layers):
            name = f"{run.places or 'all'}: {run.layer.kind}" if len(self.layers) > 1 else f"layers: {run.layer.kind}"
            rows[name if name not in rows else f"{name} ({at})"] = run.operators(work)
        rows["output"] = [one for part in self.after for one in part.operators(work)]
        return {name: found for name, found in rows.items() if found}

    @property
    def ends(self) -> tuple[AbstractPart, ...]:
        """Parts that are not in layers."""
        return self.before + self.after

    def parameters(self) -> dict[str, Sizes]:
        """Its trainable entries by kind."""
        found: dict[str, Sizes] = {}
        counted = [(part, 1) for part in self.ends]
        counted += [(part, run.held) for run in self.layers for part in run.layer.parts]
        for part, times in counted:
            for kind, count in part.parameters.items():
                found[kind] = found.get(kind, 0) + times * count
        return found

    def active(self) -> Sizes:
        """Those of its parameters that one token meets; embeddings count whole."""
        ends = sum(count for part in self.ends for count in part.parameters.values())
        return ends + sum(run.held * part.active for run in self.layers for part in run.layer.parts)

    def cache(self, context: Sizes) -> Sizes:
        """Entries that its layers cache for one sequence of so many tokens."""
        return sum(run.count * part.cache(context) for run in self.layers for part in run.layer.parts)


@dataclasses.dataclass(frozen=True)
class Model:
    """A model as stacks of layers.

    Attributes:
        family: by which it was read.
        stacks: encoder and towers first, the decoder last.
        causal: whether the last stack generates token by token.
        uncounted: what is left out, in words.
        read: fields of its file that were read.
        quantization: the file's own words on the precision of weights.
        dtype: the precision in which its weights are kept, in the file's words.
    """

    family: str
    stacks: tuple[Stack, ...]
    causal: bool = False
    uncounted: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    quantization: Mapping[str, Any] | None = dataclasses.field(default=None, hash=False)
    dtype: str | None = None

    def with_kernel(self, kernel: Kernel) -> "Model":
        """The same with another attention kernel.

        Raises:
            Mistake: if keys and values of a latent vector would have to be contracted first.
        """

        def changed(part: AbstractPart) -> AbstractPart:
            if isinstance(part, LatentAttention) and kernel.separable:
                raise Mistake(f"{kernel.name} attention does not take keys and values of a latent vector")
            return dataclasses.replace(part, kernel=kernel) if isinstance(part, Attention | LatentAttention) else part

        def of(run: Repeated) -> Repeated:
            parts = tuple(changed(part) for part in run.layer.parts)
            return dataclasses.replace(run, layer=dataclasses.replace(run.layer, parts=parts))

        stacks = (dataclasses.replace(stack, layers=tuple(map(of, stack.layers))) for stack in self.stacks)
        return dataclasses.replace(self, stacks=tuple(stacks))

    @property
    def decodes(self) -> bool:
        """Whether the last stack sees another one by cross attention."""
        sequences = [stack for stack in self.stacks if not stack.images]
        return len(sequences) > 1

    def parameters(self) -> dict[str, Sizes]:
        """Trainable entries by kind, see `descentlab.cost.operators.KINDS`."""
        found: dict[str, Sizes] = {}
        for stack in self.stacks:
            for kind, count in stack.parameters().items():
                found[kind] = found.get(kind, 0) + count
        return found

    @property
    def total(self) -> Sizes:
        """Trainable entries."""
        return sum(self.parameters().values())

    @property
    def active(self) -> Sizes:
        """Trainable entries that one token meets: of experts only those chosen for it."""
        return sum(stack.active() for stack in self.stacks)

    @property
    def multiplied(self) -> Sizes:
        """Trainable entries that one token is multiplied with: active ones, look-ups left out, a tied head included."""
        ends = [part for stack in self.stacks for part in stack.ends]
        looked = sum(sum(part.parameters.values()) for part in ends if isinstance(part, Embedding))
        tied = sum(part.width * part.out for part in ends if isinstance(part, LinearPart) and part.tied)
        return self.active - looked + tied

    def cache(self, context: Sizes, *, batch: int = 1, source: int = 0) -> Sizes:
        """Entries that are cached after so many tokens of every sequence.

        Args:
            context: tokens of a sequence.
            batch: sequences.
            source: tokens of the encoder, whose keys and values are kept too.
        """
        if not self.causal:
            return 0
        crossed = self.crossed(source) if self.decodes else 0
        return batch * (self.stacks[-1].cache(context) + crossed)

    def crossed(self, source: int) -> Sizes:
        """Entries of the encoder's keys and values that the decoder's layers keep."""
        return sum(run.count * part.crossed(source) for run in self.stacks[-1].layers for part in run.layer.parts)

    def source(self, tokens: int) -> int:
        """Tokens of the encoder, for a sequence of so many."""
        return (self.stacks[0].length or tokens) if self.decodes else 0

    def one_pass(self, tokens: int, *, batch: int = 1, images: int = 0) -> dict[str, list[Operator]]:
        """Operators of one pass over whole sequences, by stack and kind of layer.

        A prompt is counted without use of the causal mask, as dense kernels compute it. An encoder and its decoder see
        sequences of one length, unless the encoder's is fixed.

        Args:
            tokens: length of a sequence.
            batch: sequences at once; weights are read once for all.
            images: for every sequence, where the model sees images beside tokens.

        Raises:
            Mistake: if a size is below 1.
        """
        found = {}
        for stack, work in self.works(tokens, batch=batch, images=images):
            found |= self._named(stack, work)
        return found

    def works(self, tokens: int, *, batch: int = 1, images: int = 0) -> list[tuple[Stack, Work]]:
        """What goes through every stack in one pass; see `one_pass`.

        Raises:
            Mistake: if a size is below 1.
        """
        check_lengths(tokens, batch)
        found = []
        for stack in self.stacks:
            seen = (images if len(self.stacks) > 1 else 1) if stack.images else 1
            length = stack.length or tokens
            if seen:
                found.append((stack, Work(batch * seen, length, length, self.source(tokens))))
        return found

    def steps(self, tokens: int, *, prompt: int = 0, batch: int = 1) -> dict[str, list[Operator]]:
        """Operators of generating tokens one by one with keys and values cached, by kind of layer.

        Token t sees prompt + t + 1/2 keys: the mean of those before it and those with it, as in the survey, so that l
        tokens see l^2 / 2. Of a model with an encoder only the decoder generates: the encoder has read the prompt, or
        as many tokens as are generated, and its keys and values are cached.

        Args:
            tokens: how many are generated; sizes get one entry a token on their last axis.
            prompt: tokens in the cache at the start, or read by an encoder; `one_pass` costs computing them.
            batch: sequences at once.

        Raises:
            Mistake: if a size is below 1, the prompt below 0, or a number too large to be counted.
        """
        check_lengths(tokens, batch, prompt)
        if tokens > GENERATED:
            raise Mistake(f"at most {GENERATED} tokens are generated, each a number of its own, got {tokens}")
        reads = self.decodes and self.stacks[0].length is None
        context = (0 if reads else prompt) + np.arange(tokens) + 0.5
        return self._named(self.stacks[-1], Work(batch, 1, context, self.source(prompt or tokens)))

    def _named(self, stack: Stack, work: Work) -> dict[str, list[Operator]]:
        """Operators by kind of layer, with the stack's name where there are several."""
        rows = stack.by_layer(work)
        return rows if len(self.stacks) == 1 else {f"{stack.name} {name}": found for name, found in rows.items()}


def check_lengths(tokens: int, batch: int, prompt: int = 0) -> None:
    """Raise unless tokens and batch are above 0, the prompt is not below, and each is an exact floating-point number.

    Raises:
        Mistake: if one is not.
    """
    for name, value, least in (("tokens", tokens, 1), ("batch", batch, 1), ("prompt", prompt, 0)):
        if value < least:
            raise Mistake(f"{name} must be at least {least}, got {value}")
        if value > EXACT:
            raise Mistake(f"{name} must be at most {EXACT}, beyond which counts are not exact, got {value}")

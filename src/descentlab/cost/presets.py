"""Models by name: the shapes that the survey counts, and a convolutional network as the contrast."""

import dataclasses
import importlib.resources
import json
from collections.abc import Callable, Mapping
from typing import Any

from descentlab._check import nearest
from descentlab.cost.operators import Elementwise, Matmul, Operator, convolution
from descentlab.cost.transformer import TransformerSizes
from descentlab.mistake import Mistake

__all__ = ["CONVOLUTIONAL", "IMAGE", "TRANSFORMERS", "resnet50", "transformer"]

TRANSFORMERS = {
    "bert-base": TransformerSizes(12, 768, 12, 3072),
    "bert-large": TransformerSizes(24, 1024, 16, 4096),
    "gpt2": TransformerSizes(12, 768, 12, 3072, causal=True),
    "gpt2-medium": TransformerSizes(24, 1024, 16, 4096, causal=True),
}
"""Transformers without embeddings and head, as the survey counts them."""


@dataclasses.dataclass(frozen=True)
class PublishedModel:
    """A public model.

    Attributes:
        config: its configuration.
        parameters: as published, with *M*, *B* or *T*.
        source: where they are from.
        active: parameters that one token meets, as published; `None` where they are all.
    """

    config: Mapping[str, Any]
    parameters: str
    source: str
    active: str | None = None


def _published() -> dict[str, PublishedModel]:
    text = importlib.resources.files("descentlab.cost").joinpath("published.json").read_text(encoding="utf-8")
    return {name: PublishedModel(**fields) for name, fields in json.loads(text).items()}


PUBLISHED = _published()
"""Public models by name, each with the source of its numbers."""


IMAGE = 224
"""Side of the images of the convolutional networks."""


def transformer(name: str) -> TransformerSizes:
    """The Transformer of a name.

    Raises:
        Mistake: if there is none.
    """
    if name not in TRANSFORMERS:
        raise Mistake(f"there is no preset {name!r}; {nearest(name, [*TRANSFORMERS, *PUBLISHED, *CONVOLUTIONAL])}")
    return TRANSFORMERS[name]


def resnet50(batch: int = 1) -> list[Operator]:
    """ResNet-50 on images of 224 by 224, strides in the first product of a stage, nothing fused.

    Args:
        batch: images at once.

    Returns:
        Convolutions by kind, normalisations, rectifiers, additions, pooling and the classifier.
    """
    found: list[Operator] = [convolution("7x7, 64 at 112", (3, 64), 7, 112, stride=2, count=batch)]
    before, outputs, shortcuts, additions = 64, 64 * 112**2, 0, 0
    for middle, size, blocks in ((64, 56, 3), (128, 28, 4), (256, 14, 6), (512, 7, 3)):
        after, area = 4 * middle, size**2
        found += _stage((before, middle, after), size, blocks, batch)
        outputs += area * (blocks * (2 * middle + after) + after)
        shortcuts += area * after
        additions += area * blocks * after
        before = after
    return [
        *found,
        Elementwise("batch norm", "other", outputs, 2, count=batch),
        Elementwise("relu", "other", outputs - shortcuts, 1, count=batch),
        Elementwise("addition", "other", additions, 1, 2, count=batch),
        Elementwise("max pool", "other", 64 * 56**2, 9, 4, count=batch),
        Elementwise("mean pool", "other", 2048, 49, 49, count=batch),
        Matmul("classifier", "head", 1000, 2048, batch, bias=True),
    ]


def _stage(channels: tuple[int, int, int], size: int, blocks: int, batch: int) -> list[Operator]:
    """The convolutions of equal blocks, the first of which changes the width and, but at the start, the side."""
    before, middle, after = channels
    stride = 1 if size == 56 else 2
    narrow, spatial, widen = f"1x1, {middle} at {size}", f"3x3, {middle} at {size}", f"1x1, {after} at {size}"
    return [
        convolution(f"{narrow}, first", (before, middle), 1, size, stride=stride, count=batch),
        convolution(narrow, (after, middle), 1, size, count=(blocks - 1) * batch),
        convolution(spatial, (middle, middle), 3, size, count=blocks * batch),
        convolution(widen, (middle, after), 1, size, count=blocks * batch),
        convolution(f"{widen}, shortcut", (before, after), 1, size, stride=stride, count=batch),
    ]


CONVOLUTIONAL: dict[str, Callable[[int], list[Operator]]] = {"resnet50": resnet50}
"""Convolutional networks, from the batch to their operators."""

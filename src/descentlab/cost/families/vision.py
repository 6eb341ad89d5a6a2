"""Vision towers: ViT, DeiT, DINOv2, and the towers of CLIP and SigLIP."""

import dataclasses

from descentlab.cost.families import ArchitectureFamily
from descentlab.cost.families._decoder import DecoderTraits, attention, head_width
from descentlab.cost.families.bert import _head
from descentlab.cost.feed_forward import FeedForwardPart
from descentlab.cost.fields import Fields, Refused
from descentlab.cost.model import Layer, Model, Repeated, Stack
from descentlab.cost.part import AbstractPart, Embedding, LinearPart, Norm

__all__ = ["FAMILY", "VisionType"]


@dataclasses.dataclass(frozen=True)
class VisionType:
    """What tells one model type from another.

    Attributes:
        tokens: besides the patches, such as the one of the class.
        patch_bias: whether patches are projected with a bias.
        norm_in: whether embeddings are normalised.
        pooler: *none*, *layer* or *attention*, in which one learned query meets all tokens.
        scales: vectors that scale the branches of a layer.
        masked: vectors besides, such as that of masked patches.
    """

    tokens: int = 1
    patch_bias: bool = True
    norm_in: bool = False
    pooler: str = "none"
    scales: int = 0
    masked: int = 0


TYPES = {
    "vit": VisionType(pooler="layer"),
    "deit": VisionType(tokens=2, pooler="layer"),
    "dinov2": VisionType(scales=2, masked=1),
    "dinov2_with_registers": VisionType(scales=2, masked=1),
    "clip_vision_model": VisionType(patch_bias=False, norm_in=True),
    "siglip_vision_model": VisionType(tokens=0, pooler="attention"),
}
"""Model types and what they mean."""


def read(fields: Fields) -> Model:
    """The tower of a configuration."""
    kind, width = TYPES[fields.model_type], fields.whole("hidden_size")
    heads, layers = fields.whole("num_attention_heads"), fields.layers("num_hidden_layers")
    image, patch, channels = (
        fields.whole("image_size", default=224, most=2**16), fields.whole("patch_size", default=16),
        fields.whole("num_channels", default=3),
    )  # fmt: skip
    if patch > image:
        raise Refused(f"{fields.where}: patch_size must be at most image_size, got {patch} and {image}")
    patches = (image // patch) ** 2
    more = fields.whole("num_register_tokens", default=4, least=0) if fields.model_type.endswith("registers") else 0
    bias = fields.flag("qkv_bias", True)
    block = DecoderTraits(norm="layer")
    part = attention(width, heads, head_width(fields, width, heads), heads, bias=bias, extra=kind.scales * width)
    layer = block.layer("full attention", part, [_fed(fields, width)], width)
    before: list[AbstractPart] = [
        LinearPart("patches", "projections", patch**2 * channels, width, kind.patch_bias, places=patches),
        Embedding(patches + kind.tokens, width),
        Embedding(kind.tokens + kind.masked + more, width),
    ]
    before += [Norm("embedding", width)] * kind.norm_in
    after = _after(fields, kind, width, layer)
    length = patches + kind.tokens + more
    stack = Stack("vision tower", (Repeated(layer, layers),), tuple(before), tuple(after), length, images=True)
    return Model(FAMILY.name, (stack,), uncounted=_head(fields))


def _fed(fields: Fields, width: int) -> FeedForwardPart:
    """The feed-forward part; that of DINOv2 is a multiple of the token's width, and gated in the largest one."""
    if not fields.model_type.startswith("dinov2"):
        return FeedForwardPart(width, fields.whole("intermediate_size"))
    hidden = int(width * fields.number("mlp_ratio", 4.0))
    if fields.flag("use_swiglu_ffn", False):
        return FeedForwardPart(width, (hidden * 2 // 3 + 7) // 8 * 8, gated=True)
    return FeedForwardPart(width, hidden)


def _after(fields: Fields, kind: VisionType, width: int, layer: Layer) -> list[AbstractPart]:
    """The last normalisation and what makes one vector of all tokens."""
    found: list[AbstractPart] = [Norm("last", width)]
    if kind.pooler == "layer":
        found.append(LinearPart("pooler", "projections", width, width, True, "plain", places=1))
    if kind.pooler == "attention" and fields.flag("vision_use_head", True):
        fed = next(part for part in layer.parts if isinstance(part, FeedForwardPart))
        found += [Pooling(width, fed), Norm("pooler", width)]
    return found


@dataclasses.dataclass(frozen=True)
class Pooling(AbstractPart):
    """Attention of one learned query to all tokens, and a feed-forward part on its result.

    Attributes:
        width: of a token.
        fed: the feed-forward part.
    """

    width: int
    fed: FeedForwardPart

    @property
    def parameters(self):
        """Four matrices with biases, the query, the feed-forward part."""
        own = self.fed.parameters
        return {"weights": 4 * self.width**2 + own["weights"], "plain": 5 * self.width + own["plain"]}

    def operators(self, work):
        """Products of the pooling head."""
        one = dataclasses.replace(work, queries=1)
        pairs = LinearPart("pooling keys and values", "projections", self.width, 2 * self.width, True).operators(work)
        query = LinearPart("pooling query and output", "projections", self.width, 2 * self.width, True).operators(one)
        return [*pairs, *query, *self.fed.operators(one)]


FAMILY = ArchitectureFamily(
    "vision towers (ViT, DeiT, DINOv2, CLIP, SigLIP)",
    tuple(TYPES),
    read,
    "hidden_size, num_attention_heads, num_hidden_layers, intermediate_size or mlp_ratio, use_swiglu_ffn, image_size, "
    "patch_size, num_channels, qkv_bias, num_register_tokens, vision_use_head",
)

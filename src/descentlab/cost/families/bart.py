"""Encoder-decoders of the BART kind, and Whisper, whose encoder sees frames of sound."""

import dataclasses

from descentlab.cost.attention import Attention
from descentlab.cost.families import ArchitectureFamily
from descentlab.cost.families._encoder_decoder import Side, pair
from descentlab.cost.feed_forward import FeedForwardPart
from descentlab.cost.fields import Fields, Refused
from descentlab.cost.model import Model
from descentlab.cost.part import AbstractPart, Embedding, LinearPart, Norm

__all__ = ["FAMILY", "BartType"]


@dataclasses.dataclass(frozen=True)
class BartType:
    """What tells one model type from another.

    Attributes:
        learned: whether places are learned; `None` where the file's `static_position_embeddings` says.
        offset: places more than the file says.
        embedding_norm: whether embeddings are normalised.
        last: whether there is a normalisation behind the last layer.
    """

    learned: bool = True
    offset: int = 0
    embedding_norm: bool = False
    last: bool = False


TYPES = {
    "bart": BartType(offset=2, embedding_norm=True),
    "mbart": BartType(offset=2, embedding_norm=True, last=True),
    "blenderbot": BartType(last=True),
    "blenderbot-small": BartType(embedding_norm=True),
    "pegasus": BartType(learned=False, last=True),
    "marian": BartType(learned=False),
    "m2m_100": BartType(learned=False, last=True),
    "whisper": BartType(last=True),
}
"""Model types and what they mean. Places that are not learned are no parameters."""


def read(fields: Fields) -> Model:
    """Encoder and decoder of a configuration."""
    kind, width = TYPES[fields.model_type], fields.whole("d_model")
    fields.passed("is_encoder_decoder", "num_hidden_layers")
    sound = fields.model_type == "whisper"
    attention = tuple(_attention(fields, width, side, sound) for side in ("encoder", "decoder"))
    fed = tuple(FeedForwardPart(width, fields.whole(f"{side}_ffn_dim")) for side in ("encoder", "decoder"))
    rows = fields.whole("vocab_size")
    words: list[AbstractPart] = [Embedding(rows, width)]
    head = LinearPart("head", "head", width, rows, False, "plain", fields.flag("tie_word_embeddings", True))
    last: list[AbstractPart] = [Norm("last", width)] * kind.last
    length = None
    if sound:
        length = fields.whole("max_source_positions", default=1500)
        first = [*_frames(fields, width, length), Embedding(length, width)]
        second = [*words, Embedding(fields.whole("max_target_positions", default=448), width)]
    else:
        places = _places(fields, kind, width)
        first, second = [*words, *places], list(places)
    sides = [
        Side("encoder", fields.layers("encoder_layers"), tuple(first), tuple(last), length),
        Side("decoder", fields.layers("decoder_layers"), tuple(second), (*last, head)),
    ]
    crossed = dataclasses.replace(attention[1], cross=True)
    return pair(FAMILY.name, sides, (attention[0], attention[1], crossed), (fed[0], fed[1]), "layer")


def _attention(fields: Fields, width: int, side: str, sound: bool) -> Attention:
    """Attention of one side; keys of Whisper have no bias."""
    heads = fields.whole(f"{side}_attention_heads")
    if width % heads:
        raise Refused(f"{fields.where}: {side}_attention_heads must divide d_model, got {heads} and {width}")
    return Attention(width, heads, width // heads, heads, width, width, key_bias=not sound)


def _places(fields: Fields, kind: BartType, width: int) -> list[AbstractPart]:
    """Places of one side, and the normalisation of embeddings."""
    found: list[AbstractPart] = []
    if kind.learned:
        found.append(Embedding(fields.whole("max_position_embeddings", default=1024) + kind.offset, width))
    return found + [Norm("embedding", width)] * kind.embedding_norm


def _frames(fields: Fields, width: int, length: int) -> list[AbstractPart]:
    """Two convolutions of three frames, the second of which goes in steps of two, as products with their windows."""
    bins = fields.whole("num_mel_bins", default=80)
    return [
        LinearPart("convolution 1", "convolution", 3 * bins, width, True, places=2 * length),
        LinearPart("convolution 2", "convolution", 3 * width, width, True, places=length),
    ]


FAMILY = ArchitectureFamily(
    "encoder-decoders of the BART kind (BART, mBART, Pegasus, Marian, M2M-100, Blenderbot, Whisper)",
    tuple(TYPES),
    read,
    "d_model, encoder_layers, encoder_attention_heads, encoder_ffn_dim, decoder_layers, decoder_attention_heads, "
    "decoder_ffn_dim, vocab_size, max_position_embeddings, max_source_positions, max_target_positions, num_mel_bins, "
    "tie_word_embeddings",
)

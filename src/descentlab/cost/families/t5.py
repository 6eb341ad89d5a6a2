"""T5 and its relatives: an encoder and a decoder with cross attention, heads of any width, relative positions."""

from descentlab.cost.attention import Attention
from descentlab.cost.families import ArchitectureFamily
from descentlab.cost.families._encoder_decoder import Side, pair
from descentlab.cost.feed_forward import FeedForwardPart
from descentlab.cost.fields import Fields
from descentlab.cost.model import Model
from descentlab.cost.part import Embedding, LinearPart, Norm

__all__ = ["FAMILY"]


def read(fields: Fields) -> Model:
    """Encoder and decoder of a configuration."""
    width, heads, head = (fields.whole(name) for name in ("d_model", "num_heads", "d_kv"))
    gated = fields.flag("is_gated_act", fields.text("feed_forward_proj", "relu").startswith("gated"))
    fields.passed("feed_forward_proj", "dense_act_fn", "is_encoder_decoder")
    rows, layers = fields.whole("vocab_size"), fields.layers("num_layers")
    buckets = fields.whole("relative_attention_num_buckets", default=32) * heads

    def part(cross: bool = False) -> Attention:
        return Attention(width, heads, head, heads, width, width, bias=False, out_bias=False, cross=cross)

    # Vectors of relative positions are those of the first layer of either side, in UMT5 of every layer.
    decoding = fields.layers("num_decoder_layers", default=layers)
    each = (layers, decoding) if fields.model_type == "umt5" else (1, 1)
    fed = FeedForwardPart(width, fields.whole("d_ff"), gated, bias=False)
    last = (Norm("last", width, "rms"),)
    head_part = LinearPart("head", "head", width, rows, False, "plain", fields.flag("tie_word_embeddings", True))
    sides = [
        Side("encoder", layers, (Embedding(rows, width), Embedding(each[0], buckets)), last),
        Side("decoder", decoding, (Embedding(each[1], buckets),), (*last, head_part)),
    ]
    return pair(FAMILY.name, sides, (part(), part(), part(cross=True)), (fed, fed), "rms")


FAMILY = ArchitectureFamily(
    "encoder-decoders of the T5 kind (T5, FLAN-T5, mT5, UMT5)",
    ("t5", "mt5", "umt5"),
    read,
    "d_model, num_heads, d_kv, d_ff, num_layers, num_decoder_layers, feed_forward_proj, vocab_size, "
    "relative_attention_num_buckets, tie_word_embeddings",
)

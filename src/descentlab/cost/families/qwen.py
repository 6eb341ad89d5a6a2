"""The first Qwen: `intermediate_size` is that of both halves of the gated part together."""

from descentlab.cost.families import ArchitectureFamily
from descentlab.cost.families._decoder import DecoderTraits, attention, decoder, head_width
from descentlab.cost.feed_forward import FeedForwardPart
from descentlab.cost.fields import Fields
from descentlab.cost.model import Model

__all__ = ["FAMILY"]


def read(fields: Fields) -> Model:
    """The decoder of a configuration; queries, keys and values have biases whatever `no_bias` says."""
    width, heads, layers = (
        fields.whole("hidden_size"),
        fields.whole("num_attention_heads"),
        fields.layers("num_hidden_layers"),
    )
    head = head_width(fields, width, heads, "kv_channels")
    block = DecoderTraits()
    fields.passed("no_bias")
    layer = block.layer(
        "full attention",
        attention(width, heads, head, heads, bias=True, out_bias=False),
        [FeedForwardPart(width, fields.whole("intermediate_size", least=2) // 2, gated=True, bias=False)],
        width,
    )
    return decoder(fields, FAMILY.name, [layer] * layers, block, width)


FAMILY = ArchitectureFamily(
    "the first Qwen",
    ("qwen",),
    read,
    "hidden_size, num_hidden_layers, num_attention_heads, kv_channels, intermediate_size, vocab_size, "
    "tie_word_embeddings",
)

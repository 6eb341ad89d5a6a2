"""Falcon: branches side by side, one key head for all queries or one for several, width 4 times the token's."""

from descentlab.cost.families import ArchitectureFamily
from descentlab.cost.families._decoder import DecoderTraits, attention, decoder, groups, head_width
from descentlab.cost.feed_forward import FeedForwardPart
from descentlab.cost.fields import Fields
from descentlab.cost.model import Model

__all__ = ["FAMILY"]


def read(fields: Fields) -> Model:
    """The decoder of a configuration; the old names `n_layer` and `n_head` are read too."""
    width, layers = fields.whole("hidden_size"), fields.layers("num_hidden_layers", "n_layer")
    heads = fields.whole("num_attention_heads", "n_head")
    new, parallel = fields.flag("new_decoder_architecture", False), fields.flag("parallel_attn", True)
    one = fields.flag("multi_query", True)
    keys = groups(fields, heads, "num_kv_heads", "n_head_kv", default=heads) if new else 1 if one else heads
    fields.passed("num_kv_heads", "n_head_kv")
    bias = fields.flag("bias", False)
    norms = fields.whole("num_ln_in_parallel_attn", default=2) if new else 1 if parallel else 2
    block = DecoderTraits(gated=False, norm="layer", norms=norms)
    hidden = fields.whole("ffn_hidden_size", default=4 * width)
    head = head_width(fields, width, heads)
    layer = block.layer(
        "full attention",
        attention(width, heads, head, keys, bias=bias, out_bias=bias),
        [FeedForwardPart(width, hidden, bias=bias)],
        width,
    )
    return decoder(fields, FAMILY.name, [layer] * layers, block, width, tied=True)


FAMILY = ArchitectureFamily(
    "Falcon",
    ("falcon", "RefinedWeb", "RefinedWebModel"),
    read,
    "hidden_size, num_hidden_layers or n_layer, num_attention_heads or n_head, num_kv_heads or n_head_kv, multi_query, "
    "new_decoder_architecture, parallel_attn, bias, ffn_hidden_size, vocab_size, tie_word_embeddings",
)

"""Bytes by kind of entry: by hand, and as a file's own words on its quantisation ask for."""

import pytest

from descentlab.cost import Setting, cost
from descentlab.cost.fields import Refused
from descentlab.cost.quantization import quantized

LLAMA = {
    "model_type": "llama", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 512, "vocab_size": 1000, "torch_dtype": "float16",
}  # fmt: skip
MATRICES = 2 * (256 * 256 * 2 + 2 * 256 * 128 + 3 * 256 * 512)
PLAIN = 2 * 1000 * 256 + 5 * 256


def test_weights_activations_and_cache_have_bytes_of_their_own():
    """Int4 in groups of 128 with 20 bits of scale and zero; embeddings, head and norms stay as computed."""
    found = cost(LLAMA, Setting(seq=8, hardware="h100", weights="int4", activations="bfloat16", cache="fp8"))
    assert found.anchors.parameters == MATRICES + PLAIN
    assert found.anchors.weight_bytes == MATRICES * (4 + 20 / 128) / 8 + 2 * PLAIN
    assert found.anchors.cache_bytes_a_token == 2 * 2 * 64 * 2
    assert found.at[0].cache_bytes == 8 * found.anchors.cache_bytes_a_token
    assert "weights int4" in found.precision.words


def test_traffic_follows_the_precisions():
    """Halving the bytes of weights takes away as many as a step reads of them, and nothing else."""
    wide, narrow = (
        cost(LLAMA, Setting(seq=1, hardware="h100", weights=weights, activations="bfloat16")).at[0].rows
        for weights in ("bfloat16", "fp8")
    )
    by_group = [{row.group: row.bytes for row in rows} for rows in (wide, narrow)]
    assert by_group[0]["ffn"] - by_group[1]["ffn"] == 2 * 3 * 256 * 512
    assert by_group[0]["attention"] == by_group[1]["attention"]


@pytest.mark.parametrize(
    ("config", "bits", "scope"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 4 + 20 / 128, "layers"),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, 4 + 20 / 64, "layers"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 8 + 32 / 128**2, "layers"),
        ({"quant_method": "mxfp4"}, 4 + 8 / 32, "experts"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, 4 + 32 / 64, "layers"),
        ({"load_in_8bit": True}, 8, "layers"),
    ],
)
def test_quantisation_of_a_file_is_read(config, bits, scope):
    assert (8 * quantized(config)[0].bytes, quantized(config)[1]) == (pytest.approx(bits), scope)


def test_the_precision_of_a_file_counts_unless_another_is_given():
    config = LLAMA | {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}
    found = cost(config, Setting(seq=8, hardware="h100"))
    assert found.anchors.weight_bytes == pytest.approx(MATRICES * (4 + 20 / 128) / 8 + 2 * PLAIN)
    other = cost(config, Setting(seq=8, hardware="h100", precision="bfloat16"))
    assert other.anchors.weight_bytes == 2 * (MATRICES + PLAIN)
    assert "the file's quantization_config, since --precision was given" in other.uncounted


def test_a_quantisation_that_is_not_known_is_named():
    config = LLAMA | {"quantization_config": {"quant_method": "quux"}}
    (said,) = cost(config, Setting(seq=8, hardware="h100")).uncounted
    assert said.startswith("the file's own precision of weights (quantization_config: quant_method 'quux' is not known")
    with pytest.raises(Refused, match="bits must be at most 8"):
        quantized({"quant_method": "gptq", "bits": 64})


def test_an_unknown_precision_is_met_with_the_nearest():
    with pytest.raises(ValueError, match="no precision 'int44'; did you mean int4"):
        cost(LLAMA, Setting(seq=8, weights="int44"))

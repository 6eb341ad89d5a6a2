"""Models from files: configurations of several families, experiments, and files that lack something."""

import json

import pytest

from descentlab import models
from descentlab._describe import describe
from descentlab.attention import Gaussian, NormalizedGaussian
from descentlab.cost.config import from_config, from_definition, kernel, read
from descentlab.cost.presets import TRANSFORMERS
from descentlab.cost.transformer import KERNELS, Transformer
from descentlab.datasets import DataError, Pathfinder
from descentlab.experiment import Experiment
from descentlab.models import AttentionLayer
from descentlab.tasks import Classification, TokenRegression

BERT = {
    "architectures": ["BertForMaskedLM"],
    "hidden_size": 768,
    "intermediate_size": 3072,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "vocab_size": 30522,
}
GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_head": 12, "n_layer": 12, "n_inner": None, "vocab_size": 50257}
LLAMA = {
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "vocab_size": 128256,
}


def test_known_families_are_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(BERT))
    assert read(str(tmp_path)) == read(str(tmp_path / "config.json")) == TRANSFORMERS["bert-base"]
    assert from_config(GPT2) == Transformer(12, 768, 12, 3072, causal=True, vocabulary=50257)


def test_a_grouped_gated_model_has_the_parameters_that_are_known():
    """Llama 3 8B has 8 030 261 248 parameters: those of its layers, two embeddings, and 65 norms."""
    model = from_config(LLAMA)
    assert model.parameters + 2 * 128256 * 4096 + 65 * 4096 == 8_030_261_248
    assert model.causal
    assert not model.bias


def test_an_experiment_of_the_store_is_read(tmp_path):
    experiment = Experiment(
        TokenRegression(tokens=5, dim=8), model=AttentionLayer(NormalizedGaussian(), heads=2, head_dim=3, output_dim=4)
    )
    (tmp_path / "experiment.json").write_text(json.dumps({"definition": describe(experiment)}))
    found = read(str(tmp_path / "experiment.json"))
    assert (found.layers, found.width, found.heads, found.head, found.out, found.ffn) == (1, 8, 2, 3, 4, 0)
    assert found.kernel == KERNELS["normalized-gaussian"]


def test_a_transformer_of_the_package_is_read():
    """Its products are those that JAX traces, as tests/cost/test_transformer.py counts them."""
    sizes = models.Transformer(Gaussian(), width=12, depth=3, heads=2, head_dim=5, hidden=20, causal=True)
    experiment = Experiment(task=Classification(Pathfinder()), model=sizes)
    found = from_definition(describe(experiment))
    wanted = Transformer(3, 12, 2, 20, head_dim=5, kernel=KERNELS["gaussian"], causal=True)
    assert found == wanted
    bare = describe(experiment) | {"model": describe(models.Transformer(hidden=None, norm=models.NoNorm()))}
    assert (from_definition(bare).ffn, from_definition(bare).norm) == (0, "none")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "lacks num_hidden_layers, hidden_size, num_attention_heads, intermediate_size"),
        ({name: BERT[name] for name in BERT if name != "hidden_size"}, "lacks hidden_size; a model of this kind needs"),
        ({"n_embd": 8, "n_head": 2}, "lacks n_layer"),
        (BERT | {"hidden_size": 0}, "hidden_size must be a whole number above 0, got 0"),
        (BERT | {"num_hidden_layers": "12"}, "num_hidden_layers must be a whole number above 0, got '12'"),
        (LLAMA | {"num_key_value_heads": -8}, "num_key_value_heads must be a whole number above 0"),
        (BERT | {"num_attention_heads": 7}, "heads must divide the width"),
    ],
)
def test_a_configuration_without_what_is_needed_says_which(data, said):
    with pytest.raises(ValueError, match=said):
        from_config(data)


def test_an_unknown_name_is_met_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="no preset 'bert-bas'; did you mean bert-base"):
        read("bert-bas")
    with pytest.raises(ValueError, match="no kernel 'gausian' whose cost is known; did you mean gaussian"):
        kernel("gausian")
    assert kernel("NormalizedGaussian") == kernel("normalized_gaussian") == KERNELS["normalized-gaussian"]


def test_files_that_are_none_are_said(tmp_path):
    broken, listed = tmp_path / "broken.json", tmp_path / "list.json"
    broken.write_text("{")
    listed.write_text("[1]")
    for name, said in ((tmp_path / "no.json", "cannot be read"), (broken, "is not JSON"), (listed, "holds a list")):
        with pytest.raises(ValueError, match=said):
            read(str(name))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architectures": 3}, "architectures must be a list, got 3"),
        ({"hidden_size": 2**31}, "hidden_size must be at most 16777216, got 2147483648"),
        ({"hidden_size": 10**4000}, "hidden_size must be at most 16777216, got 10{199}[.]{3}"),
        ({"num_attention_heads": [12]}, "num_attention_heads must be a whole number above 0"),
        ({"definition": {"model": {"class": "a:Transformer"}}}, "is not an experiment that this version can read"),
        ({"definition": {"model": [], "task": 3}}, "is not an experiment that this version can read"),
    ],
)
def test_a_file_with_impossible_fields_is_refused(change, said, tmp_path):
    path = tmp_path / "config.json"
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    path.write_text(json.dumps(sizes | change))
    with pytest.raises(DataError if "definition" in change else ValueError, match=said):
        read(str(path))


def test_an_architecture_of_unknown_cost_is_refused():
    with pytest.raises(ValueError, match="cost of the architecture Recurrent is not known"):
        from_definition({"model": {"class": "mine:Recurrent"}, "task": {"dim": 3}})
    layer = describe(AttentionLayer())
    with pytest.raises(ValueError, match="does not say the width of a token"):
        from_definition({"model": layer, "task": {}})

"""Models from files: configurations of several families, experiments, and files that lack something."""

import json

import numpy as np
import pytest

from descentlab import models
from descentlab._describe import describe
from descentlab.attention import Gaussian, NormalizedGaussian
from descentlab.cost.attention import KERNELS, kernel
from descentlab.cost.config import from_config, read
from descentlab.cost.presets import TRANSFORMERS
from descentlab.cost.transformer import TransformerSizes
from descentlab.datasets import DataError, Pathfinder
from descentlab.experiment import Experiment
from descentlab.given import Given
from descentlab.models import AttentionLayer
from descentlab.tasks import Arrays, Classification, TokenRegression

BERT = {
    "architectures": ["BertForMaskedLM"],
    "hidden_size": 768,
    "intermediate_size": 3072,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "vocab_size": 30522,
}
LLAMA = {
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "vocab_size": 128256,
}


def test_a_file_and_its_folder_are_read_alike(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(BERT))
    model = read(str(tmp_path))
    assert model == read(str(tmp_path / "config.json")) == from_config(BERT)
    (run,), (wanted,) = model.stacks[0].layers, TRANSFORMERS["bert-base"].model.stacks[0].layers
    assert (run.layer.parts, run.count) == (wanted.layer.parts, 12)


def test_an_experiment_of_the_store_is_read(tmp_path):
    experiment = Experiment(
        TokenRegression(tokens=5, dim=8), model=AttentionLayer(NormalizedGaussian(), heads=2, head_dim=3, output_dim=4)
    )
    (tmp_path / "experiment.json").write_text(json.dumps({"definition": describe(experiment)}))
    wanted = TransformerSizes(
        1, 8, 2, 0, head_dim=3, out=4, bias=False, norm="none", residual=False, kernel=KERNELS["normalized-gaussian"]
    )
    assert read(str(tmp_path / "experiment.json")) == wanted.model


def test_an_experiment_on_given_arrays_is_read_without_them(tmp_path):
    """The kept definition has their shapes only, from which the width of a token comes."""
    given = Arrays(Given("x", np.zeros((4, 5, 6))), Given("y", np.zeros((4, 5, 1))))
    experiment = Experiment(given, model=AttentionLayer(heads=2))
    (tmp_path / "experiment.json").write_text(json.dumps({"definition": describe(experiment)}))
    assert read(str(tmp_path / "experiment.json")) == experiment.cost_model()
    wanted = TransformerSizes(1, 6, 2, 0, out=1, bias=False, norm="none", residual=False)
    assert experiment.cost_model() == wanted.model


def test_a_transformer_of_the_package_says_what_it_computes():
    """Its products are those that JAX traces, as tests/cost/test_transformer.py counts them."""
    sizes = models.Transformer(Gaussian(), width=12, depth=3, heads=2, head_dim=5, hidden=20, causal=True)
    found = Experiment(task=Classification(Pathfinder()), model=sizes).cost_model()
    wanted = TransformerSizes(3, 12, 2, 20, head_dim=5, kernel=KERNELS["gaussian"], causal=True)
    assert found.stacks == wanted.model.stacks
    assert found.causal
    assert found.uncounted == ("embedding, places and read-out",)
    bare = models.Transformer(hidden=None, norm=models.NoNorm()).cost_model(None)
    assert bare.stacks == TransformerSizes(2, 64, 2, 0, norm="none").model.stacks


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "gives no model_type. Families that are read: "),
        ({name: BERT[name] for name in BERT if name != "hidden_size"}, "lacks hidden_size, which a model of type bert"),
        ({"model_type": "gpt2", "n_embd": 8, "n_head": 2}, "lacks n_layer"),
        (BERT | {"is_decoder": "false"}, "is_decoder must be true or false, without quotes, got 'false'"),
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
        ({"architectures": 3}, "architectures must be a list of texts, got 3"),
        ({"hidden_size": 2**31}, "hidden_size must be at most 16777216, got 2147483648"),
        ({"hidden_size": 10**4000}, "hidden_size must be at most 16777216, got a number of more than 20 digits"),
        ({"num_attention_heads": [12]}, "num_attention_heads must be a whole number above 0"),
        ({"definition": {"model": {"class": "a:Transformer"}}}, "is not an experiment that this version can read"),
        ({"definition": {"model": [], "task": 3}}, "is not an experiment that this version can read"),
    ],
)
def test_a_file_with_impossible_fields_is_refused(change, said, tmp_path):
    path = tmp_path / "config.json"
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"model_type": "bert", "intermediate_size": 128, "vocab_size": 100}
    path.write_text(json.dumps(sizes | change))
    with pytest.raises(DataError if "definition" in change else ValueError, match=said):
        read(str(path))


def test_an_architecture_of_unknown_cost_is_refused():
    with pytest.raises(ValueError, match="cost of the architecture LinearNetwork is not known"):
        Experiment(model=models.LinearNetwork()).cost_model()
    with pytest.raises(ValueError, match="does not say the width of a token"):
        AttentionLayer().cost_model(None)

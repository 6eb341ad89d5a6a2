"""`descentlab cost`: what it prints and writes, that it starts no JAX, and how mistakes are met."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from descentlab.cli import main
from descentlab.cost import measure
from descentlab.cost.operators import total
from descentlab.cost.transformer import KERNELS, TransformerSizes, encoder
from descentlab.pages import cost as cost_module

MODEL = {
    "model_type": "bert",
    "num_hidden_layers": 2,
    "hidden_size": 24,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "vocab_size": 99,
}


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(MODEL))
    return "config.json"


def test_what_is_written_is_what_the_functions_count(config, capsys):
    assert main(["cost", config, "--seq", "8,32", "--kernel", "gaussian", "--json", "out.json"]) == 0
    with open("out.json") as file:
        written = json.load(file)
    model = TransformerSizes(2, 24, 3, 40, kernel=KERNELS["gaussian"])
    for length, found in zip((8, 32), written["lengths"], strict=True):
        assert found["length"] == length
        groups = {row["group"]: row for row in found["groups"]}
        # Beside the layers a BERT has a normalisation of its embeddings and a layer for its first token.
        assert groups["ffn"]["flops"] == total(encoder(model, length), "flops", "ffn")
        assert groups["attention"]["bytes"] == total(encoder(model, length), "moved", "attention")
        assert groups["projections"]["flops"] - total(encoder(model, length), "flops", "projections") == 2 * 24 * 24
        assert groups["other"]["flops"] - total(encoder(model, length), "flops", "other") == 8 * 24 * length
    printed = capsys.readouterr().out
    assert "gaussian attention" in printed
    assert "length 32" in printed


def test_the_published_numbers_are_printed(capsys):
    assert main(["cost", "bert-base", "--seq", "512"]) == 0
    lines = (line.split() for line in capsys.readouterr().out.splitlines())
    rows = {words[0]: words for words in lines if len(words) > 8}
    assert rows["projections"][1] == "29"
    assert rows["ffn"][1] == "58"
    assert rows["total"][1] == "97"


def test_the_page_about_the_command_shows_what_it_prints(capsys):
    page = (Path(__file__).parents[2] / "docs" / "howto" / "cost.md").read_text(encoding="utf-8")
    shown = page.partition("$ descentlab cost bert-base --seq 512\n")[2].partition("```")[0]
    assert main(["cost", "bert-base", "--seq", "512"]) == 0
    assert capsys.readouterr().out.split() == shown.split()


def test_a_page_has_its_four_figures(config, monkeypatch):
    monkeypatch.setattr(cost_module, "MAPPINGS", 50)
    assert main(["cost", config, "--seq", "8,32", "--page", "out.html"]) == 0
    with open("out.html", encoding="utf-8") as file:
        page = file.read()
    titles = re.findall(r"<h3[^>]*><span[^>]*>Figure \d</span> ([^<]*)</h3>", page)
    assert titles == [
        "Roofline, length 32", "Where operations, bytes and time go", "Intensity against length", "Mappings",
    ]  # fmt: skip
    assert page.count('type="application/json"') == 4


def test_this_machine_is_measured_where_asked_for(config, monkeypatch, capsys):
    monkeypatch.setattr(measure, "SIDE", 64)
    monkeypatch.setattr(measure, "COPIED", 2**12)
    arguments = ["cost", config, "--seq", "8", "--hardware", "here", "--precision", "float32", "--json", "out.json"]
    assert main([*arguments, "--page", "out.html"]) == 0
    with open("out.json") as file:
        (found,) = json.load(file)["lengths"]
    assert found["measured_seconds"]["ffn in"] > 0
    assert "measured" in capsys.readouterr().out


def test_a_causal_model_generates_unless_a_pass_is_asked_for(capsys):
    for flags, said in (([], "generating token by token"), (["--phase", "pass"], "one pass")):
        assert main(["cost", "gpt2", "--seq", "8", *flags]) == 0
        assert said in capsys.readouterr().out


def test_a_convolutional_network_has_one_size_and_no_mappings(tmp_path, capsys):
    page = tmp_path / "out.html"
    assert main(["cost", "resnet50", "--batch", "2", "--page", str(page)]) == 0
    assert "image side 224" in capsys.readouterr().out
    assert page.read_text(encoding="utf-8").count('type="application/json"') == 2


def test_layers_that_differ_have_rows_of_their_own(tmp_path, monkeypatch, capsys):
    """Of six layers of Gemma 3 five see a window; their counts add up to those by class."""
    monkeypatch.chdir(tmp_path)
    wholes = []
    for by in ("class", "layer"):
        arguments = ["cost", "gemma-3-1b", "--seq", "2048", "--phase", "pass", "--by", by, "--json", "out.json"]
        assert main(arguments) == 0
        printed = capsys.readouterr().out
        wholes.append(next(line.split()[1:4] for line in printed.splitlines() if line.startswith(" total")))
    assert wholes[0] == wholes[1]
    with open("out.json") as file:
        names = [row["group"] for row in json.load(file)["lengths"][0]["groups"]]
    assert names == ["0-4, 6-10, 12-16, ...: window of 512", "5, 11, 17, ...: full attention", "output", "total"]


def test_a_step_of_training_is_shown_with_memory_and_utilisation(config, capsys):
    arguments = ["cost", config, "--seq", "8", "--phase", "train", "--recompute", "layers", "--measured-ms", "5"]
    assert main([*arguments, "--json", "out.json", "--page", "out.html"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for said in ("a step of training", "memory: weights", "rule of thumb 6 N D", "utilisation:"):
        assert said in printed
    with open("out.json") as file:
        (found,) = json.load(file)["lengths"]
    assert found["memory"]["total"] > 12 * 10_000
    assert 0 < found["utilisation"]["model"] < found["utilisation"]["hardware"] < 1
    with open("out.html", encoding="utf-8") as file:
        assert "a step of training holds" in file.read()


def test_what_is_not_counted_is_said_everywhere(config, capsys):
    with open(config, "w") as file:
        json.dump(MODEL | {"num_local_experts": 4}, file)
    assert main(["cost", config, "--seq", "8"]) == 2
    assert "Give --uncounted" in capsys.readouterr().err
    flags = ["--uncounted", "--json", "out.json", "--page", "out.html", "--hardware", "h100"]
    assert main(["cost", config, "--seq", "8", *flags]) == 0
    words = "experts (num_local_experts = 4 in config.json)"
    assert f"not counted: {words}" in capsys.readouterr().out
    with open("out.json") as written, open("out.html", encoding="utf-8") as page:
        found, shown = json.load(written), page.read()
    assert found["not_counted"] == [words]
    assert f"Not counted: {words}" in shown
    parameters = found["anchors"]["parameters"]
    assert f"Parameters {parameters / 1e6:.4g} M; weights" in shown


def test_a_file_is_read_as_another_type_on_request(config, capsys):
    with open(config, "w") as file:
        json.dump(MODEL | {"model_type": "quux"}, file)
    assert main(["cost", config, "--seq", "8"]) == 2
    assert "model type 'quux', which is not known" in capsys.readouterr().err
    assert main(["cost", config, "--seq", "8", "--read-as", "bert"]) == 0
    assert "not counted: whatever tells quux from bert" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bert-bas"], "no preset 'bert-bas'; did you mean bert-base"),
        (["no/such/config.json"], "cannot be read: No such file"),
        (["bert-base", "--seq", "0"], "--seq wants whole numbers from 1 to 999999999, separated by commas, got '0'"),
        (["bert-base", "--seq", "-4"], "--seq wants whole numbers from 1 to 999999999"),
        (["bert-base", "--seq", "a,b"], "--seq wants whole numbers from 1 to 999999999"),
        (["bert-base", "--batch", "0"], "batch must be at least 1, got 0"),
        (["bert-base", "--kernel", "gausian"], "did you mean gaussian"),
        (["bert-base", "--hardware", "gemini"], "no machine 'gemini'; did you mean gemmini"),
        (["bert-base", "--precision", "float32"], "peak of Gemmini, 16 x 16 at 1 GHz in float32 is not known"),
        (["bert-base", "--prompt", "3"], "--prompt is for generation; add --phase generate"),
        (["gpt2", "--prompt", "-3"], "prompt must be at least 0, got -3"),
        (["gpt2", "--batch", str(2**53 + 1)], "batch must be at most 9007199254740992"),
        (["gpt2", "--seq", "10000001"], "at most 10000000 tokens are generated"),
        (["bert-base", "--images", "-1"], "images must be a whole number from 0"),
        (["gemma-3-4b", "--images", "1"], "--images is for a pass, which reads them; add --phase pass"),
        (["bert-base", "--measured-ms", "3"], "add --phase train"),
        (["vit-base-patch16", "--phase", "generate"], "a vision tower does not generate"),
        (["resnet50", "--kernel", "softmax"], "resnet50 has no attention"),
        (["bert-base", "--json", "."], "--json wants the name of a file"),
        (["bert-base", "--page", "."], "--page wants the name of a file"),
    ],
)
def test_mistakes_are_said_in_a_sentence(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["cost", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error


def test_a_scratchpad_too_small_for_a_tile_is_said(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["cost", "bert-base", "--accelerator.scratchpad", "500"])
    said = " ".join(re.findall(r"\w+", capsys.readouterr().err))
    assert "scratchpad must hold one tile of the 16 x 16 array 1024 bytes got 500" in said


@pytest.mark.parametrize("arguments", [["--help"], ["bert-base"], ["gpt2", "--kernel", "gaussian", "--json", "x.json"]])
def test_counting_imports_no_jax(tmp_path, arguments):
    code = (
        "import sys; from descentlab.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit(sorted({'jax', 'equinox', 'polars', 'plotly'} & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-c", code, "cost", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

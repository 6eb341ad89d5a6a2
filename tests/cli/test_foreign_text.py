"""What users write is shown as it is: no markup, no emoji, no command to the terminal; impossible words are refused."""

import io
import os
import re
from pathlib import Path

import pytest

from descentlab import cli, interrupts
from descentlab._check import printable, short
from descentlab.claims import Claim, Verdict
from descentlab.cli import display
from descentlab.cli.output import Screen
from descentlab.datasets import folder

TINY = str(Path(__file__).parents[1] / "studies" / "tiny.py")
LONG = "x" * 300
HOSTILE = "a[/x] [red]b[/red] :smile: \x1b[31mc\x9b\x7f\u202e \udcff"
SHOWN = "a[/x] [red]b[/red] :smile: ␛[31mc\ufffd␡\ufffd \ufffd"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(folder.VARIABLE, "")


def call(*arguments):
    try:
        return cli.main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


def said(capsys):
    found = capsys.readouterr()
    return found.out + found.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cost", "bert-base", "--seq", "²"], "--seq wants whole numbers from 1 to 999999999, .* got '²'"),
        (["cost", "bert-base", "--seq", "9" * 5000], r"--seq wants whole numbers .* got '9{200}\.\.\.'"),
        (["cost", f"{LONG}/config.json"], "cannot be read: File name too long"),
        (["cost", "bert-base", "--json", LONG], "--json x+ cannot be written: File name too long"),
        (["cost", "bert-base", "--page", f"new/{LONG}"], "--page new/x+ cannot be written: File name too long"),
        (["certify", "--arrays", LONG], "cannot be read: File name too long"),
        (["certify", "--text", LONG], "cannot be read: File name too long"),
        (["certify", "--text", "/dev/zero"], "/dev/zero is a pipe or device"),
        (["run", f"./{LONG}.py"], "there is no file ./x+.py"),
        (["landscape", "--store", LONG], "x+.*: File name too long"),
        (["run", TINY, "--data", LONG], "must name a folder, but there is nothing at .*x"),
        (["run", TINY, "--data", "~nosuchuser/x"], "must name a folder, but there is nothing at .*~nosuchuser/x"),
    ],
)
def test_impossible_words_are_refused_in_one_sentence_before_anything_is_written(arguments, words, capsys):
    assert call(*arguments) == 2
    text = said(capsys)
    assert re.match(f"error: .*{words}", text), text[:500]
    assert text.count("\n") == 1
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("store", ["m[/x]", "m[red]:smile:[/red]", "[link=file:x]a"])
def test_the_name_of_a_store_is_no_markup(store, capsys):
    Path(store).mkdir(parents=True)
    assert call("landscape", "--store", store) == 0
    assert f"0 runs in {store}" in said(capsys)


def test_commands_to_the_terminal_in_arguments_are_shown_as_signs(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    Path(HOSTILE).mkdir(parents=True)
    assert call("landscape", "--store", HOSTILE) == 0
    assert SHOWN in said(capsys)
    for arguments in (
        ["run", TINY, "--size", HOSTILE],
        ["landscape", "--points", HOSTILE],
        ["run", TINY, f"--{HOSTILE}", "1"],
        ["cost", HOSTILE],
        ["certify", "--arrays", HOSTILE],
        [f"--{HOSTILE}"],
        ["list", HOSTILE],
        [HOSTILE],
    ):
        assert call(*arguments) == 2
        text = said(capsys)
        assert printable(text) == text
    assert os.environ["TERM"] == "xterm"


def test_a_mistake_about_a_folder_that_only_the_system_can_name_is_a_sentence(capsys, monkeypatch):
    def full(rest):
        raise OSError(28, "No space left on device", HOSTILE)

    monkeypatch.setattr(cli, "_list", full)
    assert call("list") == 2
    assert said(capsys) == f"error: {SHOWN}: No space left on device\n"


def shown(renderable):
    screen = Screen(width=300)
    screen.file = io.StringIO()
    screen.print(renderable)
    return screen.file.getvalue()


def test_texts_of_claims_are_shown_as_they_are():
    claim = Claim("id", HOSTILE, source=HOSTILE, case=HOSTILE, verdict=Verdict.NOT_APPLICABLE, detail=HOSTILE)
    table = shown(display.claims_table([claim]))
    assert table.count(SHOWN) == 4
    assert printable(table) == table
    assert shown(HOSTILE) == f"{SHOWN}\n"


def test_a_terminal_still_gets_its_colours():
    screen = Screen(width=40)
    screen._color_system, screen.file = 1, io.StringIO()  # noqa: SLF001 there is no terminal here
    screen.print(display.Text("a\x1bb", style="red"))
    assert screen.file.getvalue() == "\x1b[31ma␛b\x1b[0m\n"


def test_progress_shows_names_as_they_are(capsys, monkeypatch):
    monkeypatch.setattr(display, "LINE_SECONDS", 0.0)
    with display.Bar(HOSTILE) as bar:
        bar(1, 2, HOSTILE)
        bar.say(HOSTILE)
        drawn = shown(bar._bar.get_renderable())
    assert said(capsys).count(SHOWN) == 3
    assert SHOWN.split(":smile:")[0] in drawn
    assert printable(drawn) == drawn


def test_the_sentence_after_a_stop_can_always_be_written(monkeypatch):
    monkeypatch.setattr(interrupts, "_sentence", "")
    interrupts.say(f"stopped; finished runs are in {HOSTILE}")
    assert interrupts._sentence.encode().decode() == f"stopped; finished runs are in {SHOWN}"


def test_text_for_messages_keeps_its_length_or_is_cut():
    assert len(printable(HOSTILE)) == len(HOSTILE)
    assert printable("a\tb\nc äµ∞\r\a") == "a\tb\nc äµ∞␍␇"
    assert short("x" * 200) == "x" * 200
    assert short("x" * 201) == "x" * 200 + "..."

"""The report: everything that was claimed is on the page, nothing on it runs or loads by accident."""

import base64
import html
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from descentlab import pages
from descentlab.claims import Claim, Verdict
from descentlab.pages import Figure, Report, format_number
from descentlab.pages import report as report_module

HOSTILE = "<script>alert('x')</script> & \"quoted\" </title>"


def claim(verdict: Verdict = Verdict.HOLDS, **changed) -> Claim:
    fields = {"id": f"claim-{verdict}", "text": f"It {verdict}", "source": "Theorem 1", "case": None, "detail": ""}
    return Claim(**(fields | changed), verdict=verdict)


def report(**changed) -> Report:
    fields = {
        "title": "A title",
        "question": "A question?",
        "paper": "A paper",
        "claims": [claim(verdict) for verdict in Verdict],
        "figures": [],
        "definitions": [],
        "provenance": {},
    }
    return Report(**(fields | changed))


def chart(points: int = 3) -> go.Figure:
    return go.Figure(
        go.Scatter(x=np.arange(points), y=np.linspace(0, 1, points)), layout={"title": {"text": "own title"}}
    )


class Elements(HTMLParser):
    """The elements of a page with their attributes, the text outside scripts, and the scripts by type."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.data: list[str] = []
        self.open = ""
        self.kind: str | None = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.open, self.kind = tag, dict(attrs).get("type")

    def handle_endtag(self, tag):
        self.open = ""

    def handle_data(self, data):
        if self.open == "script":
            self.data += [data] if self.kind == "application/json" else []
        elif self.open != "style":
            self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.found)


def cells(page: str, label: str) -> list[str]:
    return [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(rf'data-label="{label}">(.*?)</td>', page)]


class TestText:
    def test_hostile_text_is_shown_and_never_interpreted(self):
        hostile = report(
            title=HOSTILE,
            question=f"{HOSTILE}\n\n- {HOSTILE}\n\n`{HOSTILE}` ${HOSTILE}$",
            paper=HOSTILE,
            claims=[claim(text=HOSTILE, source=HOSTILE, case=HOSTILE, detail=HOSTILE, id=HOSTILE)],
            figures=[Figure(HOSTILE, HOSTILE, go.Figure(go.Scatter(y=[1, 2], name=HOSTILE)))],
            definitions=[(HOSTILE, {"class": HOSTILE, HOSTILE: [HOSTILE, {"given": HOSTILE, "sha256": HOSTILE}]})],
            provenance={HOSTILE: HOSTILE},
        )
        harmless = report(
            question="a\n\n- a\n\n`a` $a$",
            claims=[claim(case="k")],
            figures=[Figure("f", "c", chart())],
            definitions=[("d", {"class": "m:c", "field": ["v", {"given": "g", "sha256": "s"}]})],
            provenance={"p": "v"},
        )
        page, other = Elements(hostile.html()), Elements(harmless.html())
        assert page.count("script") == other.count("script")
        assert page.count("title") == other.count("title") == 1
        assert page.text.count("alert('x')") >= 14
        assert json.loads(page.data[0])["data"][0]["name"] == HOSTILE

    def test_a_quoted_attribute_cannot_be_left(self):
        page = Elements(report(claims=[claim(case='a" onclick="b')]).html())
        assert not any("onclick" in attributes for _, attributes in page.found)

    def test_a_docstring_keeps_its_paragraphs_lists_code_and_emphasis(self):
        question = """First line
        and its end.

        Second with `a < b`, *stress* and 2 * 3 * 4:
        - one
          continued
        - two

        Third:

            kept   as is
        """
        page = report(question=question).html()
        assert "<p>First line\nand its end.</p>" in page
        assert "<p>Second with <code>a &lt; b</code>, <em>stress</em> and 2 * 3 * 4:</p>" in page
        assert "<ul>\n<li>one\ncontinued</li>\n<li>two</li>\n</ul>" in page
        assert "<pre><code>kept   as is\n</code></pre>" in page

    @pytest.mark.parametrize(
        ("formula", "shown"),
        [
            (r"10^{-3}", "<msup><mn>10</mn><mrow><mo>−</mo><mn>3</mn></mrow></msup>"),
            (r"\theta \to \infty", "<mi>θ</mi><mo>→</mo><mo>∞</mo>"),
            (r"\frac{a}{b}", "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>"),
            (r"a < b", "<mi>a</mi><mo>&lt;</mo><mi>b</mi>"),
            (r"|a|", '<mo stretchy="false">|</mo><mi>a</mi><mo stretchy="false">|</mo>'),
        ],
    )
    def test_mathematics_is_mathml(self, formula, shown):
        page = report(question=f"so ${formula}$.").html()
        assert f'display="inline"><mrow>{shown}</mrow></math></span>.</p>' in page

    @pytest.mark.parametrize(
        "formula", [r"\text{<script>x</script>}", r"\text{&lt;script>}", r"\mathrm{</span><script>}"]
    )
    def test_a_formula_holds_no_markup(self, formula):
        page = Elements(report(question=f"so ${formula}$.").html())
        assert page.count("script") == Elements(report().html()).count("script")
        assert "script" in page.text

    @pytest.mark.parametrize("formula", [r"\href{javascript:alert(1)}{x}", r"\class{bar}{x}", r"\style{color:red}{x}"])
    def test_a_formula_leads_nowhere_and_looks_like_one(self, formula):
        page = Elements(report(question=f"so ${formula}$.").html())
        inside = [attributes for tag, attributes in page.found if tag in ("math", "mrow", "mi", "mstyle")]
        assert inside
        assert not any(attributes.keys() & {"href", "style", "class"} for attributes in inside)

    @pytest.mark.parametrize("broken", ["a_b_c", "{", r"\begin{matrix} <b>"])
    def test_a_broken_formula_is_shown_as_it_is_written(self, broken):
        assert f"<code>{html.escape(broken)}</code>" in report(question=f"so ${broken}$.").html()

    @pytest.mark.parametrize(
        "text",
        [
            "[a](https://b)",
            "![a](https://b)",
            "<https://b>",
            "https://b",
            "# a",
            "a | b\n--|--",
            "> a",
            "<b>a</b>",
            "&lt;",
        ],
    )
    def test_other_markup_is_plain_text(self, text):
        page = report(question=text).html()
        assert f'<div class="question"><p>{html.escape(text)}</p>' in page
        assert html.escape(text) in report(claims=[claim(text=text)]).html()

    def test_prices_are_not_mathematics(self):
        assert "costs $5 and $6" in report(question="costs $5 and $6").html()


class TestNumbers:
    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (None, "—"),
            (float("nan"), "—"),
            (float("inf"), "∞"),
            (-float("inf"), "−∞"),
            (0.0, "0"),
            (123456, "123456"),
            (0.12344999, "0.1234"),
            (0.0012345, "0.001234"),
            (9999.6, "1 × 10⁴"),
            (-12.5, "−12.5"),
            (1.5e-7, "1.5 × 10⁻⁷"),
            (2e12, "2 × 10¹²"),
        ],
    )
    def test_numbers_have_four_digits_and_missing_ones_a_dash(self, value, shown):
        assert format_number(value) == shown

    @pytest.mark.parametrize("value", [None, float("nan")])
    def test_a_missing_number_is_a_dash_in_the_table(self, value):
        page = report(claims=[claim(measured=value, expected=value, worst_margin=value, checked=3)]).html()
        assert [cells(page, name) for name in ("Measured", "Expected", "Checked", "Margin")] == [
            ["—"],
            ["—"],
            ["3"],
            ["—"],
        ]
        assert not re.search(r">\s*(nan|None|null)\s*<", page)

    def test_a_margin_carries_its_sign(self):
        page = report(claims=[claim(worst_margin=0.25), claim(worst_margin=-0.25)]).html()
        assert cells(page, "Margin") == ["+0.25", "−0.25"]


class TestClaims:
    def test_every_claim_is_a_row_with_its_verdict_in_words(self):
        claims = [claim(verdict, text=f"text {i}", id=f"id-{i}") for i, verdict in enumerate([*Verdict, *Verdict])]
        page = report(claims=claims).html()
        assert [cell[1:] for cell in cells(page, "Verdict")] == [str(one.verdict) for one in claims]
        for one in claims:
            assert f"<summary>{one.text}</summary>" in page
            assert f"<code>{one.id}</code>" in page

    def test_the_scoreboard_counts(self):
        claims = [claim(Verdict.HOLDS)] * 2 + [claim(Verdict.FAILS)]
        text = Elements(report(claims=claims).html()).text
        assert "2 hold1 fails0 undecided0 not applicable" in text

    def test_filters_offer_what_occurs(self):
        page = Elements(report(claims=[claim(case="softmax"), claim(Verdict.FAILS, case="linear")]).html())
        offered = [(a["data-filter"], a["data-value"]) for _, a in page.found if "data-filter" in a]
        assert offered == [(name, "") for name in ("verdict",)] + [
            ("verdict", "holds"), ("verdict", "fails"), ("case", ""), ("case", "softmax"), ("case", "linear"),
        ]  # fmt: skip

    def test_a_report_of_nothing_is_a_page(self):
        page = report(claims=[], question="", paper="").html()
        assert "<h1>A title</h1>" in page
        assert "<table" not in page


class TestPage:
    def test_nothing_is_loaded_from_elsewhere(self):
        page = report(figures=[Figure("f", "c", chart())]).html()
        elements = Elements(page)
        for tag, attributes in elements.found:
            for name in ("src", "href", "srcset", "data", "action", "poster"):
                value = attributes.get(name)
                assert value is None or value.startswith(("#", "data:")), (tag, name, value)
        assert "base" not in dict(elements.found)
        own = "".join(file.read_text() for file in Path(pages.__file__).parent.glob("[at]*/*"))
        assert own.count("<script>") == 2
        assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(|WebSocket|https?://", own)
        policy = next(a["content"] for _, a in elements.found if a.get("http-equiv") == "Content-Security-Policy")
        assert "default-src 'none'" in str(policy)
        assert not re.search(r"https?:|\*|connect-src|'self'", str(policy))

    def test_plotly_is_inlined_once_and_only_for_figures(self):
        figures = [Figure("one", "c", chart()), Figure("two", "c", chart())]
        mark = "All rights reserved"
        assert report(figures=figures).html().count("plotly.js v") == 1
        assert mark not in report().html()

    def test_no_button_uploads_a_chart(self):
        assert "showSendToCloud: false" in report().html()

    def test_charts_keep_their_numbers_and_lose_their_title(self):
        values = np.array([1.0, np.nan, 3.0])
        page = Elements(
            report(figures=[Figure("t", "c", go.Figure(go.Scatter(y=values), layout={"title": "x"}))]).html()
        )
        data = json.loads(page.data[0])
        packed = data["data"][0]["y"]
        np.testing.assert_array_equal(np.frombuffer(base64.b64decode(packed["bdata"]), packed["dtype"]), values)
        assert "title" not in data["layout"]

    def test_a_chart_is_not_changed_by_being_shown(self):
        figure = chart()
        report(figures=[Figure("t", "c", figure)]).html()
        assert figure.layout.title.text == "own title"

    def test_definitions_show_every_field_at_every_depth(self):
        data = {
            "class": "descentlab.models.attention_layer:AttentionLayer",
            "case": {"class": "descentlab.attention.softmax:Softmax", "temperature": 0.7},
            "bare": {"class": "descentlab.data:FullBatch"},
            "probes": [{"class": "a:Loss"}, {"class": "a:Sharpness", "when": {"class": "b:Every", "steps": 17}}],
            "trained": ["query", "key"],
            "inputs": {"given": "inputs", "sha256": "ab" * 32, "shape": [3, 4], "dtype": "float64"},
            "mask": None,
        }
        text = Elements(report(definitions=[("base", data)]).html()).text
        for part in (
            "base",
            "AttentionLayer",
            "Softmax",
            "0.7",
            "FullBatch",
            "Sharpness",
            "17",
            "query, key",
            "3 × 4",
            "abab",
        ):
            assert part in text
        assert "mask—" in text

    def test_provenance_is_shown(self):
        text = Elements(report(provenance={"wall time": "3 s", "command": "descentlab run"}).html()).text
        assert "wall time3 s" in text
        assert "commanddescentlab run" in text

    def test_texts_of_the_template_are_all_filled_in(self):
        page = report().html()
        assert not re.search(r">\s*\$[a-z]+", page)
        assert html.unescape(page).startswith("<!doctype html>")


class TestSize:
    def test_a_page_that_is_too_large_names_its_size_and_its_largest_figure(self):
        figures = [Figure("small one", "c", chart()), Figure("big one", "c", chart(400_000))]
        with pytest.raises(ValueError, match=r"at most 8 MB, this one has \d+\.\d MB, of which figure 'big one' takes"):
            report(figures=figures).html()

    def test_a_page_that_is_too_large_without_figures_says_so(self, monkeypatch):
        monkeypatch.setattr(report_module, "MAX_BYTES", 1000)
        with pytest.raises(ValueError, match="shorten its texts"):
            report().html()


class TestWrite:
    def test_the_file_holds_the_page(self, tmp_path):
        path = report().write(tmp_path / "made" / "on the way" / "report.html")
        assert path.read_text(encoding="utf-8") == report().html()
        assert os.listdir(path.parent) == ["report.html"]

    def test_a_failing_write_leaves_the_old_file_and_nothing_else(self, tmp_path, monkeypatch):
        path = tmp_path / "report.html"
        path.write_text("old")

        def fail(_descriptor):
            raise OSError("disk full")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            report().write(path)
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["report.html"]

    def test_a_report_that_cannot_be_rendered_touches_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(report_module, "MAX_BYTES", 10)
        with pytest.raises(ValueError, match="at most"):
            report().write(tmp_path / "folder" / "report.html")
        assert os.listdir(tmp_path) == []


def test_no_command_to_a_terminal_and_nothing_that_cannot_be_encoded_is_on_the_page():
    evil = "a\x1b[31mb\x9b\x07\u202e\udcff"
    data = {
        "class": evil,
        evil: evil,
        "list": [evil, [evil]],
        "given": {"given": evil, "shape": [evil], "sha256": evil},
    }
    figure = Figure(evil, evil, go.Figure(go.Scatter(y=[1.0], name=evil)))
    page = report(
        title=evil,
        question=evil,
        paper=evil,
        claims=[claim(id=evil, text=evil, source=evil, case=evil, detail=evil)],
        figures=[figure],
        definitions=[(evil, data)],
        provenance={evil: evil, "command": evil},
    ).html()
    assert page.encode().count(b"\x1b") == 0
    without_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", without_scripts) == []
    assert without_scripts.count("␛[31m") > 15

"""The report of a study: one HTML file with its claims, figures, definitions and provenance.

The file needs nothing but itself: styles, scripts, plotly and all data are inside, and its content policy forbids
the browser to load anything else. What a study measures and how figures are drawn is not decided here.
"""

import dataclasses
import html
import inspect
import json
import math
import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from html.entities import html5
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from descentlab._check import printable
from descentlab._files import replacing
from descentlab.claims import Claim, Verdict
from descentlab.mistake import Mistake

__all__ = ["MAX_BYTES", "Figure", "Report", "format_number", "render", "write"]

MAX_BYTES = 8_000_000
"""The largest report that is written: small enough to be sent by mail."""

DASH = "\N{EM DASH}"

# Per verdict: its class in the style sheet, its sign, and the words after one and after many.
_VERDICTS = {
    Verdict.HOLDS: ("holds", "\N{CHECK MARK}", "holds", "hold"),
    Verdict.FAILS: ("fails", "\N{MULTIPLICATION X}", "fails", "fail"),
    Verdict.UNDECIDED: ("undecided", "?", "undecided", "undecided"),
    Verdict.NOT_APPLICABLE: ("void", "\N{EN DASH}", "not applicable", "not applicable"),
}

_COLUMNS = ("Verdict", "Claim", "Case", "Measured", "Expected", "Checked", "Margin", "Source")

_CLAIMS_NOTE = (
    "Measured and expected are the two sides of the comparison that is met least, and the margin is by how much it "
    "is met, relative to the expected side; below 0 it is not met, nor at 0 where the claim is strict (more, above, "
    "below). Select a claim for its details."
)

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

# `code`, $mathematics$ and *emphasis*; whatever else a docstring contains is plain text.
_MARKS = re.compile(
    r"(`+)(?P<code>[^`]+)\1"
    r"|\$(?=\S)(?P<math>[^$]+?)(?<=\S)\$(?!\d)"
    r"|(?<![\w*])\*(?=\S)(?P<em>[^*]+?)(?<=\S)\*(?![\w*])"
)
_TAGS = {"code": "code", "math": "span", "em": "em"}

# TeX commands that HTML knows by another name or, worse, as another sign.
_TEX = {
    "cdot": "·", "infty": "∞", "ldots": "…", "left": "", "neq": "≠", "partial": "∂", "propto": "∝", "quad": " ",
    "right": "", "sqrt": "√", "sup": "sup", "to": "→", "|": "‖",
}  # fmt: skip
_ITEM = re.compile(r"(?:[-*]|(\d+)\.)\s+")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A chart and what is to be seen on it.

    Attributes:
        title: what it shows, in a few words.
        caption: what to look for; text as in a docstring.
        chart: the plotly figure. Its own title is dropped, and its fonts, axes and grid follow the page.
    """

    title: str
    caption: str
    chart: go.Figure


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything that a report shows.

    Texts are docstrings: paragraphs, lists, `code`, *emphasis* and $mathematics$, of which letters, signs, indices
    and exponents are set and the rest stays as it is written.

    Attributes:
        title: the study's title.
        question: what the study asks, and how it answers.
        paper: the work that it speaks of.
        claims: what was claimed and what came of it, in the order of the table.
        figures: in the order of the page.
        definitions: a label and the plain data of a definition, as `describe` gives it.
        provenance: versions, device, wall time, command: whatever a reader needs to get the same again.
    """

    title: str
    question: str
    paper: str
    claims: Sequence[Claim]
    figures: Sequence[Figure]
    definitions: Sequence[tuple[str, Any]]
    provenance: Mapping[str, str]


def render(report: Report) -> str:
    """The report as one self-contained HTML page, for light and dark screens, wide and narrow ones.

    Args:
        report: what to show.

    Returns:
        The page; plotly is part of it only if there are figures.

    Raises:
        Mistake: if the page exceeds `MAX_BYTES`.
    """
    charts = [_chart_data(figure.chart) for figure in report.figures]
    provenance = [(name, _escape(value)) for name, value in report.provenance.items()]
    sections = {
        "claims": ("Claims", _claims(report.claims)),
        "figures": ("Figures", "".join(map(_figure, range(1, len(charts) + 1), report.figures, charts))),
        "definitions": ("Definitions", "".join(_definition(*named) for named in report.definitions)),
        "provenance": ("Provenance", _pairs(provenance, 'class="provenance"') if provenance else ""),
    }
    shown = {name: section for name, section in sections.items() if section[1]}
    page = Template(_web("page.html")).substitute(
        title=_escape(report.title),
        style=_web("page.css"),
        script=_web("page.js"),
        plotly=_tag("script", _inert(get_plotlyjs())) if charts else "",
        paper=_tag("p", _inline(report.paper), 'class="paper"') if report.paper else "",
        contents="".join(_tag("a", heading, f'href="#{name}"') for name, (heading, _) in shown.items()),
        question=_prose(report.question),
        scoreboard=_scoreboard(report.claims),
        sections="".join(
            _tag(
                "section",
                _tag("h2", heading, f'id="{name}-heading"') + body,
                f'id="{name}" aria-labelledby="{name}-heading"',
            )
            for name, (heading, body) in shown.items()
        ),
    )
    size = len(page.encode())
    if size > MAX_BYTES:
        raise Mistake(_too_large(size, report.figures, charts))
    return page


def write(report: Report, path: str | os.PathLike[str]) -> Path:
    """Write the report so that the file is whole or, after any failure, as it was before.

    Args:
        report: what to show.
        path: where the file will lie; missing folders are made.

    Returns:
        The path.
    """
    target = Path(path)
    page = render(report).encode()
    with replacing(target) as file:
        file.write(page)
    return target


def format_number(value: float | int | None, *, signed: bool = False) -> str:
    """A number with four significant digits, in powers of ten where it is very large or small.

    Args:
        value: the number; `None` and NaN are shown as a dash.
        signed: whether numbers above 0 carry a plus sign.

    Returns:
        Plain text; integers below a million keep all their digits.

    Examples:
        >>> format_number(1234.567), format_number(0.00002), format_number(None)
        ('1235', '2 × 10⁻⁵', '—')
    """
    if value is None or math.isnan(value):
        return DASH
    sign = "\N{MINUS SIGN}" if value < 0 else "+" if signed and value > 0 else ""
    size = abs(value)
    if math.isinf(size):
        return f"{sign}\N{INFINITY}"
    if size < 1e6 and size == int(size):
        return f"{sign}{int(size)}"
    mantissa, _, exponent = f"{size:.3e}".partition("e")
    power = int(exponent)
    if -4 < power < 4:
        return sign + f"{size:.{3 - power}f}".rstrip("0").rstrip(".")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{sign}{mantissa} × 10{str(power).translate(_SUPERSCRIPTS)}"


def _web(name: str) -> str:
    return resources.files("descentlab").joinpath("web", name).read_text(encoding="utf-8")


def _escape(text: object) -> str:
    return html.escape(printable(str(text)), quote=True)


def _inert(script: str) -> str:
    """A script, or JSON, in which nothing ends the element around it."""
    return script.replace("</", "<\\/").replace("<!--", "<\\u0021--")


def _tag(name: str, content: str, attributes: str = "") -> str:
    return f"<{name} {attributes}>{content}</{name}>" if attributes else f"<{name}>{content}</{name}>"


def _muted(text: object) -> str:
    return _tag("span", _escape(text), 'class="muted"')


def _inline(text: str) -> str:
    """Running text with its marks."""
    pieces, end = [], 0
    for found in _MARKS.finditer(text):
        kind = str(found.lastgroup)
        inside = _math(found[kind]) if kind == "math" else _escape(found[kind])
        pieces += [
            _escape(text[end : found.start()]),
            _tag(_TAGS[kind], inside, 'class="math"' if kind == "math" else ""),
        ]
        end = found.end()
    return "".join([*pieces, _escape(text[end:])])


def _math(formula: str) -> str:
    """A formula as text: letters, signs, indices and exponents are set, any other command stays as it is."""

    def sign(command: re.Match[str]) -> str:
        return _TEX.get(command[1], html5.get(f"{command[1]};", command[1]))

    plain = re.sub(r"\\(?:mathrm|mathbb|mathcal|mathbf|operatorname|text)\{([^{}]*)\}", r"\1", formula)
    plain = re.sub(r"\\sqrt\{([^{}]*)\}", r"√(\1)", plain)
    plain = re.sub(r"\\([A-Za-z]+|\|)(?![A-Za-z{])", sign, plain).replace("-", "\N{MINUS SIGN}")
    lowered = re.sub(r"_(?:\{([^{}]*)\}|(\w))", r"<sub>\1\2</sub>", _escape(plain))
    return re.sub(r"\^(?:\{([^{}]*)\}|([\w*⊤]))", r"<sup>\1\2</sup>", lowered)


def _prose(text: str) -> str:
    """A docstring as paragraphs, lists, and blocks kept as they are written."""
    return "".join(_block(block) for block in re.split(r"\n\s*\n", inspect.cleandoc(text)) if block.strip())


def _block(block: str) -> str:
    rows = block.split("\n")
    if all(row.startswith("    ") for row in rows) or rows[0].startswith(">>> "):
        return _tag("pre", _escape(textwrap.dedent(block)))
    first = next((at for at, row in enumerate(rows) if _ITEM.match(row.strip())), len(rows))
    paragraph = " ".join(row.strip() for row in rows[:first])
    items: list[str] = []
    for row in map(str.strip, rows[first:]):
        if mark := _ITEM.match(row):
            items.append(row[mark.end() :])
        else:
            items[-1] += f" {row}"
    kind = "ol" if items and rows[first].strip()[0].isdigit() else "ul"
    listed = _tag(kind, "".join(_tag("li", _inline(item)) for item in items)) if items else ""
    return (_tag("p", _inline(paragraph)) if paragraph else "") + listed


def _scoreboard(claims: Sequence[Claim]) -> str:
    if not claims:
        return ""
    words, bar = "", ""
    for verdict, (kind, _, one, many) in _VERDICTS.items():
        count = sum(claim.verdict == verdict for claim in claims)
        text = f"<b>{count}</b> {one if count == 1 else many}"
        words += _tag("li", text, f'class="{kind}"' if count else 'class="none"')
        bar += _tag("span", "", f'class="{kind}" style="flex-grow: {count}"') if count else ""
    listed = _tag("ul", words, 'aria-label="Verdicts"') + _tag("div", bar, 'class="bar" aria-hidden="true"')
    return _tag("div", listed, 'class="scoreboard"')


def _claims(claims: Sequence[Claim]) -> str:
    if not claims:
        return ""
    head = "".join(_tag("th", name, 'role="columnheader" scope="col"') for name in _COLUMNS)
    verdicts = [str(verdict) for verdict in _VERDICTS if any(claim.verdict == verdict for claim in claims)]
    cases = list(dict.fromkeys(claim.case for claim in claims if claim.case))
    count = _tag("p", "", 'class="count" role="status"')
    table = _tag("thead", _tag("tr", head, 'role="row"'), 'role="rowgroup"')
    table += _tag("tbody", "".join(map(_claim, claims)), 'role="rowgroup"')
    return (
        _tag("div", _filter("verdict", verdicts) + _filter("case", cases) + count, 'class="filters" hidden')
        + _tag("table", table, 'class="claims" role="table" aria-labelledby="claims-heading"')
        + _tag("p", _CLAIMS_NOTE, 'class="note"')
    )


def _filter(name: str, values: Sequence[str]) -> str:
    if len(values) < 2:
        return ""
    buttons = "".join(
        _tag(
            "button",
            _escape(value or "all"),
            f'type="button" data-filter="{name}" data-value="{_escape(value)}" aria-pressed="{str(not value).lower()}"',
        )
        for value in ("", *values)
    )
    label = _tag("span", name.capitalize(), 'aria-hidden="true"')
    return _tag("div", label + buttons, f'role="group" aria-label="Filter by {name}"')


def _claim(claim: Claim) -> str:
    kind, sign, *_ = _VERDICTS[claim.verdict]
    more = _prose(claim.detail)
    if claim.uncertainty:
        more += _tag("p", f"Uncertainty of the difference: {format_number(claim.uncertainty)}")
    more += _tag("p", _tag("code", _escape(claim.id)))
    badge = _tag("span", sign, 'aria-hidden="true"') + _escape(claim.verdict)
    cells = (
        _tag("span", badge, f'class="badge {kind}"'),
        _tag("details", _tag("summary", _inline(claim.text)) + more),
        _escape(claim.case) if claim.case else _muted("all"),
        format_number(claim.measured),
        format_number(claim.expected),
        format_number(claim.checked),
        format_number(claim.worst_margin, signed=True),
        _inline(claim.source),
    )
    row = "".join(
        _tag("td", cell, f'role="cell" data-label="{name}"') for name, cell in zip(_COLUMNS, cells, strict=True)
    )
    of = f'data-verdict="{_escape(claim.verdict)}" data-case="{_escape(claim.case or "")}"'
    return _tag("tr", row, f'role="row" {of}')


def _chart_data(chart: go.Figure) -> str:
    """The chart as JSON that may stand in a page, without the title that the page shows in its own type."""
    data = json.loads(str(chart.to_json()))
    data.get("layout", {}).pop("title", None)
    return _inert(json.dumps(data, separators=(",", ":")))


def _figure(number: int, figure: Figure, data: str) -> str:
    label = _tag("span", f"Figure {number}", 'class="label"')
    title = _tag("h3", f"{label} {_inline(figure.title)}", f'id="figure-{number}"')
    named = f'class="chart" role="group" aria-label="{_escape(figure.title)}, interactive chart"'
    chart = _tag("div", "", named) + _tag("script", data, 'type="application/json"')
    return _tag(
        "figure", f"{title}{chart}{_tag('figcaption', _prose(figure.caption))}", f'aria-labelledby="figure-{number}"'
    )


def _definition(label: str, data: Any) -> str:
    summary = _tag("summary", f"{_tag('b', _escape(label))} {_head(data)}")
    return _tag("details", summary + _fields(data), 'class="definition"')


def _head(data: Any) -> str:
    """The class of a definition, its module in grey."""
    if not (isinstance(data, Mapping) and "class" in data):
        return ""
    module, _, name = str(data["class"]).rpartition(":")
    return _tag("span", _escape(name), 'class="class"') + " " + _muted(module)


def _fields(data: Any) -> str:
    """The inside of a definition as a list of names and values."""
    if isinstance(data, Mapping):
        return _pairs([(name, _value(value)) for name, value in data.items() if name != "class"])
    if isinstance(data, list | tuple):
        return _tag("ol", "".join(_tag("li", _value(value)) for value in data), 'start="0"')
    return _tag("p", _value(data))


def _pairs(pairs: Sequence[tuple[str, str]], attributes: str = "") -> str:
    rows = [_tag("div", _tag("dt", _escape(name)) + _tag("dd", content)) for name, content in pairs]
    return _tag("dl", "".join(rows), attributes)


def _value(value: Any) -> str:
    nested = isinstance(value, list | tuple) and any(isinstance(inner, Mapping | list | tuple) for inner in value)
    if isinstance(value, Mapping) and "given" in value:
        shape = " × ".join(map(str, value.get("shape", ())))
        content = str(value.get("sha256", ""))[:12]
        return f"{_escape(value['given'])} {_muted(f'{shape}, sha256 {content}')}"
    if isinstance(value, Mapping) and not value.keys() - {"class"}:
        return _head(value) or _muted("empty")
    if nested or isinstance(value, Mapping):
        head = _head(value) or _muted(f"{len(value)} entries")
        return _tag("details", _tag("summary", head) + _fields(value), "open")
    if isinstance(value, list | tuple):
        return _tag("code", _escape(", ".join(map(str, value)))) if value else _muted("empty")
    return _tag("code", DASH if value is None else _escape(value))


def _too_large(size: int, figures: Sequence[Figure], charts: Sequence[str]) -> str:
    said = f"a report has at most {MAX_BYTES / 1e6:g} MB, this one has {size / 1e6:.1f} MB"
    if not charts:
        return f"{said}; shorten its texts and definitions"
    sizes = [len(chart.encode()) for chart in charts]
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    return (
        f"{said}, of which figure {figures[largest].title!r} takes {sizes[largest] / 1e6:.1f} MB; "
        "draw fewer points there"
    )

"""The report of a study: one HTML file with its claims, figures, definitions and provenance.

The file needs nothing but itself: styles, scripts, plotly and all data are inside, and its content policy forbids the
browser to load anything else. What a study measures and how figures are drawn is not decided here.
"""

import dataclasses
import html
import inspect
import json
import math
import os
import re
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from descentlab.theory.claim import Claim, Verdict

__all__ = ["MAX_BYTES", "Figure", "Report", "format_number", "render", "write"]

MAX_BYTES = 8_000_000
"""The largest report that is written: small enough to be sent by mail."""

DASH = "\N{EM DASH}"

# Per verdict: its class in the style sheet, its sign, and its form in the scoreboard after one and after many.
_VERDICTS = {
    Verdict.HOLDS: ("holds", "\N{CHECK MARK}", "holds", "hold"),
    Verdict.FAILS: ("fails", "\N{MULTIPLICATION X}", "fails", "fail"),
    Verdict.UNDECIDED: ("undecided", "?", "undecided", "undecided"),
    Verdict.NOT_APPLICABLE: ("void", "\N{EN DASH}", "not applicable", "not applicable"),
}

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

# `code`, $mathematics$ and *emphasis*; whatever else a docstring contains is plain text.
_MARKS = re.compile(
    r"``(?P<code2>[^`]+)``|`(?P<code>[^`]+)`|\$(?=\S)(?P<math>[^$]+?)(?<=\S)\$(?!\d)|(?<![\w*])\*(?=\S)(?P<em>[^*]+?)(?<=\S)\*(?![\w*])"
)
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

    Texts are docstrings: paragraphs, lists, `code`, *emphasis* and $mathematics$, which stays readable as text.

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
        ValueError: if the page exceeds `MAX_BYTES`.
    """
    charts = [_chart_data(figure.chart) for figure in report.figures]
    sections = {
        "claims": ("Claims", _claims(report.claims)),
        "figures": ("Figures", "".join(map(_figure, range(1, len(charts) + 1), report.figures, charts))),
        "definitions": ("Definitions", "".join(_definition(*named) for named in report.definitions)),
        "provenance": ("Provenance", _provenance(report.provenance)),
    }
    shown = {name: section for name, section in sections.items() if section[1]}
    page = Template(_web("page.html")).substitute(
        title=_escape(report.title),
        style=_web("page.css"),
        script=_web("page.js"),
        plotly=f"<script>{_inert(get_plotlyjs())}</script>" if charts else "",
        paper=f'<p class="paper">{_inline(report.paper)}</p>' if report.paper else "",
        contents="".join(f'<a href="#{name}">{heading}</a>' for name, (heading, _) in shown.items()),
        question=_prose(report.question),
        scoreboard=_scoreboard(report.claims),
        sections="".join(
            f'<section id="{name}" aria-labelledby="{name}-heading"><h2 id="{name}-heading">{heading}</h2>{body}</section>'
            for name, (heading, body) in shown.items()
        ),
    )
    size = len(page.encode())
    if size > MAX_BYTES:
        raise ValueError(_too_large(size, report.figures, charts))
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
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        with beside.open("wb") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def format_number(value: float | None, *, signed: bool = False) -> str:
    """A number with four significant digits, in powers of ten where it is very large or small.

    Args:
        value: the number; `None` and NaN are shown as a dash.
        signed: whether numbers above 0 carry a plus sign.

    Returns:
        Plain text; integers below a million keep all their digits.

    Example:
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
    return html.escape(str(text), quote=True)


def _inert(script: str) -> str:
    """A script, or JSON, in which nothing ends the element around it."""
    return script.replace("</", "<\\/").replace("<!--", "<\\!--")


def _inline(text: str) -> str:
    """One line of text with its marks."""
    tags = {
        "code": "<code>{}</code>",
        "code2": "<code>{}</code>",
        "math": '<span class="math">{}</span>',
        "em": "<em>{}</em>",
    }
    pieces, end = [], 0
    for found in _MARKS.finditer(text):
        pieces += [
            _escape(text[end : found.start()]),
            tags[found.lastgroup or "code"].format(_escape(found[found.lastgroup or 0])),
        ]
        end = found.end()
    return "".join([*pieces, _escape(text[end:])])


def _prose(text: str) -> str:
    """A docstring as paragraphs, lists, and blocks kept as they are written."""
    return "".join(_block(block) for block in re.split(r"\n\s*\n", inspect.cleandoc(text)) if block.strip())


def _block(block: str) -> str:
    rows = block.split("\n")
    if all(row.startswith("    ") for row in rows) or rows[0].startswith(">>> "):
        return f"<pre>{_escape(inspect.cleandoc(block))}</pre>"
    first = next((at for at, row in enumerate(rows) if _ITEM.match(row.strip())), len(rows))
    paragraph = " ".join(row.strip() for row in rows[:first])
    items: list[str] = []
    for row in map(str.strip, rows[first:]):
        if mark := _ITEM.match(row):
            items.append(row[mark.end() :])
        else:
            items[-1] += f" {row}"
    numbered = _ITEM.match(rows[first].strip()) if items else None
    kind = "ol" if numbered and numbered[1] else "ul"
    listed = "".join(f"<li>{_inline(item)}</li>" for item in items)
    return (f"<p>{_inline(paragraph)}</p>" if paragraph else "") + (f"<{kind}>{listed}</{kind}>" if items else "")


def _scoreboard(claims: Sequence[Claim]) -> str:
    if not claims:
        return ""
    counts = Counter(claim.verdict for claim in claims)
    words = "".join(
        f'<li class="{kind}{"" if counts[verdict] else " none"}"><b>{counts[verdict]}</b> {one if counts[verdict] == 1 else many}</li>'
        for verdict, (kind, _, one, many) in _VERDICTS.items()
    )
    bar = "".join(
        f'<span class="{kind}" style="flex-grow: {counts[verdict]}"></span>'
        for verdict, (kind, *_) in _VERDICTS.items()
        if counts[verdict]
    )
    return f'<div class="scoreboard"><ul aria-label="Verdicts">{words}</ul><div class="bar" aria-hidden="true">{bar}</div></div>'


def _claims(claims: Sequence[Claim]) -> str:
    if not claims:
        return ""
    columns = ("Verdict", "Claim", "Kernel", "Measured", "Expected", "Checked", "Margin", "Source")
    numbers = columns[3:7]
    head = "".join(
        f'<th role="columnheader" scope="col"{" class=number" if name in numbers else ""}>{name}</th>'
        for name in columns
    )
    rows = "".join(map(_claim, claims))
    verdicts = [str(verdict) for verdict in _VERDICTS if any(claim.verdict == verdict for claim in claims)]
    kernels = list(dict.fromkeys(claim.kernel for claim in claims if claim.kernel))
    return (
        f'<div class="filters" hidden>{_filter("verdict", verdicts)}{_filter("kernel", kernels)}'
        f'<p class="count" role="status"></p></div>'
        f'<table class="claims" role="table"><thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{rows}</tbody></table>'
        '<p class="note">Measured and expected are the two sides of the comparison that is met least, and the margin is '
        "by how much it is met, relative to the expected side; a negative margin is a violation. "
        "Select a claim for its details.</p>"
    )


def _filter(name: str, values: Sequence[str]) -> str:
    if len(values) < 2:
        return ""
    buttons = "".join(
        f'<button type="button" data-filter="{name}" data-value="{_escape(value)}" aria-pressed="{str(not value).lower()}">'
        f"{_escape(value) or 'all'}</button>"
        for value in ("", *values)
    )
    return f'<div role="group" aria-label="Filter by {name}"><span>{name.capitalize()}</span>{buttons}</div>'


def _claim(claim: Claim) -> str:
    kind, sign, *_ = _VERDICTS[claim.verdict]
    short = (
        f"<b>within</b> {format_number(claim.uncertainty)}, the uncertainty of the difference"
        if claim.uncertainty
        else ""
    )
    more = _prose(claim.detail) + (f"<p>{short}</p>" if short else "") + f"<p><code>{_escape(claim.id)}</code></p>"
    cells = (
        (
            "Verdict",
            f'<span class="badge {kind}"><span aria-hidden="true">{sign}</span>{_escape(claim.verdict)}</span>',
        ),
        ("Claim", f"<details><summary>{_inline(claim.text)}</summary>{more}</details>"),
        ("Kernel", _escape(claim.kernel) if claim.kernel else '<span class="muted">all</span>'),
        ("Measured", format_number(claim.measured)),
        ("Expected", format_number(claim.expected)),
        ("Checked", format_number(claim.checked)),
        ("Margin", format_number(claim.worst_margin, signed=True)),
        ("Source", _inline(claim.source)),
    )
    body = "".join(f'<td role="cell" data-label="{name}">{content}</td>' for name, content in cells)
    return f'<tr role="row" data-verdict="{_escape(claim.verdict)}" data-kernel="{_escape(claim.kernel or "")}">{body}</tr>'


def _chart_data(chart: go.Figure) -> str:
    """The chart as JSON that may stand in a page, without the title that the page shows in its own type."""
    text = chart.to_json()
    data = json.loads(text if text else "{}")
    data.get("layout", {}).pop("title", None)
    return _inert(json.dumps(data, separators=(",", ":")))


def _figure(number: int, figure: Figure, data: str) -> str:
    return (
        f'<figure aria-labelledby="figure-{number}"><h3 id="figure-{number}"><span class="label">Figure {number}</span> '
        f'{_inline(figure.title)}</h3><div class="chart" role="group" aria-label="{_escape(figure.title)}, interactive chart">'
        f'</div><script type="application/json">{data}</script><figcaption>{_prose(figure.caption)}</figcaption></figure>'
    )


def _definition(label: str, data: Any) -> str:
    return (
        f'<details class="definition"><summary><b>{_escape(label)}</b> {_head(data)}</summary>{_fields(data)}</details>'
    )


def _head(data: Any) -> str:
    """The class of a definition, its module in grey."""
    if not (isinstance(data, Mapping) and "class" in data):
        return ""
    module, _, name = str(data["class"]).rpartition(":")
    return f'<span class="class">{_escape(name)}</span> <span class="muted">{_escape(module)}</span>'


def _fields(data: Any) -> str:
    """The inside of a definition as a list of names and values."""
    if isinstance(data, list | tuple):
        return "<ol start=0>" + "".join(f"<li>{_value(value)}</li>" for value in data) + "</ol>"
    if not isinstance(data, Mapping):
        return f"<p>{_value(data)}</p>"
    named = [(name, value) for name, value in data.items() if name != "class"]
    return (
        "<dl>"
        + "".join(f"<div><dt>{_escape(name)}</dt><dd>{_value(value)}</dd></div>" for name, value in named)
        + "</dl>"
    )


def _value(value: Any) -> str:
    if isinstance(value, Mapping) and "given" in value:
        shape = " × ".join(map(str, value.get("shape", ())))
        return f'{_escape(value["given"])} <span class="muted">{shape} sha256 {_escape(value.get("sha256", ""))[:12]}</span>'
    if isinstance(value, Mapping) and len(value) == int("class" in value):
        return _head(value) or '<span class="muted">empty</span>'
    if isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and any(isinstance(v, Mapping | list) for v in value)
    ):
        head = _head(value) or f'<span class="muted">{len(value)} entries</span>'
        return f"<details open><summary>{head}</summary>{_fields(value)}</details>"
    if isinstance(value, list | tuple):
        return f"<code>{_escape(', '.join(map(str, value))) or DASH}</code>"
    return f"<code>{DASH if value is None else _escape(value)}</code>"


def _provenance(provenance: Mapping[str, str]) -> str:
    rows = "".join(
        f"<div><dt>{_escape(name)}</dt><dd>{_escape(value)}</dd></div>" for name, value in provenance.items()
    )
    return f'<dl class="provenance">{rows}</dl>' if rows else ""


def _too_large(size: int, figures: Sequence[Figure], charts: Sequence[str]) -> str:
    said = f"a report has at most {MAX_BYTES / 1e6:g} MB, this one has {size / 1e6:.1f} MB"
    if not charts:
        return f"{said}; shorten its texts and definitions"
    sizes = [len(chart.encode()) for chart in charts]
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    return f"{said}, of which figure {figures[largest].title!r} takes {sizes[largest] / 1e6:.1f} MB; draw fewer points there"

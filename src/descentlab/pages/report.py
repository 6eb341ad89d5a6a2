"""The report of a study: one HTML file with its claims, figures, definitions and provenance.

The file needs nothing but itself: styles, scripts, plotly and all data are inside, and its content policy forbids
the browser to load anything else. What a study measures and how figures are drawn is not decided here.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from descentlab._check import printable
from descentlab._files import replacing
from descentlab.claims import Claim, Verdict
from descentlab.mistake import Mistake
from descentlab.pages.markup import inline, prose
from descentlab.pages.numbers import DASH, format_number

__all__ = ["MAX_BYTES", "Figure", "Report"]

MAX_BYTES = 8_000_000
"""The largest report that is written: small enough to be sent by mail."""


class _Mark(NamedTuple):
    """How a verdict looks: its class in the style sheet, its sign, and the words after one and after many."""

    style: str
    sign: str
    one: str
    many: str


_MARKS = {
    Verdict.HOLDS: _Mark("holds", "\N{CHECK MARK}", "holds", "hold"),
    Verdict.FAILS: _Mark("fails", "\N{MULTIPLICATION X}", "fails", "fail"),
    Verdict.UNDECIDED: _Mark("undecided", "?", "undecided", "undecided"),
    Verdict.NOT_APPLICABLE: _Mark("void", "\N{EN DASH}", "not applicable", "not applicable"),
}


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
    """Everything that a page shows.

    Texts are docstrings: paragraphs, lists, `code`, *emphasis* and $mathematics$; whatever else they hold is shown as
    it is written.

    Attributes:
        title: the study's title.
        question: what the study asks, and how it answers.
        paper: the work that it speaks of.
        findings: what was found, in sentences; they come first, with the first of the figures beside them.
        claims: what was claimed and what came of it, in the order of the table.
        figures: in the order of the page.
        definitions: a label and the plain data of a definition, as `describe` gives it.
        provenance: versions, device, wall time, command: whatever a reader needs to get the same again.
    """

    title: str
    question: str = ""
    paper: str = ""
    findings: Sequence[str] = ()
    claims: Sequence[Claim] = ()
    figures: Sequence[Figure] = ()
    definitions: Sequence[tuple[str, Any]] = ()
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def html(self) -> str:
        """The report as one self-contained HTML page, for light and dark screens, wide and narrow ones.

        Returns:
            The page; plotly is part of it only if there are figures.

        Raises:
            Mistake: if the page exceeds `MAX_BYTES`.
        """
        every = ("findings", "claims", "figures", "definitions", "provenance")
        sections = [name for name in every if getattr(self, name)]
        if self.findings and len(self.figures) == 1:  # it stands beside them
            sections.remove("figures")
        page = _templates().get_template("page.html").render(report=self, sections=sections)
        size = len(page.encode())
        if size > MAX_BYTES:
            raise Mistake(_too_large(size, self.figures))
        return page

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page so that the file is whole or, after any failure, as it was before.

        Args:
            path: where the file will lie; missing folders are made.

        Returns:
            The path.

        Raises:
            Mistake: if the page exceeds `MAX_BYTES`.
        """
        target = Path(path)
        page = self.html().encode()
        with replacing(target) as file:
            file.write(page)
        return target


@functools.cache
def _templates() -> jinja2.Environment:
    """The templates of pages; whatever they are given is shown as text, and nothing of it is a command."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("descentlab.pages"),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals |= {"marks": _MARKS, "dash": DASH, "counted": _counted, "asset": _asset, "plotly": _plotly}
    found.filters |= {"prose": prose, "inline": inline, "number": format_number, "chart": _chart, "class": _class}
    found.tests["listing"] = lambda value: isinstance(value, list | tuple)
    return found


def _shown(value: Any) -> Any:
    return value if isinstance(value, Markup) else printable(str(value))


def _counted(claims: Sequence[Claim]) -> list[tuple[_Mark, int]]:
    return [(mark, sum(claim.verdict == verdict for claim in claims)) for verdict, mark in _MARKS.items()]


def _asset(name: str) -> Markup:
    return Markup(resources.files("descentlab.pages").joinpath("assets", name).read_text(encoding="utf-8"))


def _plotly() -> Markup:
    return _inert(get_plotlyjs())


def _inert(script: str) -> Markup:
    """A script, or JSON, in which nothing ends the element around it."""
    return Markup(script.replace("</", "<\\/").replace("<!--", "<\\u0021--"))


def _chart(chart: go.Figure) -> Markup:
    """The chart as JSON that may stand in a page, without the title that the page shows in its own type."""
    data = json.loads(str(chart.to_json()))
    data.get("layout", {}).pop("title", None)
    return _inert(json.dumps(data, separators=(",", ":")))


def _class(data: Mapping[str, Any]) -> tuple[str, str]:
    """Module and name of the class of a definition."""
    module, _, name = str(data["class"]).rpartition(":")
    return module, name


def _too_large(size: int, figures: Sequence[Figure]) -> str:
    said = f"a report has at most {MAX_BYTES / 1e6:g} MB, this one has {size / 1e6:.1f} MB"
    if not figures:
        return f"{said}; shorten its texts and definitions"
    sizes = [len(_chart(figure.chart).encode()) for figure in figures]
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    return (
        f"{said}, of which figure {figures[largest].title!r} takes {sizes[largest] / 1e6:.1f} MB; "
        "draw fewer points there"
    )

"""Docstrings and sentences as HTML: paragraphs, lists, code, emphasis and formulas; everything else is plain text."""

import functools
import inspect
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markupsafe import Markup
from mdit_py_plugins.dollarmath import dollarmath_plugin

from descentlab._check import printable
from descentlab.pages.formulas import mathml

__all__ = ["inline", "prose"]


def prose(text: str) -> Markup:
    """A docstring as blocks: paragraphs, lists, displayed formulas, and indented lines kept as they are written."""
    return Markup(_markdown().render(inspect.cleandoc(printable(text))))


def inline(text: str) -> Markup:
    """A sentence with its code, emphasis and formulas."""
    return Markup(_markdown().renderInline(printable(text)))


@functools.cache
def _markdown() -> MarkdownIt:
    """No links, images, headings or HTML: texts of runs and files are shown, and lead nowhere."""
    reader = MarkdownIt("zero").enable(["code", "list", "emphasis", "backticks"])
    reader.use(
        dollarmath_plugin,
        allow_labels=False,
        allow_space=False,
        allow_digits=False,
        allow_blank_lines=False,
        renderer=_formula,
    )
    return reader


def _formula(latex: str, options: dict[str, Any]) -> str:
    """MathML, or the formula as it is written where it is none."""
    try:
        return mathml(latex, display=options["display_mode"])
    except Exception:  # noqa: BLE001 the converter stumbles over broken formulas in many ways
        return f"<code>{escapeHtml(latex)}</code>"

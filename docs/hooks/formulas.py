"""Formulas of the pages as MathML, which browsers draw by themselves."""

import html
import re

from latex2mathml.converter import convert

FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
DISPLAY = re.compile(r"\n*^([ ]*)(\$\$.+?\$\$)[ ]*([.,]?)[ ]*$\n*", re.MULTILINE | re.DOTALL)
WRITTEN = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_markdown(markdown, **_):
    """Displayed formulas stand in paragraphs of their own, as the Markdown extension wants them."""
    parts = FENCE.split(markdown)
    parts[::2] = [DISPLAY.sub(r"\n\n\1\2\n\n", part) for part in parts[::2]]
    return "".join(parts)


def on_page_content(content, **_):
    """Every formula as MathML."""
    return WRITTEN.sub(_mathml, content)


def _mathml(found):
    display = "block" if found[2] == "[" else "inline"
    latex = re.sub(r"\\tag\{\$?([^}$]+)\$?\}", r"\\qquad\\text{(\1)}", html.unescape(found[3]).strip())
    return convert(latex.replace("{aligned}", "{align*}"), display=display)

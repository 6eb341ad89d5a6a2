"""Formulas of the pages as MathML, which browsers draw by themselves."""

import html
import re

from descentlab.pages.formulas import mathml

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
    return mathml(html.unescape(found[3]), display=found[2] == "[")

"""Formulas as MathML, which browsers draw by themselves."""

import re
from xml.etree.ElementTree import tostring

from latex2mathml.converter import convert_to_element

__all__ = ["mathml"]

_TAG = re.compile(r"\\tag\{\$?([^}$]+)\$?\}")

_SIGN = re.compile(r"&#x([0-9A-F]{5});")
"""How the converter writes the signs of commands."""

_REFUSED = ("class", "href", "id", "style")
"""Attributes by which a formula could do more than be read."""


def mathml(latex: str, *, display: bool = False) -> str:
    r"""A formula as MathML; nothing in it is markup but what the converter makes.

    Args:
        latex: between the dollar signs; `{aligned}` and `\tag{1}` may be used.
        display: whether the formula stands in lines of its own.

    Raises:
        Exception: of the converter, if the formula is not well-formed.
    """
    plain = _TAG.sub(r"\\qquad\\text{(\1)}", latex.strip()).replace("{aligned}", "{align*}")
    tree = convert_to_element(plain, display="block" if display else "inline")
    for element in tree.iter():
        element.text = _SIGN.sub(lambda sign: chr(int(sign[1], 16)), element.text or "")
        for name in _REFUSED:
            element.attrib.pop(name, None)
    return tostring(tree, encoding="unicode", short_empty_elements=False)

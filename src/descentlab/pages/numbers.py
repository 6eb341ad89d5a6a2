"""Numbers as a page shows them."""

import math

__all__ = ["DASH", "format_number"]

DASH = "\N{EM DASH}"

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


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

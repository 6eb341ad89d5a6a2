"""Messages for a user's mistakes: what was wanted, what came, what to do.

Checks look at concrete Python numbers only. A field may hold a traced value (definitions are rebuilt inside
compiled programs), and a traced value was checked when its definition was first written down.
"""

import difflib
import math
from collections.abc import Iterable
from typing import Any

from descentlab.mistake import Mistake

UNROLLED = 10_000
"""Most repetitions that are written out one by one in a program; longer ones are never compiled to their end."""


def real(value: Any) -> Any:
    """Converter of float fields: a given integer becomes a float, everything else passes unchanged."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return float(value)
    except OverflowError:  # the field's own check says so
        return math.copysign(math.inf, value)


def positive(owner: Any, name: str) -> None:
    """Raise unless the number in field `name` is finite and above zero.

    Raises:
        Mistake: if it is not.
    """
    value = getattr(owner, name)
    if isinstance(value, int | float) and not (value > 0 and math.isfinite(value)):
        raise Mistake(f"{type(owner).__name__}.{name} must be a finite number above 0, got {value}; choose {name} > 0")


def not_negative(owner: Any, name: str) -> None:
    """Raise unless the number in field `name` is finite and at least zero.

    Raises:
        Mistake: if it is not.
    """
    value = getattr(owner, name)
    if isinstance(value, int | float) and not (value >= 0 and math.isfinite(value)):
        raise Mistake(f"{type(owner).__name__}.{name} must be a finite number, at least 0, got {value}")


def finite(owner: Any, name: str) -> None:
    """Raise unless the number in field `name` is finite.

    Raises:
        Mistake: if it is not.
    """
    value = getattr(owner, name)
    if isinstance(value, int | float) and not math.isfinite(value):
        raise Mistake(f"{type(owner).__name__}.{name} must be a finite number, got {value}")


def bytes_in_a_row(owner: Any, name: str) -> None:
    """Raise unless the given array in field `name` is a text: bytes with one axis.

    Raises:
        Mistake: if it is not.
    """
    value = getattr(owner, name).value
    kind, shape = str(getattr(value, "dtype", "uint8")), tuple(getattr(value, "shape", (0,)))
    if kind != "uint8" or len(shape) != 1:
        raise Mistake(
            f"{type(owner).__name__}.{name} must be the bytes of a text, uint8 with one axis, got {kind} of shape "
            f"{shape}; give a text file, not an array of numbers"
        )


_VISIBLE = (
    {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
    | {0x7F: 0x2421}
    | dict.fromkeys(
        [*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000)], 0xFFFD
    )
)
"""Signs in the place of characters that command a terminal, turn the direction of writing, or cannot be encoded."""


def printable(text: str) -> str:
    r"""Text of somebody else, such as a file's name, as it may be shown: its commands to a terminal become signs.

    Examples:
        >>> printable("a\x1b[31mb"), len("a\x1b[31mb") == len(printable("a\x1b[31mb"))
        ('a␛[31mb', True)
    """
    return text.translate(_VISIBLE)


def short(text: str, most: int = 200) -> str:
    """Text of somebody else for a message, cut where it is long."""
    return text if len(text) <= most else f"{text[:most]}..."


def at_most(owner: Any, name: str, most: int, why: str) -> None:
    """Raise if the number in field `name` is above a bound.

    Raises:
        Mistake: if it is; says why there is one.
    """
    value = getattr(owner, name)
    if isinstance(value, int) and value > most:
        raise Mistake(f"{type(owner).__name__}.{name} must be at most {most}, got {value}: {why}")


def counted(name: str, value: int, most: int) -> None:
    """Raise unless a number that is no field lies between 0 and a bound.

    Raises:
        Mistake: if it does not.
    """
    if not 0 <= value <= most:
        raise Mistake(f"{name} must be a whole number from 0 to {most}, got {value}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause that names the known names closest to `name`, or all of them where none is close."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known are: {', '.join(known)}"

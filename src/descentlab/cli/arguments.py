"""The words of a command line as options."""

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

from descentlab._check import printable

__all__ = ["parsed"]

Options = TypeVar("Options")


def parsed(kind: type[Options], arguments: Sequence[str], **how: Any) -> Options:
    """The options that a user gave; help and mistakes end the process, as tyro does.

    tyro repeats what it does not understand, commands to the terminal included. Where there are any its words go
    through `printable`, and are not coloured.

    Args:
        kind: the dataclass of the options.
        arguments: the words.
        how: more for `tyro.cli`.
    """
    if all(printable(word) == word for word in arguments):
        return tyro.cli(kind, args=arguments, **how)
    said, terminal = io.StringIO(), os.environ.get("TERM", "dumb")
    os.environ["TERM"] = "dumb"
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=arguments, **how)
    finally:
        os.environ["TERM"] = terminal
        print(printable(said.getvalue()), end="", file=sys.stderr)

"""Where a command's answer goes: the terminal, and files that are written whole or not at all."""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from descentlab import interrupts
from descentlab.cli.discovery import UsageError

__all__ = ["check_target", "console", "write_answer", "write_file", "write_json"]


def console(least: int = 60) -> Console:
    """Standard output: the terminal's width, at most 120 columns, at least so many, and 100 where there is none."""
    width = shutil.get_terminal_size((100, 24)).columns
    return Console(width=max(least, min(width, 120)), highlight=False)


def check_target(target: Path | None, flag: str = "--json") -> None:
    """Raise before any work where a file to be written has no place.

    Raises:
        UsageError: if it is a folder, or below something that is none.
    """
    if target is None:
        return
    if target.is_dir():
        raise UsageError(f"{flag} wants the name of a file, but {target} is a folder")
    above = next(place for place in (*target.parents, Path()) if place.exists())
    if not above.is_dir():
        raise UsageError(f"{flag} {target} cannot be written: {above} is not a folder")


def write_answer(page: Path | None, html: Callable[[], str], target: Path | None, data: Callable[[], Any]) -> None:
    """Write what was printed once more: as a page, and as JSON where that is wanted too.

    Both are tried, so that a page without room does not take the JSON file with it.

    Args:
        page: where the page goes; `None` writes none.
        html: makes it.
        target: the JSON file; `None` writes none.
        data: makes its content.

    Raises:
        UsageError: if one of them cannot be written; what was printed is complete all the same.
    """
    failed = None
    if page is not None:
        try:
            write_file(page, html(), "the page")
            console().print(f"page: {page}", soft_wrap=True, markup=False)
        except UsageError as error:
            failed = UsageError(f"{error}; what is printed above is complete, and nothing else is lost")
    if target is not None:
        write_json(target, data())
    if failed is not None:
        raise failed


def write_json(target: Path, data: Any) -> None:
    """Write a JSON file, whole or not at all.

    Raises:
        UsageError: if it cannot be written.
    """
    write_file(target, json.dumps(data, indent=1, allow_nan=False) + "\n", "--json")


def write_file(target: Path, text: str, flag: str) -> None:
    """Write a text file, whole or not at all.

    Args:
        target: where.
        text: its content.
        flag: what names the file in the error: its flag, or what it is.

    Raises:
        UsageError: if it cannot be written.
    """
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, target)
        interrupts.say(f"stopped; {target} is written")
    except OSError as error:
        raise UsageError(f"{flag} {target} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)

"""Where a command's answer goes: the terminal, and files that are written whole or not at all."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from descentlab import interrupts
from descentlab._check import printable
from descentlab._files import replacing
from descentlab.cli.discovery import UsageError

if TYPE_CHECKING:
    from descentlab.pages import Report  # plotly is loaded where a page is made

__all__ = ["Screen", "check_target", "console", "write_answer", "write_json", "write_page"]


class Screen(Console):
    """A terminal that shows text as it is: names and texts of users hold no markup, no emoji and no commands for it.

    Args:
        stderr: whether it is standard error.
        width: columns; `None` takes those of the terminal.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None):
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """What is drawn, as pieces of text; those that command the terminal are the library's own."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else piece._replace(text=printable(piece.text))


def console(least: int = 60) -> Console:
    """Standard output: the terminal's width, at most 120 columns, at least so many, and 100 where there is none."""
    width = shutil.get_terminal_size((100, 24)).columns
    return Screen(width=max(least, min(width, 120)))


def check_target(target: Path | None, flag: str = "--json") -> None:
    """Raise before any work where a file to be written has no place.

    Raises:
        UsageError: if it is a folder, or below something that is none.
    """
    if target is None:
        return
    if os.path.isdir(target):
        raise UsageError(f"{flag} wants the name of a file, but {target} is a folder")
    above = next(place for place in (*target.parents, Path()) if os.path.exists(place))
    if not os.path.isdir(above):
        raise UsageError(f"{flag} {target} cannot be written: {above} is not a folder")
    try:
        for part in target.parts[len(above.parts) :]:
            with contextlib.suppress(FileNotFoundError):
                os.lstat(above / part)
    except OSError as error:  # such as a name that is longer than the file system allows
        raise UsageError(f"{flag} {target} cannot be written: {error.strerror or error}") from error


def write_answer(
    page: Path | None, report: "Callable[[], Report]", target: Path | None, data: Callable[[], Any]
) -> None:
    """Write what was printed once more: as a page, and as JSON where that is wanted too.

    Both are tried, so that a page without room does not take the JSON file with it.

    Args:
        page: where the page goes; `None` writes none.
        report: makes what is on it.
        target: the JSON file; `None` writes none.
        data: makes its content.

    Raises:
        UsageError: if one of them cannot be written; what was printed is complete all the same.
    """
    failed = None
    if page is not None:
        try:
            write_page(page, report(), "the page")
            console().print(f"page: {page}", soft_wrap=True)
        except UsageError as error:
            failed = UsageError(f"{error}; what is printed above is complete, and nothing else is lost")
    if target is not None:
        write_json(target, data())
    if failed is not None:
        raise failed


def write_page(target: Path, report: "Report", flag: str) -> None:
    """Write a page, whole or not at all.

    Args:
        target: where.
        report: what is on it.
        flag: what names the file in the error.

    Raises:
        UsageError: if it cannot be written.
    """
    with _writing(target, flag):
        report.write(target)


def write_json(target: Path, data: Any) -> None:
    """Write a JSON file, whole or not at all.

    Raises:
        UsageError: if it cannot be written.
    """
    with _writing(target, "--json"), replacing(target) as file:
        file.write((json.dumps(data, indent=1, allow_nan=False) + "\n").encode())


@contextlib.contextmanager
def _writing(target: Path, flag: str) -> Iterator[None]:
    """Say what became of a file that is written here.

    Raises:
        UsageError: if it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"{flag} {target} cannot be written: {error.strerror or error}") from error
    interrupts.say(f"stopped; {target} is written")

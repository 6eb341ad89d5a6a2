"""What a person sees in the terminal: progress on stderr, tables on stdout."""

import math
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from descentlab._check import printable
from descentlab.claims import Claim, Verdict
from descentlab.cli.output import Screen

__all__ = ["Bar", "claims_table", "number", "summary"]

QUIET_SECONDS = 2.0
"""What takes less time than this shows no progress."""

LINE_SECONDS = 15.0
"""Time between two plain lines where there is no terminal."""

_STYLES = {
    Verdict.HOLDS: "green",
    Verdict.FAILS: "bold red",
    Verdict.UNDECIDED: "yellow",
    Verdict.NOT_APPLICABLE: "dim",
}


class Bar:
    """Progress of a long computation: a bar with the time left, or a line now and then where there is no terminal.

    Args:
        text: what is done.
    """

    def __init__(self, text: str):
        self.text = text
        self._console = Screen(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(compact=True, table_column=Column(min_width=5, no_wrap=True)),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task(text, total=None, note="")
        self._begun = self._said = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._timer = threading.Timer(QUIET_SECONDS, self._bar.start)
        self._timer.daemon = True

    def __enter__(self) -> "Bar":
        if self._console.is_terminal:
            self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()
        if self._console.is_terminal:
            self._timer.join(1.0)
            self._bar.stop()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Tell how far the work is, and what is known of it."""
        done = min(done, total)
        now = time.monotonic()
        if self._first is None:
            self._first = (now, done)
        begun, before = self._first
        pace = (done - before) / max(now - begun, 1e-9)
        note = ", ".join(part for part in (f"{pace:.3g} steps/s" if pace > 0 else "", note) if part)
        self._bar.update(self._task, completed=done, total=total, note=note)
        if self._console.is_terminal or now - self._said < LINE_SECONDS:
            return
        self._said = now
        left = f", about {(total - done) / pace:.0f} s left" if pace > 0 else ""
        said = f", {note}" if note else ""
        line = printable(f"{self.text}: {100 * done / max(total, 1):.0f}%{said}{left}")
        print(line, file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        self._console.print(line, soft_wrap=True)


def number(value: float | None) -> str:
    """A number with three significant digits; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.3g}"


def claims_table(claims: Sequence[Claim]) -> Table:
    """One row a claim; its case and source stand under its text."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    table.add_column("verdict", width=10)
    table.add_column("claim", ratio=1)
    for name in ("measured", "expected", "margin"):
        table.add_column(name, justify="right", width=9, no_wrap=True)
    for claim in claims:
        text = Text(claim.text)
        below = " · ".join(part for part in (claim.case, claim.source) if part)
        text.append(f"\n{below}" if below else "", style="dim")
        if claim.verdict == Verdict.NOT_APPLICABLE and claim.detail:
            text.append(f"\n{claim.detail}", style="dim italic")
        numbers = (claim.measured, claim.expected, claim.worst_margin)
        table.add_row(Text(str(claim.verdict), style=_STYLES[claim.verdict]), text, *map(number, numbers))
    return table


def summary(claims: Sequence[Claim]) -> str:
    """How many claims got which verdict."""
    counts = Counter(claim.verdict for claim in claims)
    words = {Verdict.HOLDS: ("holds", "hold"), Verdict.FAILS: ("fails", "fail")}
    said = [
        f"{count} {words.get(verdict, (str(verdict),) * 2)[count != 1]}"
        for verdict in Verdict
        if (count := counts[verdict])
    ]
    return f"{len(claims)} claim{'s' * (len(claims) != 1)}: {', '.join(said)}" if claims else "no claims"

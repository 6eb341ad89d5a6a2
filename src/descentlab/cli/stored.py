"""Runs of a store as commands name, list and verify them."""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from descentlab import checkpoint
from descentlab.cli import display
from descentlab.cli.discovery import UsageError
from descentlab.cli.output import console
from descentlab.parts import State
from descentlab.store import Entry, Store

__all__ = ["check", "listing", "opened"]


def opened(place: Path, classes: Sequence[Path] = ()) -> Store:
    """The store in a folder that is there, and whose definitions may use classes of these files.

    Raises:
        UsageError: if there is no such folder, or a file is no Python file.
    """
    for file in classes:
        if file.suffix != ".py" or not file.is_file():
            raise UsageError(f"--classes wants a Python file (.py) that is there, got {file}")
    store = Store(place)
    if not store.root.is_dir():
        raise UsageError(f"there is no store at {store.root}; train something first, or name another --store")
    return store


def listing(store: Store, classes: Sequence[Path] = ()) -> Table:
    """What the store holds, also what cannot be used here, with the reason."""
    entries = store.entries()
    title = Text(f"{sum(bool(entry.seeds) for entry in entries)} runs in {store.root}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title)
    table.add_column("run", no_wrap=True)  # it is typed again, so it is never cut
    for name in ("task", "kernel", "trained", "steps", "seeds", "path"):
        table.add_column(name, overflow="fold")
    notes = ["; ".join(filter(None, (*entry.reasons, store.obstacle(entry, classes)))) for entry in entries]
    if any(notes):
        table.add_column("note", overflow="fold")
    for entry, note in zip(entries, notes, strict=True):
        table.add_row(*map(Text, [entry.digest[:12], *_cells(entry)] + ([note] if any(notes) else [])))
    return table


def _cells(entry: Entry) -> tuple[str, ...]:
    """Task, kernel, trained blocks, steps, number of seeds, and whether the path is recorded; foreign data is shown."""
    definition = entry.definition
    model, trained, probes = (definition.get(name) for name in ("model", "trained", "probes"))
    kernel = model.get("attention", model) if isinstance(model, Mapping) else model
    blocks = "all" if trained is None else " ".join(map(str, trained if isinstance(trained, list) else [trained]))
    kinds = [_class(probe) for probe in probes.values()] if isinstance(probes, Mapping) else []
    steps, seeds = str(definition.get("steps", "")), str(len(entry.seeds))
    path = "recorded" if "Parameters" in kinds else ""
    task = _class(definition.get("task") or definition)  # what is no experiment is called by its own class
    return task, _class(kernel).lower(), blocks, steps, seeds, path


def _class(data: Any) -> str:
    """The name of the class of a definition as data."""
    return str(data.get("class", "")).rpartition(":")[2] if isinstance(data, Mapping) else ""


def check(arguments: Sequence[str]) -> int:
    """Verify every file of a store and say what is wrong.

    Args:
        arguments: the flags.

    Returns:
        The exit code: 0 where nothing is damaged, else 1.

    Raises:
        UsageError: if there is no store.
    """
    about = "verify every run of a store: each file against its checksum"
    parser = argparse.ArgumentParser(prog="descentlab check", description=about, allow_abbrev=False)
    parser.add_argument("--store", type=Path, required=True, help="folder of the runs")
    store = opened(parser.parse_args(arguments).store)
    with display.Bar(f"checking {store.root}") as bar:
        found = store.inspect(bar) + checkpoint.unfinished(store)
    screen = console()

    def say(line: str) -> None:
        screen.print(line, soft_wrap=True, markup=False)

    bad = [part for part in found if part.state in (State.DAMAGED, State.UNREADABLE)]
    for part in bad:
        say(f"{part.state.value}: {part.path}: {part.reason}")
    noted = Counter((part.state.value, part.reason) for part in found if part not in bad and part.reason)
    for (state, reason), count in noted.items():
        say(f"{state}: {count} folder{'s' * (count > 1)}: {reason}")
    for reason, count in Counter(filter(None, map(store.obstacle, store.entries()))).items():
        say(f"shown as data: {count} run{'s' * (count > 1)}: {reason}")
    counts = Counter(part.state.value for part in found)
    said = ", ".join(f"{counts[state.value]} {state.value}" for state in State if counts[state.value])
    say(f"{len(found)} folders in {store.root}{f': {said}' if said else ''}")
    if bad:
        say("`descentlab run` sets aside what is damaged of the runs that it needs, and computes them again")
    return 1 if bad else 0

"""`run`, `check` and `report`: three ways to bring a study to its claims and its page."""

import contextlib
import dataclasses
import logging
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import tyro

from descentlab import interrupts
from descentlab._check import printable
from descentlab.caching import use_compilation_cache
from descentlab.cli import discovery, display, flags
from descentlab.cli.output import check_target, console, write_answer
from descentlab.datasets import folder
from descentlab.experiment import Experiment
from descentlab.parts import State
from descentlab.store import Store, StoreError, versions
from descentlab.study import Outcome, Size, Study, conclude, requests, run_study
from descentlab.sweep import Request

__all__ = ["main"]

Wanted = Mapping[str, dict[str, list[Request]]]


@dataclasses.dataclass(frozen=True)
class StudyOptions:
    """Flags of a study's commands.

    Attributes:
        experiment: the study's base experiment.
        size: how much is computed: smoke for tests, quick while a person waits, paper for the record.
        seeds: number of seeds of every experiment; None leaves it to the study.
        store: folder of the runs.
        json: file to which the claims are written.
        text: a text file for the study's windows of text, any encoding.
        data: folder of the data sets; None leaves it to the environment variable DESCENTLAB_DATA.
    """

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    size: Literal["smoke", "quick", "paper"] = "quick"
    seeds: int | None = None
    store: Path = Path("runs")
    json: Path | None = None
    text: Path | None = None
    data: Path | None = None


def main(command: str, place: str | Path, arguments: list[str]) -> int:
    """Carry out `run`, `check` or `report` for one study.

    Args:
        command: which of them.
        place: where the study is, as `discovery.find` says.
        arguments: the flags.

    Returns:
        The exit code.

    Raises:
        UsageError: if the flags ask for what cannot be.
        StoreError: if the store cannot be used, or lacks a run that `check` or `report` needs.
        DataError: if data is missing or damaged.
    """
    use_compilation_cache()
    study = discovery.load(place)
    options, overrides = flags.parse(
        StudyOptions(study.base), arguments, prog=f"descentlab {command} {place}", description=study.title
    )
    study = dataclasses.replace(study, overrides=overrides)
    if options.seeds is not None and options.seeds < 1:
        raise discovery.UsageError(f"--seeds must be at least 1, got {options.seeds}")
    check_target(options.json)
    if options.data is not None:
        folder.use(options.data)
    size, store = Size(options.size), Store(options.store)
    text = None if options.text is None else flags.read_given(options.text)
    wanted = requests(study, size, seeds=options.seeds, text=text)
    again = shlex.join(["descentlab", "run", str(place), *arguments])
    begun = time.monotonic()
    outcome = _run(study, size, wanted, store) if command == "run" else _read(study, size, wanted, store, again)
    provenance = {"command": again, "store": str(store.root), "finished": time.strftime("%Y-%m-%d %H:%M:%S %z")}
    provenance |= {"time of this call": f"{time.monotonic() - begun:.1f} s"}
    from descentlab.pages.study import study_page  # flags and help need no plotly

    page = store.root / "reports" / f"{study.name}-{size}.html"
    screen = console()
    screen.print(display.claims_table(outcome.claims))
    screen.print(display.summary(outcome.claims))
    for finding in outcome.findings:
        screen.print(finding, markup=False, soft_wrap=True)
    for remark in outcome.remarks:
        screen.print(remark, markup=False, soft_wrap=True)
    if command == "check" and page.exists():
        screen.print(f"page: {page}", soft_wrap=True)
    write_answer(
        None if command == "check" else page,
        lambda: study_page(outcome, provenance),
        options.json,
        lambda: outcome.as_data() | {"versions": versions(), "report": str(page) if page.exists() else None},
    )
    return 0


def _run(study: Study, size: Size, wanted: Wanted, store: Store) -> Outcome:
    """Train what is missing, a bar on stderr, then judge."""
    interrupts.say(
        f"stopped; finished runs and checkpoints are in {store.root}, and the same command goes on from them"
    )
    with display.Bar(f"{study.name}, {size} size") as bar, _relayed(bar):
        return run_study(study, size, wanted, store, progress=bar)


@contextlib.contextmanager
def _relayed(bar: display.Bar) -> Iterator[None]:
    """Show what the package logs above the bar."""
    handler, logger = logging.Handler(), logging.getLogger("descentlab")
    handler.emit = lambda record: bar.say(record.getMessage())
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _read(study: Study, size: Size, wanted: Wanted, store: Store, again: str) -> Outcome:
    """Judge what the store holds.

    Raises:
        StoreError: if it lacks a run.
    """
    every = [one.experiment for families in wanted.values() for family in families.values() for one in family]
    parts = store.parts(every)
    for part in parts:
        if not part.usable:
            said = f"{part.state.value}: {part.path} ({part.reason}); `descentlab run` computes it again"
            print(printable(said), file=sys.stderr)
    unverified = sum(part.state == State.UNVERIFIED for part in parts)
    if unverified:
        print(f"unverified: {unverified} folders were stored before there were checksums", file=sys.stderr)
    missing = [
        f"{section}/{name}"
        for section, families in wanted.items()
        for name, family in families.items()
        for one in family
        if set(one.seeds) - store.has(one.experiment)
    ]
    if missing:
        names = ", ".join(dict.fromkeys(missing))
        raise StoreError(
            f"{study.name} in {size} size needs {len(every)} runs, but {len(missing)} of them are not in {store.root} "
            f"(of {names}); run it first: {again}"
        )
    with display.Bar(f"{study.name}, {size} size") as bar:
        return conclude(study, size, wanted, store, bar)

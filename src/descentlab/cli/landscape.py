"""`landscape`: surfaces of the loss around a stored run, or around two of them, and their numbers."""

import dataclasses
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich import box
from rich.table import Table

from descentlab._check import positive
from descentlab.caching import use_compilation_cache
from descentlab.cli import display, stored
from descentlab.cli.arguments import parsed
from descentlab.cli.discovery import UsageError
from descentlab.cli.output import check_target, console, write_answer
from descentlab.estimate import Estimate
from descentlab.experiment import Experiment
from descentlab.store import Store, versions
from descentlab.survey import SAMPLES, Survey, legs, survey

__all__ = ["main"]

Rows = Sequence[tuple[str, str, str, Mapping[int, Estimate]]]
"""Where, what, of which run, and the number of every seed."""

_ABOUT = (
    "Surfaces of the loss around a stored run: random planes through its end, and the plane of its path where its "
    "parameters were recorded on the way. With a second run the same for both on one scale, and the common plane where "
    "they share their start. Without a run: what the store holds."
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `landscape`.

    Attributes:
        runs: one digest of a run or two, or their first digits.
        store: folder of the runs.
        classes: Python files with classes of your own that the run uses.
        seeds: how many of the run's seeds are looked at.
        points: of a grid along each direction.
        planes: random planes of a seed.
        samples: most examples on which the loss is evaluated.
        json: file to which the numbers are written.
    """

    runs: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    store: Path = Path("runs")
    classes: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    seeds: int = 1
    points: int = 31
    planes: int = 1
    samples: int = SAMPLES
    json: Path | None = None


def main(arguments: list[str]) -> int:
    """Compute the surfaces, show their numbers, write the page.

    Args:
        arguments: the flags.

    Returns:
        The exit code.

    Raises:
        UsageError: if the flags ask for what cannot be.
        StoreError: if the store cannot be used or lacks something.
    """
    use_compilation_cache()
    options = parsed(Options, arguments, prog="descentlab landscape", description=_ABOUT)
    for name in ("seeds", "planes", "samples"):
        positive(options, name)
    if options.points < 5:
        raise UsageError(f"--points must be at least 5 for curvature by differences, got {options.points}")
    if len(options.runs) > 2:
        raise UsageError(f"wanted one run or two, got {len(options.runs)}")
    check_target(options.json)
    store = stored.opened(options.store, options.classes)
    known = store.digests()
    if not options.runs:
        console().print(stored.listing(store, known, options.classes))
        return 0
    chosen = {
        digest: store.experiment(digest, options.classes)
        for digest in (stored.resolved(run, known, store, "landscape") for run in options.runs)
    }
    from descentlab.pages.landscape import landscape_page, rows  # flags and help need no plotly

    begun = time.monotonic()
    named = _named(chosen)
    found = _surveyed(store, named, options)
    listed = rows(found)
    provenance = {"command": shlex.join(["descentlab", "landscape", *arguments]), "store": str(store.root)}
    provenance |= {"time of this call": f"{time.monotonic() - begun:.1f} s"} | versions()
    page = store.root / "reports" / f"landscape-{'-'.join(digest[:12] for digest in chosen)}.html"
    console().print(_table(listed))
    for reason in found.left_out:
        console().print(f"left out: {reason}", soft_wrap=True)
    write_answer(
        page, lambda: landscape_page(found, named, provenance), options.json, lambda: _data(found, listed, chosen)
    )
    return 0


def _named(chosen: Mapping[str, Experiment]) -> dict[str, Experiment]:
    """The experiments by what they are called; two of one kernel go by the beginning of their digests too."""
    names = [stored.label(experiment) for experiment in chosen.values()]
    same = len(set(names)) < len(names)
    return {f"{name} {one.digest[:6]}" if same else name: one for name, one in zip(names, chosen.values(), strict=True)}


def _surveyed(store: Store, named: Mapping[str, Experiment], options: Options) -> Survey:
    lanes = {}
    for name, experiment in named.items():
        seeds = sorted(store.has(experiment))[: options.seeds]
        before = None if experiment.origin is None else store.get(experiment.origin, seeds)
        run = (experiment, store.get(experiment, seeds))
        lanes[name] = legs(run, name, before=before, samples=options.samples)
    with display.Bar("landscape") as bar:
        return survey(lanes, points=options.points, draws=options.planes, progress=bar)


def _table(listed: Rows) -> Table:
    """All numbers; the mean over seeds and the largest error of one of them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("plane", "number", "run"):
        table.add_column(name)
    for name in ("value", "error", "seeds"):
        table.add_column(name, justify="right")
    for where, number, name, seeds in listed:
        values = np.asarray([(one.value, one.error) for one in seeds.values()], dtype=np.float64)
        cells = (display.number(values[:, 0].mean()), display.number(values[:, 1].max()), str(len(seeds)))
        table.add_row(where, number.replace("_", " "), name, *cells)
    return table


def _data(found: Survey, listed: Rows, chosen: Mapping[str, Experiment]) -> dict[str, Any]:
    numbers = [
        {"plane": where, "number": number, "run": name, "seed": seed, "value": one.value, "error": one.error}
        for where, number, name, seeds in listed
        for seed, one in seeds.items()
    ]
    return {"runs": list(chosen), "numbers": numbers, "left_out": list(found.left_out), "versions": versions()}

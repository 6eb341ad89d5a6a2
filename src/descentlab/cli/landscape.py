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
from descentlab.measures.landscape import Landscapes, landscapes
from descentlab.runs import SAMPLES, Run, find
from descentlab.store import versions

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
    if not options.runs:
        console().print(stored.listing(store, options.classes))
        return 0
    chosen = {run.experiment.digest: run for run in (find(store, one, files=options.classes) for one in options.runs)}
    from descentlab.pages.landscape import landscape_page, rows  # flags and help need no plotly

    begun = time.monotonic()
    named = _named(list(chosen.values()))
    found = _measured(named, options)
    listed = rows(found)
    provenance = {"command": shlex.join(["descentlab", "landscape", *arguments]), "store": str(store.root)}
    provenance |= {"time of this call": f"{time.monotonic() - begun:.1f} s"} | versions()
    page = store.root / "reports" / f"landscape-{'-'.join(digest[:12] for digest in chosen)}.html"
    console().print(_table(listed))
    for reason in found.left_out:
        console().print(f"left out: {reason}", soft_wrap=True)
    experiments = {name: run.experiment for name, run in named.items()}
    write_answer(
        page,
        lambda: landscape_page(found, experiments, provenance),
        options.json,
        lambda: _data(found, listed, list(chosen)),
    )
    return 0


def _named(chosen: Sequence[Run]) -> dict[str, Run]:
    """The runs by what they are called; two of one kernel go by the beginning of their digests too."""
    names = [stored.label(run.experiment) for run in chosen]
    if len(set(names)) < len(names):
        names = [f"{name} {run.experiment.digest[:6]}" for name, run in zip(names, chosen, strict=True)]
    return dict(zip(names, chosen, strict=True))


def _measured(named: Mapping[str, Run], options: Options) -> Landscapes:
    lanes = {}
    for name, run in named.items():
        seeds = range(min(options.seeds, len(run.trajectory.seeds)))
        lanes[name] = [lane.sampled(options.samples) for lane in run.chosen(np.asarray(seeds)).lanes()]
    with display.Bar("landscape") as bar:
        return landscapes(lanes, points=options.points, draws=options.planes, progress=bar)


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


def _data(found: Landscapes, listed: Rows, digests: Sequence[str]) -> dict[str, Any]:
    numbers = [
        {"plane": where, "number": number, "run": name, "seed": seed, "value": one.value, "error": one.error}
        for where, number, name, seeds in listed
        for seed, one in seeds.items()
    ]
    return {"runs": list(digests), "numbers": numbers, "left_out": list(found.left_out), "versions": versions()}

"""`landscape`: surfaces of the loss around a stored run, or around two of them, and their numbers."""

import dataclasses
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

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
from descentlab.measures.landscape import Landscapes, landscapes
from descentlab.runs import SAMPLES, Run, find
from descentlab.store import versions

__all__ = ["main"]

_ABOUT = (
    "Surfaces of the loss around a stored run: random planes through its end, and the plane of its path where its "
    "parameters were recorded on the way. With a second run the same for both on one scale, and the common plane where "
    "they share their start. Without a run: what the store holds."
)


@dataclasses.dataclass(frozen=True)
class LandscapeOptions:
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
    options = parsed(LandscapeOptions, arguments, prog="descentlab landscape", description=_ABOUT)
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
    begun = time.monotonic()
    named = _named(list(chosen.values()))
    found = _measured(named, options)
    provenance = {"command": shlex.join(["descentlab", "landscape", *arguments]), "store": str(store.root)}
    provenance |= {"time of this call": f"{time.monotonic() - begun:.1f} s"}
    console().print(_table(found))
    for reason in found.left_out:
        console().print(f"left out: {reason}", soft_wrap=True)
    from descentlab.pages.landscape import landscape_page  # flags and help need no plotly

    experiments = {name: run.experiment for name, run in named.items()}
    write_answer(
        store.root / "reports" / f"landscape-{'-'.join(digest[:12] for digest in chosen)}.html",
        lambda: landscape_page(found, experiments, provenance),
        options.json,
        lambda: {"runs": list(chosen)} | found.as_data() | {"versions": versions()},
    )
    return 0


def _named(chosen: Sequence[Run]) -> dict[str, Run]:
    """The runs by what they are called; two of one kernel go by the beginning of their digests too."""
    names = [run.experiment.label for run in chosen]
    if len(set(names)) < len(names):
        names = [f"{name} {run.experiment.digest[:6]}" for name, run in zip(names, chosen, strict=True)]
    return dict(zip(names, chosen, strict=True))


def _measured(named: Mapping[str, Run], options: LandscapeOptions) -> Landscapes:
    lanes = {}
    for name, run in named.items():
        seeds = range(min(options.seeds, len(run.trajectory.seeds)))
        lanes[name] = [lane.sampled(options.samples) for lane in run.chosen(np.asarray(seeds)).lanes()]
    with display.Bar("landscape") as bar:
        return landscapes(lanes, points=options.points, draws=options.planes, progress=bar)


def _table(found: Landscapes) -> Table:
    """All numbers; the mean over seeds and the largest error of one of them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("plane", "number", "run"):
        table.add_column(name)
    for name in ("value", "error", "seeds"):
        table.add_column(name, justify="right")
    for where, number, name, seeds in found.listed():
        values = np.asarray([(one.value, one.error) for one in seeds.values()], dtype=np.float64)
        cells = (display.number(values[:, 0].mean()), display.number(values[:, 1].max()), str(len(seeds)))
        table.add_row(where, number.replace("_", " "), name, *cells)
    return table

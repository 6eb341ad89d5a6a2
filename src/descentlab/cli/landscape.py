"""`landscape`: surfaces of the loss around a stored run, or around two of them, and their numbers."""

import dataclasses
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich import box
from rich.table import Table

from descentlab._check import positive
from descentlab._describe import describe
from descentlab.cli import display, stored
from descentlab.cli.arguments import parsed
from descentlab.cli.commands import use_compilation_cache
from descentlab.cli.discovery import UsageError
from descentlab.cli.output import check_target, console, write_answer
from descentlab.estimate import Estimate
from descentlab.measures.landscape import PROTOCOLS, Landscapes, landscapes
from descentlab.runs import SAMPLES, Run, find
from descentlab.store import versions

__all__ = ["main"]

_ABOUT = (
    "Surfaces of the loss around a stored run: random planes through its end, and the plane of its path where its "
    "parameters were recorded on the way. With a second run the same for both on one scale, and the common plane where "
    "they share their start. Without a run: what the store holds."
)

_PLANE_NUMBERS = ("minima", "mean_laplacian", "largest_laplacian", "negative_share")
_END_NUMBERS = ("sharpness", "barrier")

_TITLES = {
    "random": "Random plane through the end",
    "trajectory": "Plane of the path",
    "common": "Common plane of both runs",
}


_CAPTIONS = {
    "random": "Height and colour are the loss; the end lies at (0, 0), and 1 is a change as large as the weights.",
    "trajectory": "Height and colour are the loss; the line is the path, drawn at the closest points of the plane.",
    "common": "Height and colour are the loss of each run on the same plane; the lines are their paths.",
}


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
    begun = time.monotonic()
    found = _measured(chosen, options)
    provenance = {"command": shlex.join(["descentlab", "landscape", *arguments]), "store": str(store.root)}
    provenance |= {"time of this call": f"{time.monotonic() - begun:.1f} s"} | versions()
    page = store.root / "reports" / f"landscape-{'-'.join(digest[:12] for digest in chosen)}.html"
    console().print(_table(found))
    for reason in found.left_out:
        console().print(f"left out: {reason}", soft_wrap=True)
    write_answer(page, lambda: _page(found, chosen, provenance), options.json, lambda: _data(found, chosen))
    return 0


def _labels(chosen: Mapping[str, Run]) -> dict[str, str]:
    """A name for each run; two of one kernel go by the beginning of their digests too."""
    names = [stored.label(run.experiment) for run in chosen.values()]
    same = len(set(names)) < len(names)
    return {digest: f"{name} {digest[:6]}" if same else name for digest, name in zip(chosen, names, strict=True)}


def _measured(chosen: Mapping[str, Run], options: Options) -> Landscapes:
    lanes = {}
    for digest, name in _labels(chosen).items():
        run = chosen[digest]
        seeds = run.trajectory.seeds[: options.seeds]
        lanes[name] = [lane.sampled(options.samples) for lane in run.chosen(np.arange(len(seeds))).lanes()]
    with display.Bar("landscape") as bar:
        return landscapes(lanes, points=options.points, draws=options.planes, progress=bar)


def _rows(found: Landscapes) -> list[tuple[str, str, str, dict[int, Estimate]]]:
    """Where, what, of which run, and the number of every seed."""
    rows = []
    for name in found.names:
        rows += [("end", number, name, found.by_seed(name, number)) for number in _END_NUMBERS]
        for protocol in PROTOCOLS:
            if found.of(name, protocol):
                rows += [(protocol, one, name, found.by_seed(name, one, protocol)) for one in _PLANE_NUMBERS]
    return rows


def _table(found: Landscapes) -> Table:
    """All numbers; the mean over seeds and the largest error of one of them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("plane", "number", "run"):
        table.add_column(name)
    for name in ("value", "error", "seeds"):
        table.add_column(name, justify="right")
    for where, number, name, seeds in _rows(found):
        values = np.asarray([(one.value, one.error) for one in seeds.values()], dtype=np.float64)
        cells = (display.number(values[:, 0].mean()), display.number(values[:, 1].max()), str(len(seeds)))
        table.add_row(where, number.replace("_", " "), name, *cells)
    return table


def _data(found: Landscapes, chosen: Mapping[str, Run]) -> dict[str, Any]:
    numbers = [
        {"plane": where, "number": number, "run": name, "seed": seed, "value": one.value, "error": one.error}
        for where, number, name, seeds in _rows(found)
        for seed, one in seeds.items()
    ]
    return {"runs": list(chosen), "numbers": numbers, "left_out": list(found.left_out), "versions": versions()}


def _page(found: Landscapes, chosen: Mapping[str, Run], provenance: Mapping[str, str]) -> str:
    """The page with surfaces and contour maps of the first seed."""
    from descentlab.plots.landscape import AXES, contours, sheets, surfaces
    from descentlab.report import Figure, Report, render

    figures = []
    for protocol in PROTOCOLS:
        if shown := sheets(found, protocol):
            title, axes = _TITLES[protocol], AXES[protocol]
            figures.append(Figure(title, _CAPTIONS[protocol], surfaces(title, shown, axes)))
            flat = "Circle: start; star: end; crosses: local minima within the plane."
            figures.append(Figure(f"{title}, from above", flat, contours(title, shown, axes)))
    named = _labels(chosen)
    listed = [
        f"    {where:<11}{number.replace('_', ' '):<18}{name:<18}"
        + "  ".join(f"{one.value:.4g} ± {one.error:.1g}" for one in seeds.values())
        for where, number, name, seeds in _rows(found)
    ]
    report = Report(
        title=f"Loss landscape: {', '.join(named.values())}",
        question="\n".join(["What was measured:", "", *listed, "", "One number a seed with its error."]),
        paper="",
        claims=(),
        figures=figures,
        definitions=[(f"{named[digest]} {digest[:12]}", describe(run.experiment)) for digest, run in chosen.items()],
        provenance=provenance,
    )
    return render(report)

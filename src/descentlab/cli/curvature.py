"""`curvature`: the Hessian of a stored run block by block, its spectra, and its sharpness along training."""

import dataclasses
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich import box
from rich.table import Table

from descentlab._check import positive
from descentlab._tree import is_meant
from descentlab.caching import use_compilation_cache
from descentlab.cli import display, stored
from descentlab.cli.arguments import parsed
from descentlab.cli.discovery import UsageError
from descentlab.cli.output import check_target, console, write_answer
from descentlab.curvature import Eigenpairs, Krylov
from descentlab.measures.curvature import PARTS, Curvature, CurvaturePlan, curvature_of
from descentlab.runs import SAMPLES, find
from descentlab.store import versions

__all__ = ["main"]

_ABOUT = (
    "The Hessian at the end of a stored run: sizes of all its blocks and of its two parts, extreme eigenvalues with "
    "their residuals, spectra of the whole and of each block, and sharpness along training against what "
    "the optimizer bears where the run recorded it or its parameters. Without a run: what the store holds."
)


@dataclasses.dataclass(frozen=True)
class CurvatureOptions:
    """Flags of `curvature`.

    Attributes:
        run: digest of a run, or its first digits.
        store: folder of the runs.
        classes: Python files with classes of your own that the run uses.
        seed: which of the run's seeds; None takes its first.
        blocks: names of the blocks whose spectra are wanted, separated by commas; all matrices without.
        top: largest eigenvalues of the whole and of each block.
        bottom: smallest ones.
        probes: random draws of traces, norms and densities.
        steps: Lanczos steps of a density.
        tolerance: residual of an eigenvalue, relative to it.
        samples: most examples on which the loss is evaluated.
        batch: examples passed through at once; None takes all.
        json: file to which the numbers are written.
    """

    run: Annotated[str | None, tyro.conf.Positional] = None
    store: Path = Path("runs")
    classes: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    seed: int | None = None
    blocks: str = ""
    top: int = 5
    bottom: int = 1
    probes: int = 20
    steps: int = 60
    tolerance: float = 1e-4
    samples: int = SAMPLES
    batch: int | None = None
    json: Path | None = None


def main(arguments: list[str]) -> int:
    """Compute the curvature, show its numbers, write the page.

    Args:
        arguments: the flags.

    Returns:
        The exit code.

    Raises:
        UsageError: if the flags ask for what cannot be.
        StoreError: if the store cannot be used or lacks something.
    """
    use_compilation_cache()
    options = parsed(CurvatureOptions, arguments, prog="descentlab curvature", description=_ABOUT)
    for name in ("top", "steps", "samples", "batch", "tolerance"):
        positive(options, name)
    if options.bottom < 0 or options.probes < 2:
        raise UsageError(f"wanted --bottom 0 or more and --probes 2 or more, got {options.bottom} and {options.probes}")
    check_target(options.json)
    store = stored.opened(options.store, options.classes)
    if options.run is None:
        console().print(stored.listing(store, options.classes))
        return 0
    run = find(store, options.run, files=options.classes)
    seed = run.trajectory.seeds[0] if options.seed is None else options.seed
    begun = time.monotonic()
    with display.Bar("curvature") as bar:
        found = curvature_of(run, seed, _plan(options), samples=options.samples, progress=bar)
    provenance = {"command": shlex.join(["descentlab", "curvature", *arguments]), "store": str(store.root)}
    provenance |= {"time of this call": f"{time.monotonic() - begun:.1f} s"}
    console().print(_table(found))
    from descentlab.pages.curvature import curvature_page  # flags and help need no plotly

    digest = run.experiment.digest
    write_answer(
        store.root / "reports" / f"curvature-{digest[:12]}.html",
        lambda: curvature_page(found, run.experiment, provenance),
        options.json,
        lambda: {"run": digest, "seed": seed} | found.as_data() | {"versions": versions()},
    )
    return 0


def _plan(options: CurvatureOptions) -> CurvaturePlan:
    names = tuple(name.strip() for name in options.blocks.split(",") if name.strip())
    method = Krylov(options.tolerance)
    return CurvaturePlan(names, options.top, options.bottom, options.probes, options.steps, options.batch, method)


def _shown(number: tuple[float, float, bool]) -> str:
    return display.number(number[0]) + ("" if number[2] else " *")


def _table(found: Curvature) -> Table:
    """The extreme eigenvalues of the whole and of each block, with the norms of the parts."""
    said, risk = "not verified", float(found.whole.risk)
    if found.whole.verified:
        said = f"verified, but with probability {risk:g}" if risk else "those of the whole matrix, exact to rounding"
    caption = f"eigenvalues of the whole are {said}; * has not converged and is a bound"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=caption)
    table.add_column("block")
    for name in ("parameters", "trace", "largest", "smallest", "|H|", "|H_o|", "|H_f|"):
        table.add_column(name, justify="right")
    blocks = found.blocks
    norms = [blocks.norm(part) for part in PARTS]
    traces = np.asarray(blocks.traces["hessian"].value)

    def row(name: str, cells: Sequence[float | int], eigenpairs: Eigenpairs | None) -> None:
        each = [] if eigenpairs is None else eigenpairs.listed()
        ends = [_shown(each[0]), _shown(each[-1])] if each else ["", ""]
        numbers = [display.number(float(one)) for one in cells[1:]]
        table.add_row(name, str(int(cells[0])), numbers[0], *ends, *numbers[1:])

    row("all", [sum(blocks.sizes), traces.sum(), *(float(np.linalg.norm(one)) for one in norms)], found.whole)
    for at, (name, size) in enumerate(zip(blocks.names, blocks.sizes, strict=True)):
        row(name, [size, traces[at], *(one[at, at] for one in norms)], found.pairs.get(name))
    for name, pairs in found.pairs.items():
        if name not in blocks.names:
            inside = [at for at, one in enumerate(blocks.names) if is_meant(one, name)]
            sums = [float(np.linalg.norm(one[np.ix_(inside, inside)])) for one in norms]
            row(f"{name}, all layers", [sum(blocks.sizes[at] for at in inside), traces[inside].sum(), *sums], pairs)
    return table

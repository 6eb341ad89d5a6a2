"""`cost`: what a model costs to run, by class of operators and sequence length."""

import dataclasses
import shlex
import time
from pathlib import Path
from typing import Annotated

import tyro
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from descentlab._check import printable
from descentlab.cli.arguments import parsed
from descentlab.cli.output import check_target, console, write_json, write_page
from descentlab.cost import config, presets
from descentlab.cost.amounts import amount, anchors
from descentlab.cost.costed import Cost, LengthCost, cost
from descentlab.cost.setting import Setting

__all__ = ["main"]

WIDTH = 96
"""Columns of the widest table."""

_ABOUT = (
    "What does this model cost to run, on what is it bound, and what would it take? MODEL is a preset "
    f"({', '.join([*presets.TRANSFORMERS, *presets.PUBLISHED, *presets.CONVOLUTIONAL])}), a Hugging Face config.json "
    "or the folder of one, or the experiment.json of a store. Multiplications and additions count one each; a byte is "
    "counted where an operand is read once or a result is written once. Times are those of a roofline; on gemmini also "
    "those of the modelled accelerator."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostOptions:
    """Flags of `cost`.

    Attributes:
        model: a preset, or a file that describes a model.
        read_as: a known model type, as which a file of another one is read.
        uncounted: count a file that asks for what its reader does not read, and name that.
        setting: how the model is run.
        json: file to which the counts are written.
        page: HTML file with roofline, shares, intensity and mappings.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    read_as: str | None = None
    uncounted: bool = False
    setting: Annotated[Setting, tyro.conf.arg(name="")] = Setting()
    json: Path | None = None
    page: Path | None = None


def main(arguments: list[str]) -> int:
    """Count, show and write.

    Args:
        arguments: the flags.

    Returns:
        The exit code.

    Raises:
        UsageError: if flags or files ask for what cannot be.
    """
    options = parsed(CostOptions, arguments, prog="descentlab cost", description=_ABOUT)
    check_target(options.json, "--json")
    check_target(options.page, "--page")
    found = _cost(options)
    console(WIDTH).print(_shown(found))
    if options.json is not None:
        write_json(options.json, found.as_data())
    if options.page is not None:
        from descentlab.pages.cost import cost_page

        command = shlex.join(["descentlab", "cost", *arguments])
        provenance = {"command": command, "finished": time.strftime("%Y-%m-%d %H:%M:%S %z")}
        write_page(options.page, cost_page(found, provenance), "--page")
        print(f"page: {printable(str(options.page))}")
    return 0


def _cost(options: CostOptions) -> Cost:
    """The counts that the flags ask for.

    Raises:
        Mistake: if there is no such model, kernel, machine or precision, or a size is refused.
    """
    if options.model in presets.CONVOLUTIONAL:
        return cost(options.model, options.setting)
    model = config.read(options.model, read_as=options.read_as, uncounted=options.uncounted)
    found = cost(model, options.setting)
    return dataclasses.replace(found, title=found.title.replace(model.family, options.model, 1))


def _shown(found: Cost) -> Group:
    """One table a length, under lines about machine and model."""
    computing = found.precision.computing
    ridge = found.machine.ridge(computing)
    machine = (
        f"{found.machine.name} ({found.machine.source}): {amount(found.machine.peak(computing))}op/s in "
        f"{computing}, {amount(found.machine.bandwidth)}B/s; compute-bound from {ridge:.3g} operations a byte on"
    )
    lines = [Text(found.title, style="bold"), Text(machine, style="dim")]
    if not found.precision.uniform:
        lines.append(Text(f"precision: {found.precision.words}"))
    if found.anchors is not None:
        lines.append(Text(anchors(found.anchors)))
    lines += [Text(f"not counted: {words}", style="yellow") for words in found.uncounted]
    shown = [part for at in found.at for part in (_table(found, at), *_notes(at))]
    return Group(*lines, *shown)


def _notes(at: LengthCost) -> list[Text]:
    """What stands under a table: the counts of other tools, the cache, what a step of training holds."""
    words = f"matrix products {amount(at.products)}FLOPs"
    words += f" and {amount(at.head_products)}FLOPs of the head" if at.head_products else ""
    lines = [words + (f"; key-value cache at the end {amount(at.cache_bytes)}B" if at.cache_bytes else "")]
    if at.memory is not None and at.rule is not None:
        held = ", ".join(f"{name} {amount(value)}B" for name, value in dataclasses.asdict(at.memory).items())
        lines.append(f"memory: {held}, together {amount(at.memory.total)}B")
        ratio = (at.products + at.head_products) / at.rule
        lines.append(f"rule of thumb 6 N D: {amount(at.rule)}FLOPs; products are {ratio:.3g} times as many")
    if at.utilisation is not None:
        used = at.utilisation
        lines.append(
            f"utilisation: {used.model:.1%} by the model's products, {used.hardware:.1%} with what is computed again, "
            f"{used.rule:.1%} by 6 N D"
        )
    return [Text(line, style="dim") for line in lines]


def _table(found: Cost, at: LengthCost) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=f"{found.axis} {at.length}", title_justify="left")
    table.add_column("operators", max_width=36)
    names = ["FLOPs", "%", "bytes", "%", "a byte", "bound", "roofline"]
    names += ["model", "%", "energy"] if found.accelerator is not None else []
    names += ["measured"] if at.measured is not None else []
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    whole = at.rows[-1]
    for row in at.rows:
        cells = [amount(row.flops), _share(row.flops, whole.flops), amount(row.bytes), _share(row.bytes, whole.bytes)]
        cells += [f"{row.intensity:.4g}", row.bound, f"{amount(row.least_seconds)}s"]
        if row.model_seconds is not None and whole.model_seconds is not None:
            cells += [f"{amount(row.model_seconds)}s", _share(row.model_seconds, whole.model_seconds)]
            cells += [f"{amount(row.joule or 0.0)}J"]
        if at.measured is not None:
            cells.append(f"{amount(_measured(at, row.group))}s")
        table.add_row(row.group, *cells, style="bold" if row is whole else "")
    return table


def _measured(at: LengthCost, group: str) -> float:
    names = [one.name for one in at.operators if group in ("total", one.group)]
    return sum((at.measured or {})[name] for name in dict.fromkeys(names))


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}"

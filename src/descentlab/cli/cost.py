"""`cost`: what a model costs to run, by class of operators and sequence length."""

import dataclasses
import re
import shlex
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from descentlab._check import printable, short
from descentlab.cli.arguments import parsed
from descentlab.cli.discovery import UsageError
from descentlab.cli.output import check_target, console, write_file, write_json
from descentlab.cost import config, presets, roofline
from descentlab.cost.accelerator import Accelerator
from descentlab.cost.operators import Operator
from descentlab.cost.roofline import Machine
from descentlab.cost.summary import Row, breakdown
from descentlab.cost.transformer import Transformer, encoder, generation

__all__ = ["main"]

WIDTH = 96
"""Columns of the widest table."""

_ABOUT = (
    "What does this model cost to run, on what is it bound, and what would it take? MODEL is a preset (bert-base, "
    "bert-large, gpt2, gpt2-medium, resnet50), a Hugging Face config.json or the folder of one, or the experiment.json "
    "of a store. Multiplications and additions count one each; a byte is counted where an operand is read once or a "
    "result is written once. Times are those of a roofline; on gemmini also those of the modelled accelerator."
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `cost`.

    Attributes:
        model: a preset, or a file that describes a Transformer.
        seq: sequence lengths, separated by commas.
        kernel: softmax, gaussian, normalized-gaussian, linear or relu, in the place of the model's own.
        hardware: gemmini, v100, a100, h100, h200, or here to measure this machine.
        precision: of all entries.
        batch: sequences, or images, at once.
        phase: one pass over the sequence, or generating it token by token; auto generates if the model is causal.
        prompt: tokens that are cached before generation starts.
        accelerator: sizes of the modelled accelerator, for gemmini.
        json: file to which the counts are written.
        page: HTML file with roofline, shares, intensity and mappings.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    seq: str = "128,512,4096"
    kernel: str | None = None
    hardware: str = "gemmini"
    precision: Literal["int8", "float16", "float32"] = "int8"
    batch: int = 1
    phase: Literal["auto", "pass", "generate"] = "auto"
    prompt: int = 0
    accelerator: Accelerator = Accelerator()
    json: Path | None = None
    page: Path | None = None


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a model costs at each length.

    Attributes:
        title: model and circumstances in words.
        axis: what a length is.
        machine: the roofline.
        precision: of all entries.
        accelerator: the modelled one, if there is one.
        lengths: sequence lengths.
        operators: of each length.
        rows: of each length.
        measured: by length, seconds of every operator on this machine, if it was measured.
    """

    title: str
    axis: str
    machine: Machine
    precision: str
    accelerator: Accelerator | None
    lengths: tuple[int, ...]
    operators: tuple[list[Operator], ...]
    rows: tuple[list[Row], ...]
    measured: tuple[dict[str, float], ...]

    def as_data(self) -> dict[str, Any]:
        """JSON-compatible data."""
        found = []
        for at, (length, rows) in enumerate(zip(self.lengths, self.rows, strict=True)):
            measured = {"measured_seconds": self.measured[at]} if self.measured else {}
            found.append({"length": length, "groups": [row.as_data() for row in rows]} | measured)
        model = None if self.accelerator is None else dataclasses.asdict(self.accelerator)
        machine = dataclasses.asdict(self.machine)
        return {
            "title": self.title,
            "axis": self.axis,
            "precision": self.precision,
            "machine": machine,
            "accelerator": model,
            "lengths": found,
        }


def main(arguments: list[str]) -> int:
    """Count, show and write.

    Args:
        arguments: the flags.

    Returns:
        The exit code.

    Raises:
        UsageError: if flags or files ask for what cannot be.
    """
    options = parsed(Options, arguments, prog="descentlab cost", description=_ABOUT)
    check_target(options.json, "--json")
    check_target(options.page, "--page")
    found = cost(options)
    console(WIDTH).print(_shown(found))
    if options.json is not None:
        write_json(options.json, found.as_data())
    if options.page is not None:
        from descentlab.cli import cost_page

        command = shlex.join(["descentlab", "cost", *arguments])
        provenance = {"command": command, "finished": time.strftime("%Y-%m-%d %H:%M:%S %z")}
        write_file(options.page, cost_page.page(found, provenance), "--page")
        print(f"page: {printable(str(options.page))}")
    return 0


def cost(options: Options) -> Cost:
    """The counts that the flags ask for.

    Raises:
        UsageError: if a length is not a whole number above 0.
        ValueError: if there is no such model, kernel, machine or precision, or a size is refused.
    """
    lengths = _lengths(options.seq)
    axis = "length"
    if options.model in presets.CONVOLUTIONAL:
        axis, lengths = "image side", (presets.IMAGE,)
    title, operators = _operators(options, lengths)
    model = options.accelerator if options.hardware == "gemmini" else None
    machine = _machine(options)
    rows = tuple(breakdown(found, machine, options.precision, model) for found in operators)
    measured: tuple[dict[str, float], ...] = ()
    if options.hardware == "here":
        from descentlab.cost.measure import operator_seconds

        measured = tuple(operator_seconds(found, options.precision) for found in operators)
    return Cost(title, axis, machine, options.precision, model, lengths, operators, rows, measured)


def _lengths(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(re.fullmatch("[0-9]{1,9}", word) and int(word) for word in words):
        said = "--seq wants whole numbers from 1 to 999999999, separated by commas"
        raise UsageError(f"{said}, got {short(text)!r}")
    return tuple(dict.fromkeys(map(int, words)))


def _machine(options: Options) -> Machine:
    if options.hardware != "here":
        return roofline.machine(options.hardware)
    from descentlab.cost.measure import here

    return here(options.precision)


def _operators(options: Options, lengths: tuple[int, ...]) -> tuple[str, tuple[list[Operator], ...]]:
    """What is computed, in words, and its operators at every length.

    Raises:
        UsageError: if a convolutional network gets a flag of Transformers.
    """
    if options.model in presets.CONVOLUTIONAL:
        if options.kernel is not None or options.phase != "auto":
            raise UsageError(f"{options.model} has no attention; leave out --kernel and --phase")
        found = presets.CONVOLUTIONAL[options.model](options.batch)
        return f"{options.model}, batch {options.batch}", (found,) * len(lengths)
    model = config.read(options.model)
    if options.kernel is not None:
        model = dataclasses.replace(model, kernel=config.kernel(options.kernel))
    generates = model.causal if options.phase == "auto" else options.phase == "generate"
    if options.prompt and not generates:
        raise UsageError("--prompt is for generation; add --phase generate")
    words = f"{options.model}, {model.kernel.name} attention, batch {options.batch}, "
    words += "generating token by token" if generates else "one pass"
    return words, tuple(_costed(model, length, options, generates) for length in lengths)


def _costed(model: Transformer, length: int, options: Options, generates: bool) -> list[Operator]:
    if generates:
        return generation(model, length, prompt=options.prompt, batch=options.batch)
    return encoder(model, length, batch=options.batch)


def _shown(found: Cost) -> Group:
    """One table a length, under a line about the machine."""
    ridge = found.machine.ridge(found.precision)
    machine = (
        f"{found.machine.name} ({found.machine.source}): {_amount(found.machine.peak(found.precision))}op/s in "
        f"{found.precision}, {_amount(found.machine.bandwidth)}B/s; compute-bound from {ridge:.3g} operations a byte on"
    )
    tables = [_table(found, at) for at in range(len(found.lengths))]
    return Group(Text(found.title, style="bold"), Text(machine, style="dim"), *tables)


def _table(found: Cost, at: int) -> Table:
    length, rows = found.lengths[at], found.rows[at]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=f"{found.axis} {length}", title_justify="left")
    table.add_column("operators", no_wrap=True)
    names = ["FLOPs", "%", "bytes", "%", "a byte", "bound", "roofline"]
    names += ["model", "%", "energy"] if found.accelerator is not None else []
    names += ["measured"] if found.measured else []
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    whole = rows[-1]
    for row in rows:
        cells = [_amount(row.flops), _share(row.flops, whole.flops), _amount(row.bytes), _share(row.bytes, whole.bytes)]
        cells += [f"{row.intensity:.4g}", row.bound, f"{_amount(row.least_seconds)}s"]
        if row.model_seconds is not None and whole.model_seconds is not None:
            cells += [f"{_amount(row.model_seconds)}s", _share(row.model_seconds, whole.model_seconds)]
            cells += [f"{_amount(row.joule or 0.0)}J"]
        if found.measured:
            cells.append(f"{_amount(_measured(found, at, row.group))}s")
        table.add_row(row.group, *cells, style="bold" if row is whole else "")
    return table


def _measured(found: Cost, at: int, group: str) -> float:
    names = [one.name for one in found.operators[at] if group in ("total", one.group)]
    return sum(found.measured[at][name] for name in dict.fromkeys(names))


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}"


_PREFIXES = {1e12: "T", 1e9: "G", 1e6: "M", 1e3: "k", 1.0: "", 1e-3: "m", 1e-6: "u", 1e-9: "n"}


def _amount(value: float) -> str:
    """A number with three digits and a prefix of thousands."""
    for factor, prefix in _PREFIXES.items():
        if value >= factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.2g} "

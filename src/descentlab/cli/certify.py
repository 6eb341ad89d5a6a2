"""`certify`: will gradient descent train this? for a user's own arrays, text or sizes, without a study."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from descentlab._check import positive
from descentlab._definition import Definition
from descentlab.caching import use_compilation_cache
from descentlab.cli import display, flags
from descentlab.cli.discovery import UsageError
from descentlab.cli.output import check_target, console, write_json
from descentlab.data import FullBatch
from descentlab.experiment import Experiment, check
from descentlab.models import AbstractArchitecture, AttentionLayer
from descentlab.own_arrays import BLOCKS, experiment_on, read_arrays
from descentlab.tasks import AbstractTask, TextWindows, TokenRegression
from descentlab.theory.certificate import rounded_up

__all__ = ["main"]

_ABOUT = (
    "Will gradient descent train this? Which certificates apply to the given arrays, text or sizes, which assumption "
    "fails and by what factor, the admissible step, the predicted number of steps, and what to change."
)


class Instance(Definition):
    """The part of an experiment that certificates speak of.

    Args:
        task: where examples and targets come from.
        model: the architecture.
        trained: names of the blocks that are trained; the others stay as they start.
    """

    task: AbstractTask = TokenRegression()
    model: AbstractArchitecture = AttentionLayer()
    trained: tuple[str, ...] = BLOCKS


@dataclasses.dataclass(frozen=True)
class CertifyOptions:
    """Flags of `certify`.

    Attributes:
        experiment: what is certified.
        arrays: .npz file with `inputs` (N, n, D), `targets` (N, n) or (N, n, d_o), and where wanted the blocks
            `query key value output`.
        text: a text file, any encoding.
        samples: number of samples N; None takes all of the arrays, else 4.
        seed: of the draw of weights and data.
        tolerance: loss, relative to the start, at which the predicted number of steps ends.
        steps: of a run by line search whose end state is classified; 0 makes none.
        json: file to which the answer is written.
    """

    experiment: Annotated[Instance, tyro.conf.arg(name="")]
    arrays: Path | None = None
    text: Path | None = None
    samples: int | None = None
    seed: int = 0
    tolerance: float = 1e-10
    steps: int = 0
    json: Path | None = None


def main(arguments: list[str]) -> int:
    """Answer for one experiment.

    Args:
        arguments: the flags.

    Returns:
        The exit code.

    Raises:
        UsageError: if flags or files ask for what cannot be.
    """
    use_compilation_cache()
    instance, samples = _start(arguments)
    options, _ = flags.parse(CertifyOptions(instance), arguments, prog="descentlab certify", description=_ABOUT)
    check_target(options.json)
    if not 0 < options.tolerance < 1:
        raise UsageError(f"--tolerance must lie between 0 and 1, got {options.tolerance}")
    for name in ("seed", "steps"):
        if getattr(options, name) < 0:
            raise UsageError(f"--{name} must be at least 0, got {getattr(options, name)}")
    if options.samples is not None:
        positive(options, "samples")
    chosen = options.experiment
    experiment = Experiment(
        task=chosen.task,
        model=chosen.model,
        trained=chosen.trained,
        data=FullBatch(options.samples or samples),
    )
    check(experiment)
    from descentlab.measures.certification import certify

    answer = certify(experiment, seed=options.seed, tolerance=options.tolerance, steps=options.steps)
    console().print(_shown(answer))
    if options.json is not None:
        write_json(options.json, answer.as_data())
    return 0


def _start(arguments: list[str]) -> tuple[Instance, int]:
    """What flags are derived from: the task and model that the given file asks for, and the number of samples."""
    arrays, text = (_file(arguments, name) for name in ("--arrays", "--text"))
    if arrays and text:
        raise UsageError("wanted one source of data, got both --arrays and --text; leave one out")
    if text:
        return Instance(task=TextWindows(flags.read_given(text))), FullBatch().samples
    if arrays:
        given = read_arrays(Path(arrays))
        found = experiment_on(given)
        return Instance(task=found.task, model=found.model), given["inputs"].shape[0]
    return Instance(), FullBatch().samples


def _file(arguments: list[str], flag: str) -> str | None:
    """The value of a flag that decides what the other flags are."""
    for word, following in zip(arguments, [*arguments, None][1:], strict=True):
        name, equals, value = word.partition("=")
        if name == flag:
            return value if equals else following
    return None


def _shown(answer: Any) -> Group:
    """The conclusion, the certificates, and what to change."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    table.add_column("certificate", ratio=2)
    table.add_column("applies", width=7)
    table.add_column("what stands in the way", ratio=3)
    for name in ("factor", "step", "steps"):
        table.add_column(name, justify="right", width=11, no_wrap=True)
    for row in answer.rows:
        certificate = Text(row.name)
        certificate.append(f"\n{row.source}", style="dim")
        reason = Text(row.obstacle)
        reason.append(f"{chr(10) if row.obstacle else ''}{row.detail}", style="dim")
        applies = Text("yes", style="green") if row.applies else Text("no", style="yellow")
        factor = row.factor if row.factor is None or row.applies else rounded_up(row.factor, 3)
        table.add_row(certificate, applies, reason, display.number(factor), _exact(row.step), _exact(row.steps))
    advice = [Text("What to change:", style="bold"), *(Text(f"- {line}") for line in answer.advice)]
    ending = [Text(answer.ending)] if answer.ending else []
    return Group(Text(answer.sentence, style="bold"), *ending, table, *(advice if answer.advice else ()))


def _exact(value: float | None) -> str:
    """A number of at most six digits, which are all shown: a step was rounded down to them, steps up."""
    return "–" if value is None else f"{value:.6g}"

"""What all sections start from: the theory's layer with each kernel at its own initial scale."""

from collections.abc import Sequence

from descentlab._describe import replace_at, value_at
from descentlab.experiment import Experiment
from descentlab.runs import Run, Runs
from descentlab.trajectory import Trajectory


def with_scale(experiment: Experiment, scale: float) -> Experiment:
    """The experiment with another initial scale of query and key."""
    return replace_at(replace_at(experiment, "model.query.scale", scale), "model.key.scale", scale)


def name(experiment: Experiment) -> str:
    """The kernel's name in claims and figures."""
    return type(value_at(experiment, "model.attention")).__name__.lower()


def kernels(runs: Runs) -> list[str]:
    """The kernels of a section's runs, in order."""
    return list(dict.fromkeys(name(run.experiment) for family in runs.values() for run in family))


def of_kernel(runs: Runs, kernel: str, *families: str) -> list[Run]:
    """The runs of one kernel in the given families, or in all."""
    return [run for family in families or runs for run in runs[family] if name(run.experiment) == kernel]


def trajectories(runs: list[Run]) -> list[Trajectory]:
    """Their trajectories."""
    return [run.trajectory for run in runs]


def seed_count(runs: Sequence[Run]) -> int:
    """How many seeds there are of every one of some runs."""
    return min((len(run.trajectory.seeds) for run in runs), default=0)


def shape(run: Run) -> tuple[int, int]:
    """Heads and token width."""
    return value_at(run.experiment, "model.heads"), value_at(run.experiment, "task.dim")


def targets(run: Run) -> int:
    """Nn, the number of tokens with a target."""
    return value_at(run.experiment, "data.samples") * value_at(run.experiment, "task.tokens")

"""What all sections start from: the theory's layer with each kernel at its own initial scale."""

from collections.abc import Sequence

from descentlab._describe import replace_at, value_at
from descentlab.attention import AbstractAttention, Gaussian, Softmax
from descentlab.data import FullBatch
from descentlab.experiment import Experiment
from descentlab.models import AttentionLayer, Normal
from descentlab.optim import GramGD
from descentlab.probes import FeatureSpectrum, Loss, ModalSpectrum
from descentlab.runs import Run, Runs
from descentlab.schedule import At
from descentlab.tasks import TokenRegression
from descentlab.trajectory import Trajectory

BASE = Experiment(
    task=TokenRegression(tokens=5, dim=20),
    data=FullBatch(4),
    model=AttentionLayer(attention=Softmax(), heads=2, head_dim=8, value=Normal(0.0)),
    optimizer=GramGD(1.0),
    trained=("value",),
    probes={"loss": Loss(), "features": FeatureSpectrum(At((0,))), "modes": ModalSpectrum()},
    steps=1000,
)
"""Four samples of five unit tokens, hence Nn = 20 targets; value block trained from zero."""

SCALES = {Softmax: 2.0, Gaussian: 0.5}
"""Standard deviation of query and key entries at which each kernel's features are well conditioned for unit tokens."""


def with_kernel(attention: AbstractAttention) -> Experiment:
    """The base experiment with a kernel at its own scale (1 for a kernel that has none here)."""
    scale = SCALES.get(type(attention), 1.0)
    experiment = replace_at(BASE, "model.attention", attention)
    return with_scale(experiment, scale)


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

"""An experiment: everything that determines a run but its seed."""

from typing import Literal

import equinox as eqx
import jax

from descentlab._check import not_negative
from descentlab._describe import digest
from descentlab._tree import split
from descentlab._types import PRNGKeyArray, PyTree
from descentlab.data import FullBatch
from descentlab.models import AbstractArchitecture, AttentionLayer
from descentlab.objective import Objective
from descentlab.optim import GD, AbstractOptimizer
from descentlab.probes import AbstractProbe, GradientNorm, Loss
from descentlab.tasks import AbstractTask, TokenRegression

__all__ = ["Experiment", "check", "start"]


class Experiment(eqx.Module):
    """The definition of a run.

    Args:
        task: where examples and targets come from.
        data: how many examples, and which at a step.
        model: the architecture.
        optimizer: the rule that moves the trained blocks.
        trained: names of the blocks that are trained; the others stay as they start.
        probes: what is recorded, by name.
        steps: number of updates.
        precision: of all arithmetic.

    Raises:
        ValueError: if `steps` is below 0, `precision` unknown, or there is no probe.
    """

    task: AbstractTask = TokenRegression()
    data: FullBatch = FullBatch()
    model: AbstractArchitecture = AttentionLayer()
    optimizer: AbstractOptimizer = GD()
    trained: tuple[str, ...] = eqx.field(default=("query", "key", "value", "output"), converter=tuple)
    probes: dict[str, AbstractProbe] = eqx.field(default_factory=lambda: {"loss": Loss(), "gradient": GradientNorm()})
    steps: int = 1000
    precision: Literal["float32", "float64"] = "float64"

    def __check_init__(self):
        not_negative(self, "steps")
        if self.precision not in ("float32", "float64"):
            raise ValueError(f"Experiment.precision must be float32 or float64, got {self.precision!r}")
        if not self.probes:
            raise ValueError("Experiment.probes must name at least one probe, got none; add Loss()")

    @property
    def digest(self) -> str:
        """Identity of the definition, 32 hexadecimal digits."""
        return digest(self)


def start(experiment: Experiment, *, key: PRNGKeyArray) -> tuple[Objective, PyTree]:
    """The objective and the trained blocks at step 0.

    Args:
        experiment: the definition.
        key: decides data, initial weights and targets.

    Raises:
        ValueError: if shapes do not fit, or a block to train does not exist.
    """
    data_key, model_key = jax.random.split(key)
    inputs = experiment.task.inputs(experiment.data.samples, key=data_key)
    model = experiment.model.init(inputs[0], key=model_key)
    targets = experiment.task.targets(inputs, model, key=data_key)
    outputs = eqx.filter_eval_shape(jax.vmap(model), inputs)
    if outputs.shape != targets.shape:
        raise ValueError(
            f"targets must have the shape of the model's outputs {outputs.shape}, got {targets.shape}; "
            "change the model's output_dim or readout, or the task's target"
        )
    trained, frozen = split(model, experiment.trained)
    return Objective(frozen, inputs, targets), trained


def check(experiment: Experiment) -> None:
    """Raise what is wrong with an experiment before anything is compiled, by tracing its start.

    Raises:
        ValueError: if shapes do not fit, or a block to train does not exist.
    """
    with jax.enable_x64(experiment.precision == "float64"):
        eqx.filter_eval_shape(lambda: start(experiment, key=jax.random.key(0)))

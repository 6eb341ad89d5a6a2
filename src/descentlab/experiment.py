"""An experiment: everything that determines a run but its seed."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Optional

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._check import not_negative
from descentlab._definition import Definition
from descentlab._describe import digest
from descentlab._tree import block_names, named, split, with_named
from descentlab._types import Array, PRNGKeyArray, PyTree
from descentlab.data import AbstractData, FullBatch
from descentlab.models import AbstractArchitecture, AttentionLayer, LinearNetwork, Transformer
from descentlab.objective import Examples, Objective, Splits
from descentlab.optim import GD, AbstractOptimizer
from descentlab.probes import AbstractProbe, GradientNorm, Loss
from descentlab.tasks import AbstractTask, Classification, TokenRegression

__all__ = ["Experiment", "check", "start", "stored"]


def _names(names: Iterable[str] | None) -> Any:
    """Names as a tuple; one name alone stays what it is and is refused, since its letters are no names."""
    return names if names is None or isinstance(names, str) else tuple(names)


class Experiment(Definition):
    """The definition of a run.

    Args:
        task: where examples and targets come from.
        data: how many examples, and which at a step.
        model: the architecture.
        optimizer: the rule that moves the trained blocks.
        trained: names of the blocks that are trained, the others stay as they start; `None` trains all.
        probes: what is recorded, by name.
        steps: number of updates.
        precision: of all arithmetic.
        origin: the experiment whose end, under the same seed, is this one's start; its models must agree in their
            blocks, while kernel, task, optimizer and trained blocks may be others.

    Raises:
        ValueError: if a field holds something of another class, `steps` is below 0, or there is no probe.
    """

    task: AbstractTask | Classification = TokenRegression()
    data: AbstractData = FullBatch()
    model: AbstractArchitecture = AttentionLayer()
    optimizer: AbstractOptimizer = GD()
    trained: tuple[str, ...] | None = eqx.field(default=("query", "key", "value", "output"), converter=_names)
    probes: dict[str, AbstractProbe] = eqx.field(default_factory=lambda: {"loss": Loss(), "gradient": GradientNorm()})
    steps: int = 1000
    precision: Literal["float32", "float64"] = "float64"
    origin: Optional["Experiment"] = None

    def __check_init__(self):
        not_negative(self, "steps")
        if not self.probes:
            raise ValueError("Experiment.probes must name at least one probe, got none; add Loss()")

    @property
    def digest(self) -> str:
        """Identity of the definition, 32 hexadecimal digits."""
        return digest(self)


def stored(experiment: Experiment) -> Splits | None:
    """The data set of an experiment as NumPy arrays, or `None` where its task makes its examples.

    Raises:
        DataError: if files are missing or damaged.
    """
    return experiment.task.load() if isinstance(experiment.task, Classification) else None


def start(
    experiment: Experiment,
    *,
    key: PRNGKeyArray,
    stored: Splits | None = None,
    end: Mapping[str, Array] | None = None,
) -> tuple[Objective, PyTree]:
    """The objective and the trained blocks at step 0.

    Args:
        experiment: the definition.
        key: decides data, initial weights and targets.
        stored: its data set, where it has one.
        end: the blocks at the end of its origin, where it has one; without them its blocks at the start stand in.

    Raises:
        ValueError: if shapes do not fit, or a block to train does not exist.
    """
    data_key, model_key = jax.random.split(key)
    count = experiment.data.drawn(stored)
    if isinstance(experiment.task, Classification):
        examples = _some(stored, count, key=data_key)
        model = experiment.model.init(examples.inputs[0], key=model_key)
    else:
        inputs = experiment.task.inputs(count, key=data_key)
        model = experiment.model.init(inputs[0], key=model_key)
        examples = Examples(inputs, experiment.task.targets(inputs, model, key=data_key))
    outputs = eqx.filter_eval_shape(jax.vmap(model), examples.inputs)
    experiment.task.loss_function.check(outputs.shape, examples.targets.shape)
    _covers(experiment.model, experiment.task, outputs.shape[-1])
    if experiment.origin is not None:
        before = experiment.origin.model.init(examples.inputs[0], key=model_key)
        model = with_named(model, named(before) if end is None else end)
    trained, frozen = split(model, block_names(model) if experiment.trained is None else experiment.trained)
    return Objective(frozen, *examples, experiment.task.loss_function), trained


def _some(stored: Splits | None, count: int, *, key: PRNGKeyArray) -> Examples:
    """Training examples at distinct random places.

    Raises:
        ValueError: if there are not so many.
    """
    if stored is None:
        raise ValueError("a task on a data set starts from its examples, got none; pass stored(experiment)")
    rows = stored.train.inputs.shape[0]
    if count > rows:
        raise ValueError(f"the data set has {rows} training examples, {count} were asked for; ask for fewer")
    chosen = jax.random.choice(key, rows, (count,), replace=False)
    return Examples(jnp.asarray(stored.train.inputs)[chosen], jnp.asarray(stored.train.targets)[chosen])


def _covers(model: AbstractArchitecture, task: AbstractTask | Classification, outputs: int) -> None:
    """Raise where a task has tokens or classes that the model has no place for; compiled programs would clamp them.

    Raises:
        ValueError: if it has.
    """
    tokens, classes = task.vocabulary, task.classes
    if isinstance(model, LinearNetwork | Transformer) and tokens is not None and model.vocabulary < tokens:
        name = type(model).__name__
        raise ValueError(f"{name}.vocabulary must be at least {tokens} for this task, got {model.vocabulary}")
    if classes is not None and outputs < classes:
        raise ValueError(f"this task has {classes} classes, the read-out {outputs}; choose Classify({classes})")


def check(experiment: Experiment) -> None:
    """Raise what is wrong with an experiment before anything is compiled, by tracing its start.

    Raises:
        ValueError: if shapes do not fit, or a block to train does not exist.
        DataError: if files of its data set are missing or damaged.
    """
    if experiment.origin is not None:
        check(experiment.origin)
    examples = stored(experiment)
    with jax.enable_x64(experiment.precision == "float64"):
        eqx.filter_eval_shape(lambda held: start(experiment, key=jax.random.key(0), stored=held), examples)

"""An experiment: everything that determines a run but its seed."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Optional

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._arithmetic import arithmetic
from descentlab._check import at_most, not_negative
from descentlab._definition import LATER, Definition, DefinitionError, final
from descentlab._describe import digest, paths, replace_at, value_at
from descentlab._memory import TooLarge, in_words, largest_product, machine, nbytes
from descentlab._tree import array_names, named, select, with_named
from descentlab._types import Array, PRNGKeyArray, PyTree
from descentlab.cost.model import Model
from descentlab.data import AbstractData, FullBatch
from descentlab.mistake import Mistake
from descentlab.models import AbstractArchitecture, AttentionLayer
from descentlab.objective import Examples, Objective, Splits
from descentlab.optim import GD, AbstractOptimizer
from descentlab.probes import AbstractProbe, GradientNorm, Loss
from descentlab.stopping import AbstractStop
from descentlab.tasks import AbstractTask, TokenRegression

__all__ = ["Experiment", "Lane", "begin", "check", "start", "stored"]

HELD_OUT = 2**32 - 1
"""Folded into the key of the data where held-out examples are drawn; tasks fold in small numbers."""

MOST_STEPS = 2**31 - 2
"""The largest number of steps; one more is the bound of the last segment."""


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
        trained: what is trained, everything else stays as it starts: names of parameters (`layers.0.query`), prefixes
            (`layers.0`), blocks (`query`, in all layers) or patterns (`layers.*.query_bias`); `None` trains all.
        probes: what is recorded, by name.
        steps: number of updates.
        precision: of all arithmetic.
        origin: the experiment whose end, under the same seed, is this one's start; its models must agree in their
            blocks, while kernel, task, optimizer and trained blocks may be others.
        held_out: examples that are drawn when a lane starts and that training never sees, for probes; of a data set
            they are some of its development part, and all of it where this is 0.
        until: ends a lane where it holds; `None` makes all steps.

    Raises:
        Mistake: if a field holds something of another class, `steps` is below 0 or above 2^31 - 2, or there is no
            probe.
    """

    task: AbstractTask = TokenRegression()
    data: AbstractData = FullBatch()
    model: AbstractArchitecture = AttentionLayer()
    optimizer: AbstractOptimizer = GD()
    trained: tuple[str, ...] | None = eqx.field(default=None, converter=_names)
    probes: dict[str, AbstractProbe] = eqx.field(default_factory=lambda: {"loss": Loss(), "gradient": GradientNorm()})
    steps: int = 1000
    precision: Literal["float32", "float64"] = "float64"
    origin: Optional["Experiment"] = None
    held_out: int = eqx.field(default=0, metadata=LATER)
    until: AbstractStop | None = eqx.field(default=None, metadata=LATER)

    def __check_init__(self):
        not_negative(self, "steps")
        not_negative(self, "held_out")
        at_most(self, "steps", MOST_STEPS, "steps are counted in 32 bits")
        for name in self.probes:
            if not isinstance(name, str):
                raise DefinitionError(f"Experiment.probes must be named by texts, got {name!r}; write {str(name)!r}")
        if self.trained is not None and len(set(self.trained)) < len(self.trained):
            raise DefinitionError(f"Experiment.trained must name each block once, got {', '.join(self.trained)}")
        if not self.probes:
            raise Mistake("Experiment.probes must name at least one probe, got none; add Loss()")

    @property
    def digest(self) -> str:
        """Identity of the definition, 32 hexadecimal digits."""
        return digest(self)

    @property
    def label(self) -> str:
        """What a run of it is called: its kernel where it has one, else its model."""
        part = value_at(self.model, "attention") if hasattr(self.model, "attention") else self.model
        return type(part).__name__.lower()

    def changed(self, changes: Mapping[str, Any]) -> "Experiment":
        """The experiment with other values in some fields.

        Args:
            changes: values by dotted path, one after the other, such as `{"model.heads": 2, "steps": 100}`.

        Raises:
            Mistake: if a path names no field, or a value is refused.
        """
        experiment = self
        for path, value in changes.items():
            experiment = replace_at(experiment, path, value)
        return experiment

    def cost_model(self) -> Model:
        """What a pass of its model computes, for `descentlab cost`.

        Raises:
            Mistake: if that of the architecture or its kernel is not known, or its width is not.
        """
        return self.model.cost_model(self.task.width)


def stored(experiment: Experiment) -> Splits | None:
    """The data set of an experiment as NumPy arrays, or `None` where its task makes its examples.

    Raises:
        DataError: if files are missing or damaged.
    """
    return experiment.task.load()


class Lane(eqx.Module):
    """What stays the same along the run of a lane.

    Attributes:
        objective: on the examples that belong to the lane.
        start: the trained blocks at step 0.
        key: of batches and dropout.
        world: what all examples of the lane have in common; `None` where they are read from a data set.
        held_out: examples that training never sees; `None` where none were drawn.
    """

    objective: Objective
    start: PyTree
    key: PRNGKeyArray
    world: PyTree = None
    held_out: Examples | None = None

    def source(self, stored: Splits | None) -> PyTree:
        """What further examples are drawn from: the training part of a data set, or the lane's world."""
        return self.world if stored is None else stored.train


def begin(
    experiment: Experiment,
    *,
    key: PRNGKeyArray,
    stored: Splits | None = None,
    end: Mapping[str, Array] | None = None,
) -> Lane:
    """A lane before its first step.

    Args:
        experiment: the definition.
        key: decides data, initial weights and targets.
        stored: its data set, where it has one.
        end: the blocks at the end of its origin, where it has one; without them its blocks at the start stand in.

    Raises:
        Mistake: if shapes do not fit, there are too few examples, or a block to train does not exist.
    """
    data_key, model_key = jax.random.split(key)
    stored = jax.tree.map(jnp.asarray, stored)
    example = experiment.task.example() if stored is None else _blank(stored.train.inputs)
    model = experiment.model.init(example, key=model_key)
    world = experiment.task.world(model, key=data_key) if stored is None else None
    examples, held_out = _drawn(experiment, world, stored, key=data_key)
    outputs = eqx.filter_eval_shape(jax.vmap(model), examples.inputs)
    weights = None if examples.weights is None else examples.weights.shape
    experiment.task.loss_function.check(outputs.shape, examples.targets.shape, weights)
    _covers(experiment, outputs.shape[-1])
    if experiment.origin is not None:
        before = experiment.origin.model.init(example, key=model_key)
        model = with_named(model, named(before) if end is None else end)
    trained, frozen = select(model, experiment.trained)
    objective = Objective(frozen, experiment.data.kept(examples), experiment.task.loss_function)
    return Lane(objective, trained, key, world, held_out)


def _blank(inputs: PyTree) -> PyTree:
    """One input of the shape that all have, of zeros."""
    return jax.tree.map(lambda array: jnp.zeros(array.shape[1:], array.dtype), inputs)


def _drawn(
    experiment: Experiment, world: PyTree, stored: Splits | None, *, key: PRNGKeyArray
) -> tuple[Examples, Examples | None]:
    """The examples that a lane trains on, and those that it holds out.

    Both come from keys of their own. Where there are so many examples and no more, they are drawn together and cut, so
    that none is in both; those of training are the same then, whatever is held out.
    """
    task, wanted, held_key = experiment.task, experiment.held_out, jax.random.fold_in(key, HELD_OUT)
    source = world if stored is None else stored.train
    count = experiment.data.drawn(task, source)
    if wanted and stored is None and task.distinct is not None:
        both = task.sample(count + wanted, source, key=key)
        return both.at(slice(count)), both.at(slice(count, None))
    examples = task.sample(count, source, key=key)
    if not wanted:
        return examples, None
    return examples, task.sample(wanted, world if stored is None else stored.development, key=held_key)


def start(
    experiment: Experiment,
    *,
    key: PRNGKeyArray,
    stored: Splits | None = None,
    end: Mapping[str, Array] | None = None,
) -> tuple[Objective, PyTree]:
    """The objective and the trained blocks at step 0; see `begin`."""
    lane = begin(experiment, key=key, stored=stored, end=end)
    return lane.objective, lane.start


def _covers(experiment: Experiment, outputs: int) -> None:
    """Raise where a task has tokens or classes that the model has no place for; compiled programs would clamp them.

    Raises:
        Mistake: if it has.
    """
    tokens, classes = experiment.task.vocabulary, experiment.task.classes
    if tokens is not None:
        experiment.model.check_vocabulary(tokens)
    if classes is not None and outputs < classes:
        raise Mistake(
            f"this task has {classes} classes, the model {outputs} outputs; choose a read-out of {classes} "
            f"(Classify({classes}), or output_dim={classes} in an AttentionLayer)"
        )


def check(experiment: Experiment) -> None:
    """Raise what is wrong with an experiment before anything is compiled, by tracing its start.

    Raises:
        Mistake: if shapes do not fit, or a block to train does not exist.
        DataError: if files of its data set are missing or damaged.
        TooLarge: if one lane does not fit into memory.
    """
    if experiment.origin is not None:
        check(experiment.origin)
    _readable(experiment.model, experiment.task)
    examples = stored(experiment)
    with arithmetic(experiment.precision):
        _apart(experiment.model, experiment.task.example() if examples is None else _blank(examples.train.inputs))
    needed, there = least_bytes(experiment, examples), machine()
    if needed > there:
        raise TooLarge(
            f"one lane of this experiment needs {in_words(needed)} or more for data, parameters and records, this "
            f"machine has {in_words(there)}; {_way_out(experiment, examples, there)}"
        )


def _apart(model: AbstractArchitecture, example: PyTree) -> None:
    """Raise where a trained model keeps a float of its definition among its arrays: traced, it would be a parameter.

    Raises:
        DefinitionError: if it does; says what to do.
    """
    floats, rest = eqx.partition(model, lambda leaf: isinstance(leaf, float))

    def names(floats: PyTree) -> list[str]:
        found: list[str] = []
        jax.eval_shape(
            lambda: found.extend(array_names(eqx.combine(floats, rest).init(example, key=jax.random.key(0))))
        )
        return found

    plain, traced = names(floats), names(jax.tree.map(jnp.asarray, floats))
    if others := [name for name in traced if name not in plain]:
        raise DefinitionError(
            f"the model of {type(model).__name__} keeps {others[0]!r}, a number of its definition, in a field of its "
            "own, where it would be trained; keep the definition in the model and read the number there"
        )


def least_bytes(experiment: Experiment, stored: Splits | None) -> int:
    """Bytes that one lane takes at the least, found from shapes alone.

    They are those of its examples, of its parameters with their gradient, of the largest product of matrices in a
    forward pass, and of one number a record.

    Raises:
        Mistake: if shapes do not fit, or a block to train does not exist.
    """

    def forward(held: Splits | None) -> PyTree:
        lane = begin(experiment, key=jax.random.key(0), stored=held)
        source, still = lane.source(held), jnp.zeros((), jnp.int32)
        batch = experiment.data.at(lane.objective, experiment.task, source, still, key=lane.key)
        return eqx.filter((lane, lane.start), eqx.is_array), batch.loss(lane.start)

    with arithmetic(experiment.precision):
        program = jax.make_jaxpr(forward)(stored).jaxpr
    kept = nbytes([out.aval for out in program.outvars])
    return kept + largest_product(program) + record_bytes(experiment)


def record_bytes(experiment: Experiment) -> int:
    """Bytes of the records of one lane, were each a single number."""
    size = 8 if experiment.precision == "float64" else 4
    return size * sum(probe.when.most(experiment.steps) for probe in experiment.probes.values())


def _way_out(experiment: Experiment, stored: Splits | None, there: int) -> str:
    """The largest value that fits in place of the largest whole number that can be lowered so far, in words."""
    sizes = {path: value_at(experiment, path) for path in paths(experiment)}
    wholes = {path: value for path, value in sizes.items() if isinstance(value, int) and not isinstance(value, bool)}
    for path in sorted(wholes, key=lambda path: -wholes[path])[:6]:
        found = _largest(wholes[path], functools.partial(_fits, experiment, stored, there, path))
        if found:
            return f"the largest {path} that fits is {found}, everything else as it is"
    return "choose smaller sizes"


def _fits(experiment: Experiment, stored: Splits | None, there: int, path: str, value: int) -> bool:
    try:
        return least_bytes(replace_at(experiment, path, value), stored) <= there
    except ValueError:  # such as a width that the heads do not divide
        return False


def _largest(value: int, fits: Callable[[int], bool]) -> int:
    """The largest multiple of 16 below a value that fits, or 0; with the multiples, heads divide widths."""
    low, high = 0, value // 16 + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(16 * middle) else (low, middle)
    return 16 * low


def _readable(model: AbstractArchitecture, task: AbstractTask) -> None:
    """Raise where a task gives token numbers to a model that reads vectors only.

    Raises:
        DefinitionError: if it does; says which models read numbers.
    """
    if task.vocabulary is not None and not model.embeds:
        others = [kind.__name__ for kind in final(AbstractArchitecture) if kind.embeds]
        raise DefinitionError(
            f"{type(task).__name__} gives token numbers, and {type(model).__name__} reads vectors only; choose "
            f"{' or '.join(others)} as Experiment.model"
        )

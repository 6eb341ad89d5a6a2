"""The runs: two tasks, their optimizers, and a grid of rates and initial scales for each kernel."""

import dataclasses
import itertools
from collections.abc import Sequence

from descentlab.data import Minibatch
from descentlab.datasets import IMDb, Pathfinder
from descentlab.experiment import Experiment
from descentlab.models import Classify, Transformer
from descentlab.optim import AbstractOptimizer, Adam, Momentum, OneCycle, Scheduled
from descentlab.probes import HeldOut, LayerAttention, Loss
from descentlab.runs import case_of
from descentlab.schedule import At, Every, LogSpaced
from descentlab.study import Size
from descentlab.sweep import Request
from descentlab.tasks import Classification

BASE = Experiment(
    task=Classification(IMDb(length=256)),
    data=Minibatch(32),
    model=Transformer(head_dim=32, vocabulary=257, readout=Classify(2)),
    optimizer=Scheduled(Adam(1e-3), OneCycle(1500, 80)),
    trained=None,
    probes={"loss": Loss(Every(10))},
    steps=1500,
    precision="float32",
)
"""Reviews of 256 bytes, two layers of width 64, two heads of width 32."""

COMMITTED = {("text", "softmax"): (1e-3, 1.0), ("text", "gaussian"): (1e-3, 1.0)}
"""Rate of Adam and initial scale of query and key in the quick size, by task and kernel, chosen on development data."""

RATES = {"adam": (2e-4, 5e-4, 1e-3, 2e-3), "sgd": (0.03, 0.1, 0.3, 1.0)}
SCALES = (0.5, 1.0)


@dataclasses.dataclass(frozen=True)
class TaskPlan:
    """How much of a task is run.

    Attributes:
        task: the data.
        batch: examples of a step.
        steps: of a run.
        optimizers: names, see `optimizer`.
        seeds: their number.
        held: development examples at each look, and test examples after the last step; `None` takes all.
        looks: steps between two looks at development data.
        chunk: queries whose attention is computed at once.
    """

    task: Classification
    batch: int
    steps: int
    optimizers: tuple[str, ...]
    seeds: int
    held: tuple[int | None, int | None]
    looks: int
    chunk: int | None = None


PLANS = {
    (Size.QUICK, "text"): TaskPlan(Classification(IMDb(length=256)), 32, 1500, ("adam",), 3, (1000, 4000), 250),
    (Size.PAPER, "text"): TaskPlan(
        Classification(IMDb(length=4096)), 32, 20_000, ("sgd", "adam", "adamw"), 5, (None, None), 500, 128
    ),
    (Size.SMOKE, "pathfinder"): TaskPlan(
        Classification(Pathfinder(path_length=6, train=32, development=16, test=16)), 4, 4, ("adam",), 2, (8, 8), 2, 128
    ),
    (Size.PAPER, "pathfinder"): TaskPlan(
        Classification(Pathfinder(train=160_000)), 128, 50_000, ("adam", "sgd", "adamw"), 5, (None, None), 500, 128
    ),
}
"""The tasks of each size; text needs its data, and Pathfinder hours, so neither stands in every size."""


def optimizer(kind: str, rate: float, steps: int) -> AbstractOptimizer:
    """SGD with momentum, Adam, or AdamW with the constants of the anchor, warmed up and brought down to zero."""
    rule = {
        "sgd": Momentum(rate, 0.9),
        "adam": Adam(rate),
        "adamw": Adam(rate, eps=1e-6, weight_decay=1e-2),
    }[kind]
    return Scheduled(rule, OneCycle(steps, min(80, steps // 2)))


def requests(task: str, bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """The runs of a task by optimizer; none where the task is not part of the size."""
    plan = PLANS.get((size, task))
    if plan is None:
        return {}
    return {
        kind: [
            Request(_adapted(base, plan, kind, setting), tuple(range(plan.seeds)))
            for base in bases
            for setting in _settings(size, task, kind, case_of(base))
        ]
        for kind in plan.optimizers
    }


def _settings(size: Size, task: str, kind: str, kernel: str) -> list[tuple[float, float]]:
    """Rates and initial scales to try."""
    if size == Size.PAPER:
        return list(itertools.product(RATES["sgd" if kind == "sgd" else "adam"], SCALES))
    return [COMMITTED.get((task, kernel), (1e-3, 1.0))]


def _adapted(base: Experiment, plan: TaskPlan, kind: str, setting: tuple[float, float]) -> Experiment:
    """The base experiment on a plan."""
    rate, scale = setting
    last = At((plan.steps,))
    return base.changed(
        {
            "task": plan.task,
            "data": Minibatch(plan.batch),
            "optimizer": optimizer(kind, rate, plan.steps),
            "model.chunk": plan.chunk,
            "model.query.scale": scale,
            "model.key.scale": scale,
            "steps": plan.steps,
            "probes": {
                "loss": Loss(Every(10)),
                "development": HeldOut(Every(plan.looks), "held_out", plan.held[0]),
                "test": HeldOut(last, "test", plan.held[1]),
                "attention": LayerAttention(LogSpaced(4)),
            },
        }
    )

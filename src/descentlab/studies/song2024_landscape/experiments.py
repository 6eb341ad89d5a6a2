"""The runs: one stage that is shared, and a second one with each kernel, on three tasks."""

import dataclasses
from collections.abc import Sequence

from descentlab._describe import value_at
from descentlab.attention import Gaussian, Softmax
from descentlab.curvature import Krylov
from descentlab.data import FullBatch, Minibatch
from descentlab.datasets import DataError, IMDb, Pathfinder
from descentlab.experiment import Experiment
from descentlab.models import AttentionLayer, Transformer
from descentlab.optim import Adam, Armijo, Momentum
from descentlab.probes import Loss, Parameters
from descentlab.schedule import Every
from descentlab.study import Size
from descentlab.sweep import Request, grid
from descentlab.tasks import Classification, TokenRegression

BASE = Experiment(
    task=TokenRegression(tokens=5, dim=20),
    data=FullBatch(4),
    model=AttentionLayer(heads=2, head_dim=8),
    optimizer=Armijo(),
    probes={"loss": Loss()},
    steps=200,
)
"""Four samples of five unit tokens, two heads of width 8, gradient descent by line search."""

QUERY = ("query",)

MODES = {"all": "all weights trained in stage two", "query": "only the query block trained in stage two"}

FIRST = "stage one"
"""The family of the runs that are shared."""

RECORDS = 25
"""Points of a path that are kept."""


@dataclasses.dataclass(frozen=True)
class LandscapePlan:
    """How much of a task is run, and how its planes are sampled.

    Attributes:
        steps: of stage one and of stage two.
        seeds: their number.
        modes: which weights move in stage two.
        points: of a grid along each direction.
        draws: random planes of a lane.
        samples: examples on which the loss is evaluated.
        sharpness: how hard the largest eigenvalue of a Hessian is looked for.
    """

    steps: tuple[int, int]
    seeds: int
    modes: tuple[str, ...]
    points: int
    draws: int
    samples: int = 512
    sharpness: Krylov = Krylov()


PLANS = {
    (Size.SMOKE, "layer"): LandscapePlan((20, 60), 2, ("query",), 9, 1),
    (Size.QUICK, "layer"): LandscapePlan((50, 500), 8, ("all", "query"), 31, 3),
    (Size.PAPER, "layer"): LandscapePlan((50, 2000), 20, ("all", "query"), 51, 10),
    (Size.QUICK, "layer, Gaussian first"): LandscapePlan((50, 500), 8, ("all", "query"), 31, 3),
    (Size.PAPER, "layer, Gaussian first"): LandscapePlan((50, 2000), 20, ("all", "query"), 51, 10),
    (Size.QUICK, "text"): LandscapePlan((300, 200), 3, ("all",), 11, 1, 32, Krylov(1e-2, 60)),
    (Size.PAPER, "text"): LandscapePlan((5000, 5000), 5, ("all", "query"), 51, 5, 512),
    (Size.SMOKE, "pathfinder"): LandscapePlan((4, 4), 2, ("query",), 5, 1, 2, Krylov(0.1, 12, verify=False)),
    (Size.PAPER, "pathfinder"): LandscapePlan((5000, 5000), 5, ("all", "query"), 51, 5, 512),
}
"""The tasks of each size; Pathfinder has 1024 tokens an example, and a plane of it takes minutes."""


def classifier(task: str, size: Size) -> Experiment:
    """The encoder of Song et al. on a task: SGD with momentum on text, Adam on Pathfinder.

    In the quick size text has Adam too: SGD leaves the loss at chance, ln 2, for the 500 steps that it has there.
    """
    smoke, quick = size == Size.SMOKE, size == Size.QUICK
    if task == "text":
        dataset, batch = IMDb(length=128 if quick else 1024), 16 if quick else 32
        optimizer = Adam(1e-3) if quick else Momentum(0.1, 0.9)
    else:
        count = {"path_length": 6, "train": 32, "development": 16, "test": 16} if smoke else {}
        dataset, batch, optimizer = Pathfinder(**count), 4 if smoke else 128, Adam(1e-3)
    model = (
        Transformer(width=16, depth=1, hidden=32) if smoke else Transformer(head_dim=32, chunk=None if quick else 128)
    )
    base = Experiment(Classification(dataset), Minibatch(batch), model, optimizer, probes={"loss": Loss(Every(10))})
    return dataclasses.replace(base, trained=None, precision="float32")


def missing(task: str, size: Size) -> str:
    """Why the data of a task cannot be had; empty where it can."""
    if task != "text" or (size, task) not in PLANS:
        return ""
    try:
        IMDb(length=8).load()
    except DataError as error:
        return str(error)
    return ""


def requests(task: str, bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Stage one, then stage two by the weights that move; nothing where the task is not part of the size."""
    plan = PLANS.get((size, task))
    if plan is None or missing(task, size):
        return {}
    seeds = tuple(range(plan.seeds))
    first = Gaussian() if task.endswith("Gaussian first") else Softmax()
    layer = task.startswith("layer")
    shared = bases[0] if layer else classifier(task, size)
    origin = shared.changed({"model.attention": first, "steps": plan.steps[0]})
    probes = {"loss": Loss(), "path": Parameters(Every(max(1, plan.steps[1] // RECORDS)))}
    second = shared.changed({"steps": plan.steps[1], "probes": probes, "origin": origin})
    families = {FIRST: [Request(origin, seeds)]}
    for mode in plan.modes:
        moving = second.changed({"trained": QUERY if mode == "query" else shared.trained})
        kernels = grid(moving, {"model.attention": [value_at(base, "model.attention") for base in bases]})
        families[mode] = [Request(one, seeds) for one in kernels]
    return families

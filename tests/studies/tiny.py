"""A small study for the tests of the command line: does the loss fall?

It knows two kernels and one claim each.
"""

import plotly.graph_objects as go

from descentlab import Experiment, FullBatch
from descentlab._describe import replace_at
from descentlab.attention import Gaussian, Softmax
from descentlab.claims import About, Claim, below
from descentlab.models import AttentionLayer
from descentlab.optim import GD
from descentlab.runs import Run, Runs
from descentlab.study import Section, Size, Study
from descentlab.sweep import Request
from descentlab.tasks import TokenRegression

BASE = Experiment(
    task=TokenRegression(tokens=3, dim=4),
    data=FullBatch(2),
    model=AttentionLayer(heads=2),
    optimizer=GD(lr=0.05),
    steps=20,
)
SEEDS = {Size.SMOKE: 1, Size.QUICK: 2, Size.PAPER: 3}


def wanted(bases: list[Experiment], size: Size) -> dict[str, list[Request]]:
    return {"fall": [Request(base, tuple(range(SEEDS[size]))) for base in bases]}


def claims(runs: Runs) -> list[Claim]:
    return [falls(run) for run in runs["fall"]]


def falls(run: Run) -> Claim:
    kernel = type(run.experiment.model.attention).__name__
    loss = run.trajectory["loss"].values
    about = About(f"falls-{kernel.lower()}", "The last loss is below [the first].", "a test", kernel)
    return below(about, loss[:, -1], loss[:, 0], where=run.trajectory.finished)


def losses(runs: Runs) -> go.Figure:
    """Loss against step.

    One line a kernel.
    """
    return go.Figure([go.Scatter(y=run.trajectory["loss"].values[0]) for run in runs["fall"]])


study = Study(
    name="tiny",
    title="Does the loss fall?",
    question=__doc__,
    paper="none",
    base=BASE,
    axis=("model.attention", [replace_at(BASE, "model.attention", kernel) for kernel in (Softmax(), Gaussian())]),
    sections=[Section("fall", wanted, claims, [losses])],
)

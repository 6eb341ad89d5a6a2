"""How fast does gradient descent train the value block of one attention layer, and what does half a step cost?

N samples of n tokens of width D meet H heads; with HD >= Nn the value block alone can reach every target. We train it
with the step 1 / lambda_max(K) and with half of that, under two kernels.
"""

import numpy as np

from descentlab import Experiment, FullBatch, Request, Section, Size, Study, at_least, claim, grid
from descentlab.attention import Gaussian, Softmax
from descentlab.models import AttentionLayer, Normal
from descentlab.optim import GramGD
from descentlab.plots import ChartAxis, add_band, lines
from descentlab.probes import Loss, ModalSpectrum, StepSize
from descentlab.tasks import TokenRegression
from descentlab.theory import theorem_a
from descentlab.theory.modes import recorded_modes, steps_to

BASE = Experiment(
    task=TokenRegression(tokens=3, dim=8),
    data=FullBatch(2),
    model=AttentionLayer(heads=4, head_dim=4, value=Normal(0.0)),
    optimizer=GramGD(1.0),
    trained=("value",),
    probes={"loss": Loss(), "step_size": StepSize(), "modes": ModalSpectrum()},
    steps=300,
)


def requests(bases, size):
    """Both steps under every kernel; the size decides how many seeds."""
    seeds = tuple(range(2 if size == Size.SMOKE else 10))
    half = [Request(one, seeds) for base in bases for one in grid(base, {"optimizer.fraction": [0.5]})]
    return {"full": [Request(base, seeds) for base in bases], "half": half}


def needed(runs):
    """Steps to a millionth of the first loss, one number a lane."""
    lanes = [(run, one) for run in runs for one in recorded_modes(run.trajectory)]
    sizes = [run.experiment.optimizer.fraction / one.eigenvalues.max() for run, one in lanes]
    steps = [steps_to(one, size, 1e-6) for (_, one), size in zip(lanes, sizes, strict=True)]
    return np.asarray(steps)


@claim("rate-{case}", "The loss stays below the bound", source="Theorem A, 2")
def rate(about, runs):
    return theorem_a.rate(about, runs.every.trajectories)


@claim("half", "Half the step needs twice the steps, less one", source="(1 - x/2)^2 >= 1 - x")
def half(about, runs):
    return at_least(about, needed(runs["half"]), 2 * needed(runs["full"]) - 1)


def losses(runs):
    """Loss against step.

    Median over seeds at the step 1 / lambda_max(K), and a band from the 10 % to the 90 % quantile.
    """
    figure = lines("Value block alone", ChartAxis("step", "log"), ChartAxis("loss f", "log"))
    for run in runs["full"]:
        loss = run.trajectory["loss"]
        add_band(figure, loss.steps, loss.values, type(run.experiment.model.attention).__name__)
    return figure


study = Study(
    name="own_study",
    title="How fast gradient descent trains the value block",
    question=__doc__,
    paper="none",
    base=BASE,
    axis=("model.attention", grid(BASE, {"model.attention": [Softmax(), Gaussian()]})),
    sections=[Section("value block", requests, [rate, half], [losses])],
)

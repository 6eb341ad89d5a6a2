"""What all sections start from: the theory's layer with each kernel at its own initial scale."""

import numpy as np

from descentlab.attention import Gaussian, Softmax
from descentlab.data import FullBatch
from descentlab.experiment import Experiment
from descentlab.models import AttentionLayer, Normal
from descentlab.optim import GramGD
from descentlab.probes import FeatureSpectrum, Loss, ModalSpectrum
from descentlab.runs import Family
from descentlab.schedule import At
from descentlab.tasks import TokenRegression
from descentlab.theory.modes import least_squares_floor, recorded_modes

REACHED = 1e-10
"""Relative loss at which a run of all blocks has arrived."""

SHAPE = ("model.heads", "task.dim")
"""The fields with the number of heads H and the token width D."""

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


def with_scale(experiment: Experiment, scale: float) -> Experiment:
    """The experiment with another initial scale of query and key."""
    return experiment.changed({"model.query.scale": scale, "model.key.scale": scale})


def with_shape(experiment: Experiment, heads: int, dim: int) -> Experiment:
    """The experiment with so many heads and tokens of such width."""
    return experiment.changed(dict(zip(SHAPE, (heads, dim), strict=True)))


KERNELS = (with_scale(BASE, 2.0), with_scale(BASE.changed({"model.attention": Gaussian()}), 0.5))
"""Softmax and the Gaussian kernel, each at the scale at which its features are well conditioned for unit tokens."""


def lowest(runs: Family) -> np.ndarray:
    """The lowest loss of each lane over its first."""
    losses = [run.trajectory["loss"].values for run in runs]
    return np.concatenate([np.nanmin(values / values[:, :1], axis=1) for values in losses])


def floors(runs: Family) -> np.ndarray:
    """The least-squares floor of each lane over its first loss."""
    found = [least_squares_floor(one) for run in runs for one in recorded_modes(run.trajectory)]
    return np.asarray(found) / runs.first("loss")

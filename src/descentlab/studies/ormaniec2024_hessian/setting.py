"""What all sections start from: one layer at its start on the addition task."""

from typing import Any

import numpy as np

from descentlab.attention import AbstractAttention, Softmax
from descentlab.data import FullBatch
from descentlab.experiment import Experiment
from descentlab.models import EachToken, NoNorm, Normal, Rectifier, Transformer
from descentlab.probes import Loss
from descentlab.schedule import At
from descentlab.tasks import Addition

WIDTH = 128
"""At which the growth of the norms is published."""


def matrices(width: int) -> Normal:
    """The start of all matrices, with standard deviation 0.8 / sqrt(width); that of the down projection too."""
    return Normal(0.8 / float(np.sqrt(width)))


def sized(width: int) -> dict[str, Any]:
    """What depends on the width, by dotted path."""
    start = matrices(width)
    starts = {f"model.{name}": start for name in ("query", "key", "others", "readout.start")}
    return {"model.width": width, "model.hidden": 4 * width, **starts}


_TASK = Addition()

BASE = Experiment(
    task=_TASK,
    data=FullBatch(64),
    model=Transformer(
        attention=Softmax(),
        depth=1,
        heads=1,
        causal=True,
        norm=NoNorm(),
        activation=Rectifier(),
        vocabulary=_TASK.vocabulary,
        readout=EachToken(_TASK.classes, places=_TASK.answered),
        embedding=Normal(1.0),
    ),
    trained=("query", "value"),
    probes={"loss": Loss(At((0,)))},
    steps=0,
).changed(sized(WIDTH))
"""One head, one layer of attention and a feed-forward branch, no normalisation, cross-entropy, a batch of 64.

Nothing moves: all is measured at the start.
"""


def with_kernel(attention: AbstractAttention) -> Experiment:
    """The base experiment with another kernel."""
    return BASE.changed({"model.attention": attention})

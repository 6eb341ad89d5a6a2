"""One query coordinate: a finite strict minimum of softmax (S-d), and bumps of a narrow Gaussian kernel (G-b).

One sample of five tokens, all with the target 0.78, head width 1: every token minimises the same function of its query
a, half the squared distance of F(a) from the target, F the output of a token with query a.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import plotly.graph_objects as go

from descentlab.attention import Gaussian
from descentlab.experiment import Experiment
from descentlab.given import Given
from descentlab.models import Fixed
from descentlab.optim import GD
from descentlab.plots.curves import ChartAxis, add_line, lines
from descentlab.plots.style import PALETTE, case_color
from descentlab.probes import Loss, Parameters
from descentlab.runs import Run, Runs, case_of
from descentlab.schedule import At, LogSpaced
from descentlab.studies.song2024_query.experiments import by_hand
from descentlab.study import Size
from descentlab.sweep import Request
from descentlab.theory.endings import EndState

VALUES = np.array([[1.0, 0.3, 0.5, 0.9, 0.3]])
KEYS = np.array([-0.2, 2.0, -0.8, 5.5, 2.8]).reshape(1, 5, 1)
TARGET = 0.78
STARTS = {"left": (-1.2, -1.0, -0.9, -0.8, -0.5), "right": (1.0, 1.5, 2.0, 2.5, 3.0)}
NARROW = 1.0
"""c of the Gaussian kernel that leaves bumps; the other one has a half."""


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Gradient descent with step 0.2 from both starts; the Gaussian kernel with c = 1/2 and, narrow, with c = 1."""
    steps = size.pick(100_000, 200_000, 200_000)
    probes = {"loss": Loss(LogSpaced(10)), "path": Parameters(LogSpaced(6)), "end": EndState(At((steps,)))}
    variants = [
        variant
        for base in bases
        for variant in (
            [base.changed({"model.attention": Gaussian(c)}) for c in (0.5, NARROW)]
            if case_of(base) == "gaussian"
            else [base]
        )
    ]
    changes = {"optimizer": GD(0.2), "steps": steps, "probes": probes}
    instances = [by_hand(one, VALUES, np.full_like(VALUES, TARGET), KEYS).changed(changes) for one in variants]
    queries = {side: Fixed(Given("query", np.asarray(start).reshape(1, 5, 1))) for side, start in STARTS.items()}
    return {
        side: [Request(one.changed({"model.query": query}), (0,)) for one in instances]
        for side, query in queries.items()
    }


def label(run: Run) -> str:
    """The kernel's name, "narrow" for the Gaussian one with c = 1."""
    kernel = case_of(run.experiment)
    return "narrow" if kernel == "gaussian" and run.field("model.attention.c") == NARROW else kernel


def reduced(run: Run, queries: np.ndarray) -> np.ndarray:
    """F at the given values of one token's query, and its second derivative there, by the run's own kernel."""
    kernel, keys, values = run.field("model.attention"), KEYS[0], VALUES[0]
    with jax.enable_x64(True):

        def output(a: jax.Array) -> jax.Array:
            return (kernel.weights(a.reshape(1, 1), jax.numpy.asarray(keys)) @ values)[0]

        both = jax.jit(jax.vmap(lambda a: (output(a), jax.grad(jax.grad(output))(a))))
        return np.stack([np.asarray(part) for part in both(jax.numpy.asarray(queries, float))])


def _shown(run: Run, queries: np.ndarray) -> np.ndarray:
    return np.maximum(0.5 * (reduced(run, queries)[0] - TARGET) ** 2, 1e-6)


def landscape(runs: Runs) -> go.Figure:
    """The loss of one token as a function of its query, and the paths of gradient descent on it.

    Points: the five queries of each run at steps spaced logarithmically; circles from the left start, squares from the
    right one. Under softmax the left start ends in a strict local minimum with loss 0.0075 a token; the Gaussian
    kernel with c = 1/2 takes both starts to zero, the narrow one with c = 1 leaves four of five queries of the right
    start in a dip of their own.
    """
    figure = lines("loss", ChartAxis("query a of one token"), ChartAxis("(F(a) - 0.78)^2 / 2, at least 1e-6", "log"))
    grid = np.linspace(-3, 4, 1401)
    for position, run in enumerate(runs["left"]):
        kernel = label(run)
        color = PALETTE[2] if kernel == "narrow" else case_color(kernel)
        shown = {"narrow": "gaussian, c = 1", "gaussian": "gaussian, c = 1/2"}.get(kernel, kernel)
        add_line(figure, grid, _shown(run, grid), shown, color=color, dash="solid")
        for side, symbol in (("left", "circle"), ("right", "square")):
            other = runs[side][position]
            marks = {"color": color, "symbol": symbol, "size": 6, "opacity": 0.6}
            _points(figure, other, other.trajectory["path"].values[0].ravel(), f"{shown}, {side} start", marks)
            marks = {"color": color, "symbol": f"{symbol}-open", "size": 14, "line": {"width": 2}}
            _points(figure, other, other.trajectory.final["query"][0].ravel(), f"{shown}, end from the {side}", marks)
    return figure


def _points(figure: go.Figure, run: Run, queries: np.ndarray, name: str, marks: dict[str, Any]) -> None:
    heights, group = _shown(run, queries), name.rpartition(", ")[0]
    figure.add_scatter(
        x=queries, y=heights, mode="markers", marker=marks, name=name, legendgroup=group, showlegend=False
    )

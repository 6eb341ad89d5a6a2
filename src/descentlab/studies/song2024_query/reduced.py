"""One query coordinate: a finite strict minimum of softmax (S-d), and bumps of a narrow Gaussian kernel (G-b).

One sample of five tokens, all with the target 0.78, head width 1: every token minimises the same function of its query
a, half the squared distance of F(a) from the target, F the output of a token with query a.
"""

from collections.abc import Sequence

import jax
import numpy as np
import plotly.graph_objects as go

from descentlab._describe import value_at
from descentlab.attention import Gaussian
from descentlab.claims import About, Claim, at_most, close
from descentlab.experiment import Experiment
from descentlab.given import Given
from descentlab.models import Fixed
from descentlab.optim import GD
from descentlab.plots.curves import ChartAxis, add_line, lines
from descentlab.plots.style import PALETTE, case_color
from descentlab.probes import Loss, Parameters
from descentlab.runs import Run, Runs
from descentlab.schedule import At, LogSpaced
from descentlab.statistics import printed
from descentlab.studies.song2024_convergence.kernels import kernels, name
from descentlab.studies.song2024_query.setting import by_hand, changed
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.theory.endings import EndState
from descentlab.theory.stationary import Kind

VALUES = np.array([[1.0, 0.3, 0.5, 0.9, 0.3]])
KEYS = np.array([-0.2, 2.0, -0.8, 5.5, 2.8]).reshape(1, 5, 1)
TARGET = 0.78
STARTS = {"left": (-1.2, -1.0, -0.9, -0.8, -0.5), "right": (1.0, 1.5, 2.0, 2.5, 3.0)}
SOURCE = "docs/theory/query_block.md, section S-d"

ENDS = {
    ("softmax", "left"): printed("-0.9206"),
    ("softmax", "right"): printed("0.6807"),
    ("gaussian", "left"): printed("-1.5500"),
    ("gaussian", "right"): printed("1.1065"),
    ("narrow", "left"): printed("-1.213"),
}
"""Where all five queries end, by kernel and start; the narrow kernel's other start ends in several places."""


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Gradient descent with step 0.2 from both starts; the Gaussian kernel with c = 1/2 and, narrow, with c = 1."""
    steps = 100_000 if size == Size.SMOKE else 200_000
    families: dict[str, list[Request]] = {family: [] for family in STARTS}
    for base in bases:
        variants = [base]
        if name(base) == "gaussian":
            variants = [changed(base, {"model.attention": Gaussian(c)}) for c in (0.5, 1.0)]
        probes = {"loss": Loss(LogSpaced(10)), "path": Parameters(LogSpaced(6)), "end": EndState(At((steps,)))}
        for variant in variants:
            instance = by_hand(variant, VALUES, np.full_like(VALUES, TARGET), KEYS)
            instance = changed(instance, {"optimizer": GD(0.2), "steps": steps, "probes": probes})
            for family, start in STARTS.items():
                query = Fixed(Given("query", np.asarray(start).reshape(1, 5, 1)))
                families[family].append(Request(changed(instance, {"model.query": query}), (0,)))
    return families


def label(run: Run) -> str:
    """The kernel's name, "narrow" for the Gaussian one with c = 1."""
    kernel = name(run.experiment)
    return "narrow" if kernel == "gaussian" and value_at(run.experiment, "model.attention.c") == 1.0 else kernel


def reduced(run: Run, queries: np.ndarray) -> np.ndarray:
    """F at the given values of one token's query, and its second derivative there, by the run's own kernel."""
    kernel, keys, values = run.experiment.model.attention, KEYS[0], VALUES[0]  # pyright: ignore[reportAttributeAccessIssue]
    with jax.enable_x64(True):

        def output(a: jax.Array) -> jax.Array:
            return (kernel.weights(a.reshape(1, 1), jax.numpy.asarray(keys)) @ values)[0]

        both = jax.jit(jax.vmap(lambda a: (output(a), jax.grad(jax.grad(output))(a))))
        return np.stack([np.asarray(part) for part in both(jax.numpy.asarray(queries, float))])


def claims(runs: Runs) -> list[Claim]:
    """The numbers of the specification, their uncertainty that of the digits printed there."""
    found = []
    for family in STARTS:
        for run in runs[family]:
            found += _ends(family, run)
    if "softmax" in kernels(runs):
        found += _shape(next(run for run in runs["left"] if name(run.experiment) == "softmax"))
    return found


def _end(run: Run, quantity: str) -> float:
    """A number of the end state of the first seed."""
    return float(run.trajectory["end"].sel(quantity=quantity).values[0, -1])


def _about(key: str, text: str, run: Run) -> About:
    kind = Kind(int(_end(run, "kind")))
    detail = (
        f"{kind.sentence}; gradient {_end(run, 'gradient'):.2g}, smallest Hessian eigenvalue "
        f"{_end(run, 'smallest'):.6g} +- {_end(run, 'smallest_error'):.1g}."
    )
    return About(key, text, SOURCE, name(run.experiment), detail)


def _ends(family: str, run: Run) -> list[Claim]:
    """Where a run ends and what its end state is."""
    kernel = label(run)
    if (kernel, family) not in {*ENDS, ("narrow", "right")}:
        return []
    words = {"softmax": "softmax", "gaussian": "Gaussian, c = 1/2", "narrow": "Gaussian, c = 1"}[kernel]
    tag, key = ("G-b" if kernel == "narrow" else "S-d"), f"s-d-{kernel}-{family}"
    where = f"{tag}: {words}, {family} start:"
    loss, kind = _end(run, "loss"), _end(run, "kind")
    queries = run.trajectory.final["query"][0].ravel()
    found = []
    if (kernel, family) in ENDS:
        expected, half = ENDS[kernel, family]
        about = _about(f"{key}-end", f"{where} all queries end at {expected:g}", run)
        found.append(close(about, queries, expected, tolerance=half))
    stuck = {("softmax", "left"): printed("0.03744"), ("narrow", "right"): printed("0.143")}
    if (kernel, family) not in stuck:
        about = _about(f"{key}-loss", f"{where} the loss is zero, at most 1e-20", run)
        return [*found, at_most(about, loss, 1e-20)]
    expected, half = stuck[kernel, family]
    found += [
        close(_about(f"{key}-loss", f"{where} stuck at the loss {expected:g}", run), loss, expected, tolerance=half),
        close(
            _about(f"{key}-kind", f"{where} the end state is a strict local minimum", run), kind, float(Kind.MINIMUM)
        ),
    ]
    if kernel == "softmax":
        about = _about(f"{key}-hessian", f"{where} the Hessian there is 0.0203 times the identity", run)
        value, half = printed("0.0203")
        found.append(
            close(about, _end(run, "smallest"), value, tolerance=half, uncertainty=_end(run, "smallest_error"))
        )
    return found


def _shape(run: Run) -> list[Claim]:
    """The function F of softmax: limits, local maximum and where it meets the target."""
    grid = np.linspace(-3, 3, 60_001)
    values, curvature = reduced(run, grid)
    inside = np.flatnonzero((values[1:-1] > values[:-2]) & (values[1:-1] > values[2:])) + 1
    top = int(inside[0]) if inside.size else 0
    crossing = float(grid[np.flatnonzero(np.diff(np.sign(values - TARGET)))[-1]])
    far, zero = reduced(run, np.array([-200.0, 200.0]))[0], reduced(run, np.zeros(1))[0, 0]
    numbers = {
        "F(-inf)": (far[0], *printed("0.5")),
        "F(0)": (zero, *printed("0.6")),
        "F(+inf)": (far[1], *printed("0.9")),
        "place of the maximum": (grid[top], *printed("-0.921")),
        "F at the maximum": (values[top], *printed("0.6576")),
        "place where F = 0.78": (crossing, *printed("0.681")),
    }
    measured, expected, half = (np.array(column) for column in zip(*numbers.values(), strict=True))
    said = ", ".join(f"{key} {value:.5g}" for key, (value, _, _) in numbers.items())
    about = About("s-d-shape", "S-d: Limits, maximum and crossing of F are those stated", SOURCE, "softmax", f"{said}.")
    bend = About("s-d-curvature", "S-d: The second derivative of F at its maximum is -0.1663", SOURCE, "softmax")
    steepest, rounding = printed("-0.1663")
    return [
        close(about, (measured - expected) / half, 0.0, tolerance=1.0 + 1e-9),
        close(bend, curvature[top], steepest, tolerance=rounding),
    ]


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
        for family, symbol in (("left", "circle"), ("right", "square")):
            other = runs[family][position]
            path = other.trajectory["path"].values[0].ravel()
            figure.add_scatter(
                x=path,
                y=_shown(other, path),
                mode="markers",
                marker={"color": color, "symbol": symbol, "size": 6, "opacity": 0.6},
                name=f"{shown}, {family} start",
                legendgroup=shown,
                showlegend=False,
            )
            last = other.trajectory.final["query"][0].ravel()
            figure.add_scatter(
                x=last,
                y=_shown(other, last),
                mode="markers",
                marker={"color": color, "symbol": f"{symbol}-open", "size": 14, "line": {"width": 2}},
                name=f"{shown}, end from the {family}",
                legendgroup=shown,
                showlegend=False,
            )
    return figure


section = Section("one query coordinate", requests, claims, (landscape,))

"""The same on windows of a text, where tokens repeat and are not in general position."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab._describe import replace_at, value_at
from descentlab.claims import About, Claim, at_most, close, of_seeds
from descentlab.data import FullBatch
from descentlab.experiment import Experiment
from descentlab.optim import Armijo
from descentlab.plots.heatmaps import Categories, heat_map
from descentlab.probes import FeatureSpectrum, GramSpectrum, Loss, ModalSpectrum, PLRatio, StepSize, TokenRank
from descentlab.runs import Run, Runs
from descentlab.schedule import At, LogSpaced
from descentlab.studies.song2024_convergence.joint import REACHED
from descentlab.studies.song2024_convergence.kernels import kernels, of_kernel, seed_count, shape, trajectories
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.tasks import TextWindows
from descentlab.theory import pl, theorem_a
from descentlab.theory.modes import least_squares_floor, recorded_modes
from descentlab.theory.theorem_c import TRAINED

SHAPES = ((1, 128), (2, 64), (4, 32))
"""Heads and token width with HD = 2 Nn at 8 windows of 8 bytes."""

SOURCE = "docs/theory/theorem_a.md"


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Value-only with and without positions, and joint training with the most heads."""
    smoke, paper = size == Size.SMOKE, size == Size.PAPER
    seeds = tuple(range(2 if smoke else 10 if paper else 3))
    probes = {
        "loss": Loss(LogSpaced(20)),
        "step_size": StepSize(LogSpaced(20)),
        "modes": ModalSpectrum(),
        "features": FeatureSpectrum(At((0,))),
        "tokens": TokenRank(),
        "pl": PLRatio(LogSpaced(4)),
        "gram": GramSpectrum(LogSpaced(4)),
    }
    families: dict[str, list[Request]] = {"value": [], "no positions": [], "joint": []}
    for base in bases:
        windows = replace_at(replace_at(base, "data", FullBatch(8)), "probes", probes)
        windows = replace_at(windows, "steps", 100 if smoke else 5000 if paper else 1000)
        for heads, dim in SHAPES[-1:] if smoke else SHAPES:
            task = TextWindows(window=8, dim=dim)
            experiment = replace_at(replace_at(windows, "task", task), "model.heads", heads)
            families["value"].append(Request(experiment, seeds))
            families["no positions"].append(Request(replace_at(experiment, "task.position_scale", 0.0), seeds))
        if not smoke:
            families["joint"].append(Request(_joint(families["value"][-1].experiment), seeds))
    return families


def _joint(experiment: Experiment) -> Experiment:
    kept = {k: v for k, v in experiment.probes.items() if k not in {"modes"}}
    for path, value in {"probes": kept, "trained": TRAINED, "optimizer": Armijo(), "steps": 2000}.items():
        experiment = replace_at(experiment, path, value)
    return experiment


def _ranks(run: Run) -> dict[str, np.ndarray]:
    """By lane: measured rank of B, the bound from the rank of the tokens, and that rank."""
    tokens = run.trajectory["tokens"]
    rank, with_ones, distinct = (tokens.sel(quantity=q).at(0) for q in ("rank", "rank_with_ones", "distinct"))
    heads = shape(run)[0]
    sums_to_one = type(value_at(run.experiment, "model.attention")).__name__ in {"Softmax", "NormalizedGaussian"}
    bound = heads * rank - (heads - 1) * (sums_to_one & (with_ones == rank))
    measured = run.trajectory["features"].sel(quantity="rank").at(0)
    return {"measured": measured, "bound": np.minimum(distinct, bound), "tokens": rank, "distinct": distinct}


def _said(runs: Sequence[Run]) -> str:
    """Rank of the tokens, bound and measured rank by number of heads, in words."""
    parts = []
    for run in runs:
        ranks = {key: f"{int(values.min())}-{int(values.max())}" for key, values in _ranks(run).items()}
        parts.append(f"H={shape(run)[0]}: r={ranks['tokens']}, bound {ranks['bound']}, measured {ranks['measured']}.")
    return " ".join(parts)


def claims(runs: Runs) -> list[Claim]:
    """Claim 10: claims 1, 2, 4 and 5 on text."""
    found = []
    for kernel in kernels(runs):
        value, bare, joint = (of_kernel(runs, kernel, family) for family in ("value", "no positions", "joint"))
        found += ranks(kernel, value, bare)
        every = trajectories(value)
        reachable = trajectories([run for run in value if np.all(_ranks(run)["measured"] == _count(run))])
        found += [
            theorem_a.rate(
                About(
                    f"text-rate-{kernel}",
                    "On text, value-only loss never lags (1 - eta mu)^(2t) f_0",
                    "Theorem A",
                    kernel,
                ),
                reachable,
            ),
            theorem_a.modal_formula(
                About(
                    f"text-modes-{kernel}",
                    "On text, the loss is the sum over modes of K to a relative 1e-8, or what rounding of its steps "
                    "can add up to",
                    "Theorem A",
                    kernel,
                ),
                every,
            ),
            pl.pl_inequality(
                About(
                    f"pl-text-{kernel}",
                    "On text, the gradient obeys PL with lambda_min(K_t)",
                    "docs/theory/pl.md",
                    kernel,
                ),
                [*every, *trajectories(joint)],
            ),
        ]
        if joint:
            losses = [run.trajectory["loss"].values for run in joint]
            lowest = np.concatenate([np.nanmin(values / values[:, :1], axis=1) for values in losses])
            text = "On text, joint training with four heads reaches 1e-10 f_0 within 2,000 steps"
            about = About(f"text-joint-{kernel}", text, "Song et al. 2024", kernel)
            found.append(of_seeds(at_most(about, lowest, REACHED), seed_count(joint)))
    return found


def _count(run: Run) -> int:
    """Nn."""
    return value_at(run.experiment, "data.samples") * value_at(run.experiment, "task.window")


def ranks(kernel: str, value: Sequence[Run], bare: Sequence[Run]) -> list[Claim]:
    """The rank of B against HD >= Nn, against the rank of the tokens, and without positions."""
    measured = np.concatenate([_ranks(run)["measured"] for run in value])
    bound = np.concatenate([_ranks(run)["bound"] for run in value])
    counts = np.concatenate([np.full(len(_ranks(run)["measured"]), float(_count(run))) for run in value])
    without, distinct = (np.concatenate([_ranks(run)[key] for run in bare]) for key in ("measured", "distinct"))
    floors = [least_squares_floor(one) for run in value for one in recorded_modes(run.trajectory)]
    starts = np.concatenate([run.trajectory["loss"].values[:, 0] for run in value])
    relative = np.asarray(floors) / starts
    said = _said(value)
    return [
        close(
            About(
                f"text-threshold-{kernel}", "On text, HD = 2 Nn gives B full row rank", "Song et al. 2024", kernel, said
            ),
            measured,
            counts,
        ),
        at_most(
            About(
                f"text-rank-{kernel}",
                "On text, rank(B) obeys the bound from the rank of the tokens",
                SOURCE,
                kernel,
                said,
            ),
            measured,
            bound,
        ),
        close(
            About(
                f"text-floor-{kernel}",
                "On text, zero loss is within the value block's reach exactly when rank(B) = Nn",
                "Theorem A",
                kernel,
                f"Relative floors from {relative.min():.3g} to {relative.max():.3g}.",
            ),
            (relative <= 1e-20).astype(float),
            (measured == counts).astype(float),
        ),
        at_most(
            About(
                f"text-duplicates-{kernel}",
                "Without positions, rank(B) is at most the number of distinct bytes of each window, summed",
                SOURCE,
                kernel,
                _said(bare),
            ),
            without,
            np.minimum(distinct, counts),
        ),
    ]


def rank_map(runs: Runs) -> go.Figure:
    """Rank of the features on text, as a share of the number of targets.

    HD = 2 Nn throughout: more heads of smaller width reach full rank, one wide head does not, since rank(B) is at
    most H times the rank of the tokens. Without positions, equal bytes of a window are equal rows. Lowest over seeds.
    """
    rows, values = [], []
    for kernel in kernels(runs):
        for family in ("value", "no positions"):
            chosen = of_kernel(runs, kernel, family)
            rows.append(f"{kernel}, {'positions' if family == 'value' else 'no positions'}")
            values.append([float(_ranks(run)["measured"].min()) / _count(run) for run in chosen])
    columns = [f"H = {shape(run)[0]}, D = {shape(run)[1]}" for run in of_kernel(runs, kernels(runs)[0], "value")]
    x, y = Categories("heads and width", columns), Categories("kernel", rows)
    return heat_map("rank(B) / Nn", x, y, np.asarray(values), label="rank(B) / Nn", scale="linear")


section = Section("text", requests, claims, (rank_map,))

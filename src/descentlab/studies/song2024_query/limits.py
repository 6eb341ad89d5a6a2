"""Where the Gaussian kernel fails: far from all keys, targets beyond its bound, and steps that are too long.

Narrow kernels with minima of their own are in `reduced.py`.
"""

from collections.abc import Sequence

import numpy as np

from descentlab.claims import About, Claim, above, at_least, at_most, below, close, of_seeds
from descentlab.data import FullBatch
from descentlab.experiment import Experiment
from descentlab.models import Normal
from descentlab.optim import GramGD
from descentlab.probes import GradientNorm, Loss
from descentlab.runs import Run, Runs
from descentlab.schedule import LogSpaced
from descentlab.studies.song2024_convergence.kernels import name, of_kernel, seed_count
from descentlab.studies.song2024_query.obstructions import SOURCE, TOKENS, drawn
from descentlab.studies.song2024_query.setting import REACHED, by_hand, changed, given_targets
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.tasks import Noise, TokenRegression
from descentlab.theory.theorem_c import TRAINED

FAR = 60.0
"""Standard deviation of a query entry at which no key of unit scale is near."""


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """The Gaussian kernel only: what is asked here has no counterpart under softmax."""
    smoke, paper = size == Size.SMOKE, size == Size.PAPER
    seeds = tuple(range(2 if smoke else 50 if paper else 20))
    steps = 300 if smoke else 3_000
    values, keys = drawn()
    total = np.broadcast_to(values.sum(axis=1, keepdims=True), values.shape)
    families: dict[str, list[Request]] = {"far": [], "beyond": [], "long step": [], "short step": []}
    for base in bases:
        if name(base) != "gaussian":
            continue
        probes = {"loss": Loss(LogSpaced(20)), "gradient": GradientNorm(LogSpaced(20))}
        traced = changed(base, {"steps": steps, "probes": probes})
        far = changed(by_hand(traced, values, 0.5 * values, keys), {"model.query": Normal(FAR)})
        families["far"].append(Request(far, seeds))
        families["beyond"].append(Request(by_hand(traced, values, 1.5 * total, keys), seeds))
        joint = changed(
            base,
            {
                "task": TokenRegression(tokens=5, dim=20, target=Noise()),
                "data": FullBatch(4),
                "model.heads": 2,
                "model.head_dim": 8,
                "model.query": Normal(0.5),
                "model.key": Normal(0.5),
                "trained": TRAINED,
                "probes": {"loss": Loss(LogSpaced(20))},
                "steps": 100 if smoke else 5_000,
            },
        )
        for family, fraction in (("long step", 0.8), ("short step", 0.2)):
            families[family].append(Request(changed(joint, {"optimizer": GramGD(fraction)}), seeds))
    return families


def claims(runs: Runs) -> list[Claim]:
    """G-a, G-c and G-d."""
    if not of_kernel(runs, "gaussian"):
        return []
    return [*_plateau(runs["far"]), _beyond(runs["beyond"]), *_steps(runs)]


def _last(runs: Sequence[Run]) -> np.ndarray:
    return np.concatenate([run.trajectory["loss"].values[:, -1] for run in runs])


def _plateau(runs: Sequence[Run]) -> list[Claim]:
    level = float(np.sum(given_targets(runs[0]) ** 2) / (2 * len(given_targets(runs[0]))))
    gradients = np.concatenate([run.trajectory["gradient"].values[:, -1] for run in runs])
    plateau = About(
        "g-a-plateau",
        "G-a: Far from all keys the loss stays at that of outputs zero, ||Y||^2 / 2N",
        SOURCE,
        "gaussian",
        f"Queries start with standard deviation {FAR:g}.",
    )
    gradient = About("g-a-gradient", "G-a: There the gradient has vanished below 1e-10", SOURCE, "gaussian")
    return [
        of_seeds(close(plateau, _last(runs) / level, 1.0, tolerance=1e-6), seed_count(runs)),
        of_seeds(below(gradient, gradients, 1e-10), seed_count(runs)),
    ]


def _beyond(runs: Sequence[Run]) -> Claim:
    targets = given_targets(runs[0])
    bound = np.repeat(targets[:, :1] / 1.5, TOKENS, axis=1)
    floor = float(0.5 * np.sum(np.maximum(0, targets - bound) ** 2) / len(targets))
    about = About(
        "g-c-bound",
        "G-c: With targets beyond the sum of absolute values the loss never falls below their distance to it",
        SOURCE,
        "gaussian",
        f"Smallest last loss {_last(runs).min():.4g}, floor {floor:.4g}.",
    )
    return at_least(about, _last(runs), floor)


def _steps(runs: Runs) -> list[Claim]:
    def relative(family: str) -> np.ndarray:
        return np.concatenate(
            [one.trajectory["loss"].values[:, -1] / one.trajectory["loss"].values[:, 0] for one in runs[family]]
        )

    long, short = relative("long step"), relative("short step")
    stalled = long > 0.01
    stalls = About(
        "g-d-long",
        "G-d: Joint training with the step 0.8 / lambda_max(K_0) stalls above 1 % of f_0 for some of the seeds",
        "derived; the specification saw one stall at 8 %",
        "gaussian",
        f"{int(stalled.sum())} of {long.size} seeds; quartiles of the last f / f_0 "
        f"{', '.join(f'{x:.2g}' for x in np.quantile(long, [0.25, 0.5, 0.75]))}.",
    )
    falls = About(
        "g-d-short",
        "G-d: With 0.2 / lambda_max(K_0) every seed falls to 1e-10 f_0",
        "derived",
        "gaussian",
        f"{int((short <= REACHED).sum())} of {short.size} seeds; largest last f / f_0 {short.max():.2g}.",
    )
    # That one seed does not stall says nothing of others; that it does is an example.
    unknown = np.inf if long.size == 1 and not stalled.any() else 0.0
    return [
        above(stalls, float(stalled.mean()), 0.0, uncertainty=unknown),
        of_seeds(at_most(falls, short, REACHED), seed_count(runs["short step"])),
    ]


section = Section("limits of the Gaussian kernel", requests, claims)

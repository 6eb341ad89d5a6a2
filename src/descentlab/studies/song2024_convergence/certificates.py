"""Theorems B and C: what they certify in advance, whether it comes true, and how careful they are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, above, at_least, at_most, claim, close
from descentlab.data import FullBatch
from descentlab.experiment import Experiment
from descentlab.optim import GramGD
from descentlab.plots.curves import ChartAxis, Dash, add_level, add_line, lines
from descentlab.plots.style import case_color
from descentlab.probes import Distance, FeatureSpectrum, GramSpectrum, Loss, StepSize
from descentlab.runs import Family, Run, Runs
from descentlab.schedule import LogSpaced
from descentlab.studies.song2024_convergence.experiments import REACHED, with_shape
from descentlab.study import Section, Size
from descentlab.sweep import Request, grid
from descentlab.theory.certificate import Certified
from descentlab.theory.lipschitz_search import LipschitzSearch
from descentlab.theory.soundness import Promises, certified, of_double, recorded
from descentlab.theory.theorem_b import TheoremB
from descentlab.theory.theorem_c import TRAINED, TheoremC

SCALE = "model.output.scale"
OVER_SCALE = ChartAxis("scale s of the output block", "log")


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Output scales log-uniform in [1, 1e8], the value block zero at the start; and random, at fixed scales."""
    seeds = size.seeds(3, 5, 8)
    drawn = np.sort(10.0 ** np.random.default_rng(0).uniform(0, 8, size.pick(12, 30, 40)))
    fixed = [10.0**power for power in range(0, 9, size.pick(2, 2, 1))]
    probes = {
        "loss": Loss(LogSpaced(20)),
        "step_size": StepSize(LogSpaced(20)),
        "distance": Distance(LogSpaced(20)),
        "gram": GramSpectrum(LogSpaced(8)),
        "features": FeatureSpectrum(LogSpaced(8)),
        "b": Certified(certificate=TheoremB()),
        "c": Certified(certificate=TheoremC()),
        "search": LipschitzSearch(),
    }
    changes = {
        "task.tokens": 3,
        "data": FullBatch(2),
        "model.head_dim": 4,
        "trained": TRAINED,
        "optimizer": GramGD(0.4),
        "probes": probes,
        "steps": size.pick(60, 1_500, 10_000),
    }
    zero = [with_shape(base, 4, 8).changed(changes) for base in bases]
    moved = [one.changed({"model.value.scale": 1.0}) for one in zero]
    return {
        "value zero": [Request(one, seeds) for base in zero for one in grid(base, {SCALE: drawn.tolist()})],
        "value random": [Request(one, seeds) for base in moved for one in grid(base, {SCALE: fixed})],
    }


def _certified(runs: Family) -> np.ndarray:
    """Which lanes Theorem B covers."""
    return np.concatenate([certified(run.trajectory, TheoremB()) for run in runs])


@claim(
    "b-uncertified-{case}",
    "Lanes that Theorem B does not certify converge too: more than none of them",
    "measured",
)
def uncertified(about: About, runs: Family) -> Claim:
    """How many lanes converge without a certificate."""
    sure, reached = _certified(runs), runs.relative("loss") <= REACHED
    share = float(reached[~sure].mean()) if (~sure).any() else np.nan
    said = f"{int(sure.sum())} of {sure.size} lanes are certified by B. Of the others, {share:.0%} reach 1e-10 f_0."
    return of_double(runs.trajectories, above(about.noting(said), share, 0.0, where=bool((~sure).any())))


@claim(
    "b-careful-{case}",
    "The steps that Theorem B predicts for the loss reached are at least those it took",
    "Theorem B",
)
def careful(about: About, runs: Family) -> Claim:
    """How many times the needed steps a certificate predicts."""
    factor, sure = np.concatenate([_factor(run) for run in runs]), _certified(runs)
    if sure.any():
        low, middle, high = np.quantile(factor[sure], [0.25, 0.5, 0.75])
        about = about.noting(f"Quartiles of the factor: {low:.3g}, {middle:.3g}, {high:.3g}.")
    return of_double(runs.trajectories, at_least(about, factor, 1.0, slack=1e-9, where=sure))


def _factor(run: Run) -> np.ndarray:
    """Predicted over actual steps to the last recorded loss above rounding, by lane; infinite without a rate."""
    loss = run.trajectory["loss"]
    relative = loss.values / loss.values[:, :1]
    decay = TheoremB().decay(run.trajectory.last("step_size"), recorded(run.trajectory, TheoremB()))
    last = np.maximum((relative > 1e-20).sum(axis=1) - 1, 1)
    logs = -np.log(np.maximum(relative[np.arange(len(last)), last], 1e-300))
    with np.errstate(divide="ignore", invalid="ignore"):
        return logs / -np.log1p(-np.clip(decay, 0, 1 - 1e-16)) / loss.steps[last]


class Ratios(NamedTuple):
    """The ratio of Theorem B over output scales.

    Attributes:
        scales: in ascending order.
        claimed: the ratio, axes scale and lane.
        sampled: the same with the largest Lipschitz constant that was found in the place of the bound.
    """

    scales: np.ndarray
    claimed: np.ndarray
    sampled: np.ndarray

    @classmethod
    def of(cls, runs: Family) -> "Ratios":
        """Those of runs that differ in their output scale."""
        scales = np.asarray([run.field(SCALE) for run in runs])
        found, bound = (runs.first("search", quantity=one) for one in ("found", "bound"))
        claimed = runs.first("b", quantity="ratio")
        order = np.argsort(scales)
        claimed, sampled = (one.reshape(len(runs), -1)[order] for one in (claimed, claimed * (found / bound)))
        return cls(scales[order], claimed, sampled)

    @property
    def unknown(self) -> bool:
        """Whether no bound of the second derivative is known for the kernel."""
        return bool(np.isnan(self.claimed).all())


def _rounding(runs: Family) -> float:
    r"""How far rounding may move the ratio of Theorem B between two runs: a part 1e-6, or more in single precision.

    Each run rounds its scaled weights by itself, which moves singular values of J by up to $u\,\sigma_{\max}$ and with
    them each of the two ratios by twice $u\,\sigma_{\max}/\sigma_0$.
    """
    largest, smallest = (runs.first("b", quantity=one) for one in ("sigma_max", "sigma_min"))
    return max(1e-6, 2 * float(np.finfo(largest.dtype).eps) * float(np.max(largest / smallest)))


@claim(
    "scale-law-{case}",
    "With the value block at zero, the ratio of Theorem B falls as 1/s in the output scale s, by bound and sampled",
    "Theorem B",
)
def law(about: About, runs: Family) -> Claim:
    """Whether the ratio times the scale is constant."""
    ratios = Ratios.of(runs)
    products = [one * ratios.scales[:, None] for one in (ratios.claimed, ratios.sampled)]
    claimed, sampled = map(np.median, products)
    about = about.noting(f"Median ratio times s: {claimed:.3g} by the bound, {sampled:.3g} sampled.")
    both = np.concatenate([one[1:] / one[:1] for one in products])
    return close(about, both, 1.0, tolerance=_rounding(runs), where=not ratios.unknown)


@claim(
    "scale-level-{case}",
    "With a random value block the ratio levels off: equal at the two largest scales within 1 %",
    "Theorem B",
)
def level(about: About, runs: Family) -> Claim:
    """Whether the ratio stops falling."""
    ratios = Ratios.of(runs)
    claimed, sampled = (np.median(one[-1]) for one in (ratios.claimed, ratios.sampled))
    about = about.noting(f"Median level {claimed:.3g} by the bound, {sampled:.3g} sampled.")
    tails = np.concatenate([one[-2] / one[-1] for one in (ratios.claimed, ratios.sampled)])
    return at_most(about, np.abs(tails - 1), 0.01, where=not ratios.unknown)


def ratios(runs: Runs) -> go.Figure:
    """The ratio of Theorem B against the output scale.

    A lane is certified below 1. With the value block at zero the ratio falls as 1/s; with a random one it levels off.
    Bound: with the proved Lipschitz bound; sampled: with the largest constant that a search in the ball finds. Medians.
    """
    figure = lines("ratio", OVER_SCALE, ChartAxis("2 beta ||r_0|| / sigma_0^2", "log"))
    dashes: dict[str, tuple[str, Dash, Dash]] = {
        "value zero": ("W_V = 0", "solid", "dot"),
        "value random": ("W_V random", "dash", "dashdot"),
    }
    for kernel in runs.cases:
        color = case_color(kernel)
        for family, (words, proved, found) in dashes.items():
            scales, claimed, sampled = Ratios.of(runs[family].of(kernel))
            add_line(figure, scales, np.median(claimed, 1), f"{kernel}, {words}, bound", color=color, dash=proved)
            add_line(figure, scales, np.median(sampled, 1), f"{kernel}, {words}, sampled", color=color, dash=found)
    return add_level(figure, 1.0, "certified below")


def carefulness(runs: Runs) -> go.Figure:
    """How careful Theorem B is.

    Predicted over needed steps to the loss that the run reached, against the output scale; median over seeds, where
    most of them are certified. Above the level of 1 the certificate is on the safe side.
    """
    figure = lines("factor", OVER_SCALE, ChartAxis("predicted / needed steps", "log"))
    for kernel, some in runs["value zero"].by_case().items():
        factors = {scale: np.median(_factor(one[0])) for scale, one in sorted(some.by(SCALE).items())}
        add_line(figure, [*factors], [*factors.values()], kernel, color=case_color(kernel), dash="solid")
    return add_level(figure, 1.0, "exact")


PROMISES = [Promises(certificate, "value zero") for certificate in (TheoremB(), TheoremC())]
section = Section(
    "certificates",
    requests,
    [*PROMISES, *(one.on("value zero") for one in (uncertified, careful, law)), level.on("value random")],
    (ratios, carefulness),
)

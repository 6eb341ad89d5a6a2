"""Theorems B and C: what they certify in advance, whether it comes true, and how careful they are."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab._describe import replace_at, value_at
from descentlab.claims import About, Claim, above, at_least, at_most, close, not_applicable
from descentlab.data import FullBatch
from descentlab.experiment import Experiment
from descentlab.optim import GramGD
from descentlab.plots.curves import ChartAxis, add_level, add_line, lines
from descentlab.plots.style import case_color
from descentlab.probes import Distance, FeatureSpectrum, GramSpectrum, Loss, StepSize
from descentlab.runs import Run, Runs
from descentlab.schedule import LogSpaced
from descentlab.studies.song2024_convergence.kernels import kernels, of_kernel, trajectories
from descentlab.studies.song2024_convergence.value_block import with_shape
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.theory.certificate import Certified
from descentlab.theory.lipschitz_search import LipschitzSearch
from descentlab.theory.soundness import certified, of_double, recorded
from descentlab.theory.theorem_b import TheoremB
from descentlab.theory.theorem_c import TRAINED, TheoremC

REACHED = 1e-10


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Output scales log-uniform in [1, 1e8], the value block zero at the start; and random, at fixed scales."""
    smoke, paper = size == Size.SMOKE, size == Size.PAPER
    seeds = tuple(range(3 if smoke else 8 if paper else 5))
    count, steps = (12, 60) if smoke else (40, 10_000) if paper else (30, 1_500)
    drawn = np.sort(10.0 ** np.random.default_rng(0).uniform(0, 8, count))
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
        "steps": steps,
    }
    families: dict[str, list[Request]] = {"value zero": [], "value random": []}
    for base in bases:
        experiment = with_shape(base, 4, 8)
        for path, value in changes.items():
            experiment = replace_at(experiment, path, value)
        scaled = [replace_at(experiment, "model.output.scale", float(s)) for s in drawn]
        families["value zero"] += [Request(one, seeds) for one in scaled]
        moved = replace_at(experiment, "model.value.scale", 1.0)
        fixed = [replace_at(moved, "model.output.scale", 10.0**k) for k in (range(0, 9, 2) if not paper else range(9))]
        families["value random"] += [Request(one, seeds) for one in fixed]
    return families


def _scale(run: Run) -> float:
    return value_at(run.experiment, "model.output.scale")


def claims(runs: Runs) -> list[Claim]:
    """Claims 6 and 7."""
    found = []
    for kernel in kernels(runs):
        zero, moved = (of_kernel(runs, kernel, family) for family in ("value zero", "value random"))
        if np.isnan(zero[0].trajectory["b"].sel(quantity="beta").values).all():
            about = About(f"b-{kernel}", "Theorems B and C certify convergence in advance", "Theorems B, C", kernel)
            found.append(not_applicable(about, "no bound of the second derivative is known for this kernel"))
            continue
        found += TheoremB().promises(kernel, trajectories(zero)) + TheoremC().promises(kernel, trajectories(zero))
        found += [of_double(trajectories(zero), claim) for claim in careful(kernel, zero)]
        found += scale_law(kernel, zero, moved)
    return found


def careful(kernel: str, runs: Sequence[Run]) -> list[Claim]:
    """How many lanes converge without a certificate, and how many times the needed steps a certificate predicts."""
    converged, covered, factors = [], [], []
    for run in runs:
        relative = run.trajectory["loss"].values / run.trajectory["loss"].values[:, :1]
        converged.append(relative[:, -1] <= REACHED)
        covered.append(certified(run.trajectory, TheoremB()))
        factors.append(_factor(run))
    reached, sure, factor = (np.concatenate(parts) for parts in (converged, covered, factors))
    share = float(reached[~sure].mean()) if (~sure).any() else np.nan
    said = f"{int(sure.sum())} of {sure.size} lanes are certified by B. Of the others, {share:.0%} reach 1e-10 f_0."
    quartiles = np.quantile(factor, [0.25, 0.5, 0.75])
    spread = f"Quartiles of the factor: {quartiles[0]:.3g}, {quartiles[1]:.3g}, {quartiles[2]:.3g}."
    return [
        above(
            About(
                f"b-uncertified-{kernel}",
                "Lanes that Theorem B does not certify converge too: more than none of them",
                "measured",
                kernel,
                said,
            ),
            share,
            0.0,
            where=bool((~sure).any()),
        ),
        at_least(
            About(
                f"b-careful-{kernel}",
                "The steps that Theorem B predicts for the loss reached are at least those it took",
                "Theorem B",
                kernel,
                spread,
            ),
            factor,
            1.0,
            slack=1e-9,
            where=sure,
        ),
    ]


def _factor(run: Run) -> np.ndarray:
    """Predicted over actual steps to the last recorded loss above rounding, by lane."""
    loss = run.trajectory["loss"]
    relative = loss.values / loss.values[:, :1]
    eta = run.trajectory["step_size"].values[:, -1]
    decay = -np.log1p(-np.clip(TheoremB().decay(eta, recorded(run.trajectory, TheoremB())), 0, 1 - 1e-16))
    last = np.maximum((relative > 1e-20).sum(axis=1) - 1, 1)
    logs = -np.log(np.maximum(relative[np.arange(len(last)), last], 1e-300))
    return logs / np.maximum(decay, 1e-300) / loss.steps[last]


def _ratios(runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Output scales, the ratio of Theorem B by run and lane, and the same with the sampled constant."""
    ordered = sorted(runs, key=_scale)
    claimed = np.stack([run.trajectory["b"].sel(quantity="ratio").at(0) for run in ordered])
    searched = [run.trajectory["search"] for run in ordered]
    shares = [one.sel(quantity="found").at(0) / one.sel(quantity="bound").at(0) for one in searched]
    return np.asarray([_scale(run) for run in ordered]), claimed, claimed * np.stack(shares)


def _rounding(runs: Sequence[Run]) -> float:
    r"""How far rounding may move the ratio of Theorem B between two runs: a part 1e-6, or more in single precision.

    Each run rounds its scaled weights by itself, which moves singular values of J by up to $u\,\sigma_{\max}$ and with
    them each of the two ratios by twice $u\,\sigma_{\max}/\sigma_0$.
    """
    constants = [run.trajectory["b"] for run in runs]
    spread = max(
        float(np.max(one.sel(quantity="sigma_max").values / one.sel(quantity="sigma_min").values)) for one in constants
    )
    return max(1e-6, 2 * float(np.finfo(constants[0].values.dtype).eps) * spread)


def scale_law(kernel: str, zero: Sequence[Run], moved: Sequence[Run]) -> list[Claim]:
    """1/s with the value block at zero; a level with a random one."""
    scales, ratios, sampled = _ratios(zero)
    law = ratios * scales[:, None]
    levels = _ratios(moved)
    tail, sampled_tail = levels[1][-2] / levels[1][-1], levels[2][-2] / levels[2][-1]
    about = About(
        f"scale-law-{kernel}",
        "With the value block at zero, the ratio of Theorem B falls as 1/s in the output scale s, by bound and sampled",
        "Theorem B",
        kernel,
        f"Median ratio times s: {np.median(law):.3g} by the bound, {np.median(sampled * scales[:, None]):.3g} sampled.",
    )
    both = np.concatenate([one[1:] / one[:1] for one in (law, sampled * scales[:, None])])
    level = About(
        f"scale-level-{kernel}",
        "With a random value block the ratio levels off: equal at the two largest scales within 1 %",
        "Theorem B",
        kernel,
        f"Median level {np.median(levels[1][-1]):.3g} by the bound, {np.median(levels[2][-1]):.3g} sampled.",
    )
    return [
        close(about, both, 1.0, tolerance=_rounding(zero)),
        at_most(level, np.abs(np.concatenate([tail, sampled_tail]) - 1), 0.01),
    ]


def ratios(runs: Runs) -> go.Figure:
    """The ratio of Theorem B against the output scale.

    A lane is certified below 1. With the value block at zero the ratio falls as 1/s; with a random one it levels off.
    Bound: with the proved Lipschitz bound; sampled: with the largest constant that a search in the ball finds. Medians.
    """
    figure = lines(
        "ratio", ChartAxis("scale s of the output block", "log"), ChartAxis("2 beta ||r_0|| / sigma_0^2", "log")
    )
    for kernel in kernels(runs):
        color = case_color(kernel)
        scales, claimed, sampled = _ratios(of_kernel(runs, kernel, "value zero"))
        add_line(figure, scales, np.median(claimed, axis=1), f"{kernel}, W_V = 0, bound", color=color, dash="solid")
        add_line(figure, scales, np.median(sampled, axis=1), f"{kernel}, W_V = 0, sampled", color=color, dash="dot")
        scales, claimed, sampled = _ratios(of_kernel(runs, kernel, "value random"))
        add_line(figure, scales, np.median(claimed, axis=1), f"{kernel}, W_V random, bound", color=color, dash="dash")
        add_line(
            figure, scales, np.median(sampled, axis=1), f"{kernel}, W_V random, sampled", color=color, dash="dashdot"
        )
    return add_level(figure, 1.0, "certified below")


def carefulness(runs: Runs) -> go.Figure:
    """How careful Theorem B is.

    Predicted over needed steps to the loss that the run reached, against the output scale; median over seeds. Above
    the level of 1 the certificate is on the safe side.
    """
    figure = lines(
        "factor", ChartAxis("scale s of the output block", "log"), ChartAxis("predicted / needed steps", "log")
    )
    for kernel in kernels(runs):
        ordered = sorted(of_kernel(runs, kernel, "value zero"), key=_scale)
        scales = np.asarray([_scale(run) for run in ordered])
        factors = np.asarray([np.median(_factor(run)) for run in ordered])
        add_line(figure, scales, factors, kernel, color=case_color(kernel), dash="solid")
    return add_level(figure, 1.0, "exact")


section = Section("certificates", requests, claims, (ratios, carefulness))

"""Starts at which the features lose rank, with the rank that theory predicts."""

from collections.abc import Sequence

import numpy as np

from descentlab._describe import replace_at, value_at
from descentlab.claims import About, Claim, close, not_applicable
from descentlab.experiment import Experiment
from descentlab.probes import FeatureSpectrum
from descentlab.runs import Run, Runs
from descentlab.schedule import At
from descentlab.studies.song2024_convergence.kernels import kernels, of_kernel
from descentlab.study import Section, Size
from descentlab.sweep import Request

DUPLICATES = 2


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Nothing is trained: the features at the start are the measurement."""
    seeds = tuple(range(2 if size == Size.SMOKE else 20 if size == Size.PAPER else 5))
    families: dict[str, list[Request]] = {"query zero": [], "key zero": [], "duplicate tokens": []}
    for base in bases:
        start = replace_at(replace_at(base, "probes", {"features": FeatureSpectrum(At((0,)))}), "steps", 0)
        families["query zero"].append(Request(replace_at(start, "model.query.scale", 0.0), seeds))
        families["key zero"].append(Request(replace_at(start, "model.key.scale", 0.0), seeds))
        families["duplicate tokens"].append(Request(replace_at(start, "task.duplicates", DUPLICATES), seeds))
    return families


def predicted_rank(family: str, kernel: str, experiment: Experiment) -> int | None:
    """The rank of B that the algebra gives, or `None` for a kernel of which nothing was derived.

    With the query at zero all rows of S X within a sample are equal. With the key at zero a softmax row is uniform,
    and a Gaussian row is a multiple of the sum of the tokens, one multiple a head. Equal tokens give equal rows.
    """
    paths = ("data.samples", "task.tokens", "task.dim", "model.heads")
    samples, tokens, dim, heads = (value_at(experiment, path) for path in paths)
    if family == "duplicate tokens":
        return min(samples * (tokens - DUPLICATES), heads * dim)
    if kernel not in {"softmax", "gaussian"}:
        return None
    return samples * min(tokens, heads) if (family, kernel) == ("key zero", "gaussian") else samples


def claims(runs: Runs) -> list[Claim]:
    """Claim 9."""
    return [_claim(family, kernel, runs) for kernel in kernels(runs) for family in runs]


def _claim(family: str, kernel: str, runs: Runs) -> Claim:
    about = About(
        f"degenerate-{family.replace(' ', '-')}-{kernel}",
        f"The rank of B is the predicted one: {family}",
        "docs/theory/theorem_a.md",
        kernel,
    )
    chosen: Sequence[Run] = of_kernel(runs, kernel, family)
    expected = predicted_rank(family, kernel, chosen[0].experiment)
    if expected is None:
        return not_applicable(about, "no rank was derived for this kernel")
    return close(
        about,
        np.concatenate([run.trajectory["features"].sel(quantity="rank").at(0) for run in chosen]),
        float(expected),
    )


section = Section("degenerate starts", requests, claims)

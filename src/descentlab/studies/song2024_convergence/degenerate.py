"""Starts at which the features lose rank, with the rank that theory predicts."""

from collections.abc import Sequence

from descentlab.claims import About, Claim, claim, close, not_applicable
from descentlab.experiment import Experiment
from descentlab.probes import FeatureSpectrum
from descentlab.runs import Run, Runs
from descentlab.schedule import At
from descentlab.study import Section, Size
from descentlab.sweep import Request

DUPLICATES = 2
STARTS = {
    "query zero": {"model.query.scale": 0.0},
    "key zero": {"model.key.scale": 0.0},
    "duplicate tokens": {"task.duplicates": DUPLICATES},
}
"""What is changed, by family."""


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Nothing is trained: the features at the start are the measurement."""
    seeds = size.seeds(2, 5, 20)
    still = {"probes": {"features": FeatureSpectrum(At((0,)))}, "steps": 0}
    return {family: [Request(base.changed(still | start), seeds) for base in bases] for family, start in STARTS.items()}


def predicted_rank(family: str, kernel: str | None, run: Run) -> int | None:
    """The rank of B that the algebra gives, or `None` for a kernel of which nothing was derived.

    With the query at zero all rows of S X within a sample are equal. With the key at zero a softmax row is uniform,
    and a Gaussian row is a multiple of the sum of the tokens, one multiple a head. Equal tokens give equal rows.
    """
    samples, tokens, dim, heads = map(run.field, ("data.samples", "task.tokens", "task.dim", "model.heads"))
    if family == "duplicate tokens":
        return min(samples * (tokens - DUPLICATES), heads * dim)
    if kernel not in {"softmax", "gaussian"}:
        return None
    return samples * min(tokens, heads) if (family, kernel) == ("key zero", "gaussian") else samples


@claim(
    "degenerate-{family}-{case}",
    "The rank of B is the predicted one: {family}",
    source="docs/theory/theorem_a.md",
    over={"family": STARTS},
)
def rank(about: About, runs: Runs, family: str) -> Claim:
    """Whether the features have the rank that the start leaves them."""
    expected = predicted_rank(family, about.case, runs[family][0])
    if expected is None:
        return not_applicable(about, "no rank was derived for this kernel")
    return close(about, runs[family].first("features", quantity="rank"), float(expected))


section = Section("degenerate starts", requests, (rank,))

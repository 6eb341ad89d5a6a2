"""How much depends on the mapping of a product or a convolution."""

import functools

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, at_least, at_most, close
from descentlab.cost.accelerator import Accelerator
from descentlab.cost.mapping import Problem, best, sample
from descentlab.plots import Axis, distributions
from descentlab.runs import Runs
from descentlab.study import Section, untrained

COUNT = 100_000
SEED = 2023

PROBLEMS = (
    Problem("convolution 3x3, 512", (512, 512, 7, 7, 3, 3)),
    Problem("convolution 1x1, 2048", (2048, 512, 7, 7, 1, 1)),
    Problem("projection", (768, 768, 512, 1, 1, 1)),
    Problem("first feed-forward product", (3072, 768, 512, 1, 1, 1)),
)
PRINTED_SHARES = np.array([0.0158, 0.0262, 0.0170, 0.0148])
PRINTED_TENTHS = np.array([7.44, 12.06, 9.42, 9.84])
PRODUCTS = slice(2, None)
SOURCE = "Kim et al. (2023), section 5"
OURS = f"proposed after {SOURCE}, on this package's cost model"


@functools.cache
def relative(of: Problem) -> np.ndarray:
    """Energy times delay of random mappings, relative to the best that sampling or the search found."""
    edp = sample(of, Accelerator(), COUNT, seed=SEED)[1].edp
    return edp / min(edp.min(), best(of, Accelerator(), seed=SEED)[1].edp[0])


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """The area that two distributions of logarithms share, 0 to 1."""
    logs = [np.log10(values) for values in (one, other)]
    edges = np.linspace(0, max(log.max() for log in logs), 61)
    shares = [np.histogram(log, edges)[0] / log.size for log in logs]
    return float(np.minimum(*shares).sum())


def claims(runs: Runs) -> list[Claim]:
    """Claim 8."""
    del runs
    found = [relative(of) for of in PROBLEMS]
    spans = np.array([np.log10(values.max()) for values in found])
    near = np.array([max((values <= 3).mean(), 1 / COUNT) for values in found])
    tenths = np.array([np.quantile(values, 0.1) for values in found])
    error = 3 * np.sqrt(near * (1 - near) / COUNT)
    shared = np.array([[overlap(one, other) for one in found[:2]] for other in found[PRODUCTS]])
    span = About("span", "Energy times delay of random mappings of a 768 x 768 x 512 product spans 3 decades", OURS)
    share = About(
        "near-best",
        "Between 0.1 and 10 % of random mappings of it are within 3 times of the best",
        OURS,
        detail=_listed(near, "{:.2%}"),
    )
    alike = About("alike", "The distributions of products and of convolutions share at least half of their area", OURS)
    shares = About(
        "near-best-printed", "1.6, 2.6, 1.7 and 1.5 % of mappings are within 3 times of the best, within a factor of 2",
        SOURCE, detail=f"{_listed(near, '{:.2%}')} The survey sampled another mapper's space on another cost model.",
    )  # fmt: skip
    tenth = About(
        "tenth-printed", "A tenth of mappings is within 7.4, 12.1, 9.4 and 9.8 times of the best, within a factor of 2",
        SOURCE, detail=_listed(tenths, "{:.3g}"),
    )  # fmt: skip
    ratio = np.abs(np.log(near / PRINTED_SHARES))
    return [
        at_least(span, spans[PRODUCTS][0], 3.0),
        close(
            share,
            np.log10(near[PRODUCTS][0]),
            -2.0,
            tolerance=1.0,
            uncertainty=(error / near)[PRODUCTS][0] / np.log(10),
        ),
        at_least(alike, shared, 0.5),
        at_most(shares, ratio, np.log(2), uncertainty=error / near),
        at_most(tenth, np.abs(np.log(tenths / PRINTED_TENTHS)), np.log(2)),
    ]


def _listed(values: np.ndarray, form: str) -> str:
    return "; ".join(f"{of.name}: {form.format(value)}" for of, value in zip(PROBLEMS, values, strict=True)) + "."


def histogram(runs: Runs) -> go.Figure:
    """Energy times delay of random mappings.

    Each series has 100,000 random ways to cut and order the loops of one operator so that tiles fit the memories,
    relative to the best one found. Choosing at random costs a factor of hundreds, at worst of a hundred thousand.
    """
    del runs
    axis = Axis("energy times delay, relative to the best", "log")
    return distributions("", axis, {of.name: relative(of) for of in PROBLEMS})


section = Section("mappings", untrained, claims, (histogram,))

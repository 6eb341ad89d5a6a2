"""How much depends on the mapping of a product or a convolution."""

from collections.abc import Iterable, Mapping

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, at_least, at_most, claim, close
from descentlab.cost.accelerator import Accelerator
from descentlab.cost.mapping import Problem, best, sample
from descentlab.plots import ChartAxis, distributions
from descentlab.runs import Runs
from descentlab.studies.kim2023_inference.counts import PAPER, PRINTED
from descentlab.study import Section, Size, untrained
from descentlab.sweep import Progress

COUNT = 100_000
SEED = 2023

CONVOLUTIONS = (
    Problem("convolution 3x3, 512", (512, 512, 7, 7, 3, 3)),
    Problem("convolution 1x1, 2048", (2048, 512, 7, 7, 1, 1)),
)
PRODUCT = Problem("projection", (768, 768, 512, 1, 1, 1))
PRODUCTS = (PRODUCT, Problem("first feed-forward product", (3072, 768, 512, 1, 1, 1)))
SOURCE = f"{PAPER}section 5"
OURS = f"proposed after {SOURCE}, on this package's cost model"

Found = Mapping[str, np.ndarray]
"""Energy times delay of mappings by the name of the problem."""


def relative(of: Problem) -> np.ndarray:
    """Energy times delay of random mappings, relative to the best that sampling or the search found."""
    edp = sample(of, Accelerator(), COUNT, seed=SEED)[1].edp
    return edp / min(edp.min(), best(of, Accelerator(), seed=SEED)[1].edp[0])


def derive(runs: Runs, size: Size, progress: Progress | None) -> Found:
    """Random mappings of every problem."""
    del runs, size, progress
    return {of.name: relative(of) for of in (*CONVOLUTIONS, *PRODUCTS)}


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """The area that two distributions of logarithms share, 0 to 1."""
    logs = [np.log10(values) for values in (one, other)]
    edges = np.linspace(0, max(log.max() for log in logs), 61)
    shares = [np.histogram(log, edges)[0] / log.size for log in logs]
    return float(np.minimum(*shares).sum())


def near(values: np.ndarray) -> tuple[float, float]:
    """The share of mappings within 3 times of the best, and three of its standard errors relative to it."""
    share = max((values <= 3).mean(), 1 / COUNT)
    return share, 3 * np.sqrt(share * (1 - share) / COUNT) / share


def _listed(names: Iterable[str], values: Iterable[float], form: str) -> str:
    return "; ".join(f"{name}: {value:{form}}" for name, value in zip(names, values, strict=True)) + "."


@claim("span", "Energy times delay of random mappings of a 768 x 768 x 512 product spans 3 decades", OURS)
def span(about: About, found: Found) -> Claim:
    """What choosing at random costs."""
    return at_least(about, np.log10(found[PRODUCT.name].max()), 3.0)


@claim("near-best", "Between 0.1 and 10 % of random mappings of it are within 3 times of the best", OURS)
def near_best(about: About, found: Found) -> Claim:
    """How rare good mappings are."""
    about = about.noting(_listed(found, (near(values)[0] for values in found.values()), ".2%"))
    share, error = near(found[PRODUCT.name])
    return close(about, np.log10(share), -2.0, tolerance=1.0, uncertainty=error / np.log(10))


@claim("alike", "The distributions of products and of convolutions share at least half of their area", OURS)
def alike(about: About, found: Found) -> Claim:
    """Products against convolutions."""
    shared = [overlap(found[one.name], found[other.name]) for other in PRODUCTS for one in CONVOLUTIONS]
    return at_least(about, np.array(shared), 0.5)


@claim(
    "near-best-printed",
    "1.6, 2.6, 1.7 and 1.5 % of mappings are within 3 times of the best, within a factor of 2",
    SOURCE,
)
def near_best_printed(about: About, found: Found) -> Claim:
    """The survey's shares."""
    shares, error = np.array([near(values) for values in found.values()]).T
    about = about.noting(
        f"{_listed(found, shares, '.2%')} The survey sampled another mapper's space on another cost model."
    )
    printed = PRINTED.of(column="share within 3 times of the best").values
    return at_most(about, np.abs(np.log(shares / printed)), np.log(2), uncertainty=error)


@claim(
    "tenth-printed",
    "A tenth of mappings is within 7.4, 12.1, 9.4 and 9.8 times of the best, within a factor of 2",
    SOURCE,
)
def tenth_printed(about: About, found: Found) -> Claim:
    """The survey's tenths."""
    tenths = np.array([np.quantile(values, 0.1) for values in found.values()])
    printed = PRINTED.of(column="factor that a tenth is within").values
    return at_most(about.noting(_listed(found, tenths, ".3g")), np.abs(np.log(tenths / printed)), np.log(2))


def histogram(found: Found) -> go.Figure:
    """Energy times delay of random mappings.

    Each series has 100,000 random ways to cut and order the loops of one operator so that tiles fit the memories,
    relative to the best one found. Choosing at random costs a factor of hundreds, at worst of a hundred thousand.
    """
    return distributions("", ChartAxis("energy times delay, relative to the best", "log"), dict(found))


STATEMENTS = (span, near_best, alike, near_best_printed, tenth_printed)

section = Section("mappings", untrained, STATEMENTS, (histogram,), derive)

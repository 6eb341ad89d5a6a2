"""The Hessian of one small layer, entry by entry: how far its blocks lie apart, kernel by kernel."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab._arithmetic import arithmetic
from descentlab.attention import Linear
from descentlab.claims import About, Claim, Statement, at_least, below, claim, close
from descentlab.curvature import Hessian
from descentlab.experiment import Experiment
from descentlab.plots.bars import distributions
from descentlab.plots.curves import ChartAxis
from descentlab.plots.matrices import block_matrix
from descentlab.runs import Runs, case_of
from descentlab.statistics import factor_interval, mean_interval
from descentlab.studies.ormaniec2024_hessian.recorded import PAPER, PUBLISHED
from descentlab.studies.ormaniec2024_hessian.setting import matrices, sized
from descentlab.study import Section, Size
from descentlab.sweep import Progress, Request

WIDTH = 16
BLOCKS = ("query", "key", "value", "output")
SCORES, VALUES = BLOCKS[:2], BLOCKS[2:]
"""Blocks inside the attention weights, and those outside."""


@dataclasses.dataclass(frozen=True)
class Entries:
    """The Hessian of one kernel.

    Attributes:
        sizes: parameters by block, in the order of rows.
        hessians: axes seed, row and column.
    """

    sizes: Mapping[str, int]
    hessians: np.ndarray

    def of(self, block: str) -> np.ndarray:
        """Sizes of the entries of a diagonal block, one row a seed; none is zero."""
        names = list(self.sizes)
        edges = np.cumsum([0, *self.sizes.values()])
        inside = slice(*edges[names.index(block) : names.index(block) + 2])
        found = np.abs(self.hessians[:, inside, inside])
        return found.reshape(found.shape[0], -1)


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Each kernel, and linear attention beside them."""
    seeds = tuple(range(2 if size == Size.SMOKE else 20 if size == Size.PAPER else 8))
    width = 4 if size == Size.SMOKE else WIDTH
    small = {"trained": BLOCKS, "model.embedding": matrices(width)} | sized(width)
    linear = bases[0].changed({"model.attention": Linear()})
    experiments = {case_of(one): one.changed(small) for one in (*(bases[:1] if size == Size.SMOKE else bases), linear)}
    return {"start": [Request(one, seeds) for one in experiments.values()]}


def derive(runs: Runs, size: Size, progress: Progress | None) -> dict[str, Entries]:
    """The whole Hessian of every kernel and seed."""
    del size
    found, done, total = {}, 0, sum(len(run.trajectory.seeds) for run in runs["start"])
    for run in runs["start"]:
        hessians, lanes = [], run.lanes()
        with arithmetic(run.experiment.precision):
            for lane in lanes:
                hessians.append(np.asarray(Hessian(lane.objective, lane.start).dense()))
                done += 1
                if progress is not None:
                    progress(done, total, "")
        sizes = {block: getattr(lanes[0].start.layers[0], block).size for block in BLOCKS}
        found[case_of(run.experiment)] = Entries(sizes, np.stack(hessians))
    return found


def _log_medians(entries: Entries, *blocks: str) -> np.ndarray:
    """Logarithms of the medians, averaged over blocks, one a seed."""
    return np.mean([np.log(np.median(entries.of(block), axis=1)) for block in blocks], axis=0)


def _apart(case: str, source: str) -> Statement:
    """How far the blocks lie apart."""

    @claim(
        "apart-{case}",
        "The median |entry| of value and output blocks is at least 10 times that of query and key blocks",
        source,
        cases=(case,),
    )
    def apart(about: About, entries: Entries) -> Claim:
        return at_least(about.noting(_medians(entries)), factor_interval(np.exp(_gap(entries))), 10.0)

    return apart


APART = (_apart("softmax", f"{PAPER}, figure 1"), _apart("gaussian", "measured"))


def _gap(entries: Entries) -> np.ndarray:
    """Logarithm of the blocks outside the attention weights over those inside, one a seed."""
    return _log_medians(entries, *VALUES) - _log_medians(entries, *SCORES)


def _medians(entries: Entries) -> str:
    medians = ", ".join(f"{block} {np.exp(_log_medians(entries, block).mean()):.2g}" for block in BLOCKS)
    return f"Medians of |entry|: {medians}."


@claim(
    "apart-{case}",
    "With linear attention the median |entry| of value and output blocks is within a factor 2 of that of query and key "
    "blocks",
    f"{PAPER}, on linear attention",
    cases=("linear",),
)
def alike(about: About, entries: Entries) -> Claim:
    """Where scores are linear the blocks are alike."""
    return close(about.noting(_medians(entries)), mean_interval(_gap(entries)), 0.0, tolerance=np.log(2))


@claim("largest-value", "Entries of value and output blocks reach 1e-3", f"{PAPER}, figure 1", cases=("softmax",))
def largest(about: About, entries: Entries) -> Claim:
    """What entries reach in the picture."""
    return at_least(about, [factor_interval(entries.of(block).max(axis=1)) for block in VALUES], 1e-3)


@claim(
    "median-query",
    "Half of the entries of query and key blocks are below 1e-6",
    f"{PAPER}, figure 1",
    cases=("softmax",),
)
def median(about: About, entries: Entries) -> Claim:
    """What most of them are."""
    return below(about, [factor_interval(np.exp(_log_medians(entries, block))) for block in SCORES], 1e-6)


def _mode(block: str) -> Statement:
    """The most frequent size against that of the one published draw."""
    published = float(PUBLISHED.of(table="most frequent entry", block=block).values[0])

    @claim(
        f"mode-{block}",
        f"The published most frequent |entry| of the {block} block, {published:g}, lies where 95 % of draws do",
        f"{PAPER}, figure 4, read off the plot",
        cases=("softmax",),
    )
    def mode(about: About, entries: Entries) -> Claim:
        modes = mean_interval([_most_frequent(sizes) for sizes in entries.of(block)])
        single = modes.error * np.sqrt(1 + entries.hessians.shape[0])
        about = about.noting(
            f"Measured: {np.exp(modes.value):.2g}, one draw within a factor {np.exp(single):.2g}. Logarithms are "
            "compared."
        )
        return close(about, np.log(published), modes.value, tolerance=single)

    return mode


def _most_frequent(sizes: np.ndarray) -> float:
    counts, edges = np.histogram(np.log(sizes[sizes > 0]), 40)
    return float(edges[counts.argmax() : counts.argmax() + 2].mean())


def _moved(linear: Entries, softmax: Entries, block: str) -> np.ndarray:
    """Logarithm of what linear attention does to the median of a block, one a seed."""
    return _log_medians(linear, block) - _log_medians(softmax, block)


@claim(
    "linear-query",
    "Linear attention raises the median |entry| of the query block at least tenfold",
    f"{PAPER}, figure 4",
    between=("linear", "softmax"),
)
def linear_query(about: About, linear: Entries, softmax: Entries) -> Claim:
    """What linear attention does to the query block."""
    return at_least(about, factor_interval(np.exp(_moved(linear, softmax, "query"))), 10.0)


@claim(
    "linear-value",
    "Linear attention changes the median |entry| of the value block by a factor 2 at most",
    f"{PAPER}, figure 4",
    between=("linear", "softmax"),
)
def linear_value(about: About, linear: Entries, softmax: Entries) -> Claim:
    """And to the value block."""
    moved = _moved(linear, softmax, "value")
    about = about.noting(f"The factor is {np.exp(moved.mean()):.3g}; logarithms are compared.")
    return close(about, mean_interval(moved), 0.0, tolerance=np.log(2))


def _matrix(kernel: str, found: Mapping[str, Entries]) -> go.Figure:
    if kernel not in found:
        return go.Figure()
    return block_matrix(f"Hessian, {kernel}", found[kernel].hessians[0], found[kernel].sizes, floor=1e-8)


def softmax(found: Mapping[str, Entries]) -> go.Figure:
    """The Hessian with softmax attention.

    Sizes of entries at the start, one layer of width 16 (seed 0; cells are geometric means of 4 x 4 entries). Blocks of
    query and key with each other are dark: moves of the attention weights hardly bend the loss.
    """
    return _matrix("softmax", found)


def gaussian(found: Mapping[str, Entries]) -> go.Figure:
    """The Hessian with the Gaussian kernel.

    The same draw. Rows of attention are not normalised, which raises all blocks; the contrast between them stays.
    """
    return _matrix("gaussian", found)


def linear(found: Mapping[str, Entries]) -> go.Figure:
    """The Hessian with linear attention.

    The same draw. All blocks have entries of one size.
    """
    return _matrix("linear", found)


def histograms(found: Mapping[str, Entries]) -> go.Figure:
    """Sizes of the entries of the query and of the value block.

    All seeds together; entries below 1e-9 are left out.
    """
    samples = {
        f"{kernel}, {block}": entries.of(block).ravel()
        for kernel, entries in found.items()
        for block in ("value", "query")
    }
    kept = {label: sizes[sizes > 1e-9] for label, sizes in samples.items()}
    return distributions("Sizes of entries", ChartAxis("|entry|", "log"), kept, bins=80)


STATEMENTS = (*APART, alike, largest, median, _mode("value"), _mode("query"), linear_query, linear_value)

section = Section("heterogeneity", requests, STATEMENTS, (softmax, gaussian, linear, histograms), derive)

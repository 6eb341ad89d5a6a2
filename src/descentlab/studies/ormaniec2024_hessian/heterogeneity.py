"""The Hessian of one small layer, entry by entry: how far its blocks lie apart, kernel by kernel."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab._arithmetic import arithmetic
from descentlab.attention import Linear
from descentlab.claims import About, Claim, at_least, below, close
from descentlab.curvature import Hessian
from descentlab.experiment import Experiment
from descentlab.plots.bars import distributions
from descentlab.plots.curves import ChartAxis
from descentlab.plots.matrices import block_matrix
from descentlab.runs import Runs
from descentlab.statistics import factor_interval, mean_interval
from descentlab.studies.ormaniec2024_hessian.published import LARGEST, MODES, SOURCE
from descentlab.studies.ormaniec2024_hessian.setting import matrices, sized
from descentlab.studies.song2024_convergence.kernels import name
from descentlab.studies.song2024_query.setting import changed
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
    kernels = [*bases[:1], _linear(bases[0])] if size == Size.SMOKE else [*bases, _linear(bases[0])]
    experiments = {name(one): changed(one, small) for one in kernels}
    return {"start": [Request(one, seeds) for one in experiments.values()]}


def _linear(base: Experiment) -> Experiment:
    return changed(base, {"model.attention": Linear()})


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
        found[name(run.experiment)] = Entries(sizes, np.stack(hessians))
    return found


def _log_medians(entries: Entries, *blocks: str) -> np.ndarray:
    """Logarithms of the medians, averaged over blocks, one a seed."""
    return np.mean([np.log(np.median(entries.of(block), axis=1)) for block in blocks], axis=0)


def claims(found: Mapping[str, Entries]) -> list[Claim]:
    """Claim 6 of the specification, and what the picture shows."""
    made = [_apart(kernel, found[kernel]) for kernel in found if kernel in {"softmax", "gaussian", "linear"}]
    if "softmax" in found:
        made += [*_picture(found["softmax"]), *(_mode(block, found["softmax"]) for block in MODES)]
    if {"softmax", "linear"} <= set(found):
        made += _moved(found["softmax"], found["linear"])
    return made


def _apart(kernel: str, entries: Entries) -> Claim:
    """How far the blocks lie apart."""
    logs = _log_medians(entries, *VALUES) - _log_medians(entries, *SCORES)
    medians = ", ".join(f"{block} {np.exp(_log_medians(entries, block).mean()):.2g}" for block in BLOCKS)
    said = f"Medians of |entry|: {medians}."
    if kernel == "linear":
        about = About(
            "apart-linear",
            "With linear attention the median |entry| of value and output blocks is within a factor 2 of that of "
            "query and key blocks",
            f"{SOURCE}, on linear attention",
            kernel,
            said,
        )
        return close(about, mean_interval(logs), 0.0, tolerance=np.log(2))
    about = About(
        f"apart-{kernel}",
        "The median |entry| of value and output blocks is at least 10 times that of query and key blocks",
        f"{SOURCE}, figure 1" if kernel == "softmax" else "measured",
        kernel,
        said,
    )
    return at_least(about, factor_interval(np.exp(logs)), 10.0)


def _picture(entries: Entries) -> list[Claim]:
    """What entries reach in the picture."""
    largest = [factor_interval(entries.of(block).max(axis=1)) for block in VALUES]
    medians = [factor_interval(np.exp(_log_medians(entries, block))) for block in SCORES]
    figure = f"{SOURCE}, figure 1"
    reach = About("largest-value", "Entries of value and output blocks reach 1e-3", figure, "softmax")
    small = About("median-query", "Half of the entries of query and key blocks are below 1e-6", figure, "softmax")
    return [at_least(reach, largest, LARGEST), below(small, medians, 1e-6)]


def _mode(block: str, entries: Entries) -> Claim:
    """The most frequent size against that of the one published draw."""
    modes = mean_interval([_most_frequent(sizes) for sizes in entries.of(block)])
    single = modes.error * np.sqrt(1 + entries.hessians.shape[0])
    about = About(
        f"mode-{block}",
        f"The published most frequent |entry| of the {block} block, {MODES[block]:g}, lies where 95 % of draws do",
        f"{SOURCE}, figure 4, read off the plot",
        "softmax",
        f"Measured: {np.exp(modes.value):.2g}, one draw within a factor {np.exp(single):.2g}. Logarithms are compared.",
    )
    return close(about, np.log(MODES[block]), modes.value, tolerance=single)


def _most_frequent(sizes: np.ndarray) -> float:
    counts, edges = np.histogram(np.log(sizes[sizes > 0]), 40)
    return float(edges[counts.argmax() : counts.argmax() + 2].mean())


def _moved(softmax: Entries, linear: Entries) -> list[Claim]:
    """What linear attention does to the medians, seed by seed."""
    query, value = (_log_medians(linear, block) - _log_medians(softmax, block) for block in ("query", "value"))
    source = f"{SOURCE}, figure 4"
    return [
        at_least(
            About(
                "linear-query", "Linear attention raises the median |entry| of the query block at least tenfold", source
            ),
            factor_interval(np.exp(query)),
            10.0,
        ),
        close(
            About(
                "linear-value",
                "Linear attention changes the median |entry| of the value block by a factor 2 at most",
                source,
                None,
                f"The factor is {np.exp(value.mean()):.3g}; logarithms are compared.",
            ),
            mean_interval(value),
            0.0,
            tolerance=np.log(2),
        ),
    ]


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
    samples = {f"{kernel}, {block}": entries.of(block).ravel() for kernel, entries in found.items() for block in MODES}
    kept = {label: sizes[sizes > 1e-9] for label, sizes in samples.items()}
    return distributions("Sizes of entries", ChartAxis("|entry|", "log"), kept, bins=80)


section = Section("heterogeneity", requests, claims, (softmax, gaussian, linear, histograms), derive)

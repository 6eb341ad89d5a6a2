"""The modelled accelerator: intensities, latency, memories, fusion."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, above, at_least, below, claim, close
from descentlab.cost.accelerator import Accelerator, latency, local_bytes, main_bytes
from descentlab.cost.fusion import Pair, pair
from descentlab.cost.operators import Elementwise, Matmul, Operator, total
from descentlab.cost.transformer import KERNELS
from descentlab.plots import Axis, Reached, add_line, lines, roofline
from descentlab.plots.style import PALETTE
from descentlab.runs import Runs
from descentlab.studies.kim2023_inference.counts import GROUPS, LENGTHS, PAPER, PRINTED, TABLED, drawn, model, operators
from descentlab.studies.kim2023_inference.tables import FITTED
from descentlab.study import Section, Size, untrained
from descentlab.sweep import Progress

MACHINE = Accelerator()
KB = 2**10
SOURCE = f"{PAPER}section 5"

COLUMNS = (("query", "key", "value"), ("scores",), ("mixing",), ("output",), ("ffn in",), ("ffn out",))
"""Operators of the columns of Table 5; the last column is all of them."""

Fused = Sequence[Mapping[str, Pair]]
"""Pairs that may be fused by the product's name, at lengths 512 and 4096."""


def pairs(kernel: str = "softmax", accumulator: int = 256, preload: int | None = None) -> Fused:
    """What fusing saves; tiles load into the array in as many cycles as it has rows, or in so many."""
    machine = dataclasses.replace(
        MACHINE, accumulator=accumulator * KB, preload=MACHINE.array if preload is None else preload
    )
    kind = dataclasses.replace(model("bert-base"), kernel=KERNELS[kernel])
    found = [{one.name: one for one in operators(kind, length)} for length in (512, 4096)]
    after = {"scores": kernel, "output": "norm attention", "ffn out": "norm ffn"}
    return [
        {
            name: pair(machine, first, second)
            for name, other in after.items()
            if isinstance(first := named[name], Matmul) and isinstance(second := named[other], Elementwise)
        }
        for named in found
    ]


def derive(runs: Runs, size: Size, progress: Progress | None) -> Mapping[str, Fused]:
    """What fusing saves by kernel."""
    del runs, size, progress
    return {kernel: pairs(kernel) for kernel in ("softmax", "gaussian")}


def _saved(fused: Fused, product: str) -> np.ndarray:
    return np.array([found[product].saved for found in fused])


def _flops(found: Sequence[Operator]) -> float:
    return float(total(found, "flops"))


def achieved(length: int) -> list[float]:
    """Operations a byte of DRAM for each column of Table 5."""
    found = operators(model("bert-base"), length)
    groups = [[one for one in found if one.name in names] for names in COLUMNS]
    return [_flops(group) / sum(float(np.sum(main_bytes(MACHINE, one))) for one in group) for group in (*groups, found)]


@claim(
    "table-5",
    f"Intensities with the accelerator's memories are those of Table 5: 20 of 21 cells to all digits; {FITTED}",
    f"{PAPER}Table 5",
)
def table_5(about: About, _: object) -> Claim:
    """Every cell of the table."""
    table = PRINTED.of(source="Table 5")
    tolerance = 0.51 * np.minimum(2 * table.errors, 1e-3)
    tolerance[0] = 3.5e-3
    about = about.noting("The cell of queries, keys and values at 128, printed 170.670, is met within 0.0035.")
    return close(about, np.concatenate([achieved(length) for length in TABLED]), table.values, tolerance=tolerance)


class Curve(NamedTuple):
    """Models in a figure, the last one's name, and per cent to which they are met."""

    name: str
    of: str
    percent: float
    detail: str = ""


LACKING = "The printed curve of BERT-Large seems to lack one projection a layer, as in figure 4."
CURVES = (Curve("gpt2", "bert-base and gpt2", 4), Curve("bert-large", "bert-large", 12, LACKING))


def relative_latency(name: str) -> np.ndarray:
    """Latency at every length, in units of that of BERT-Base at 128."""
    unit = latency(MACHINE, operators(model("bert-base"), 128))
    return np.array([float(latency(MACHINE, operators(model(name), length)) / unit) for length in LENGTHS])


@claim(
    "latency-{curve.name}",
    "The modelled latency of {curve.of} is that of figure 32 within {curve.percent:g} % or rounding",
    f"{PAPER}figure 32",
    over={"curve": CURVES},
)
def latency_as_printed(about: About, _: object, curve: Curve) -> Claim:
    """Every point of the figure."""
    names = curve.of.split(" and ")
    printed, error = drawn("32", *names)
    ours = np.stack([relative_latency(name) for name in names])
    tolerance = np.maximum(curve.percent / 100 * printed, error)
    return close(about.noting(curve.detail), ours, printed, tolerance=tolerance)


class Balance(NamedTuple):
    """Bytes moved locally and cycles of the products of BERT-Base at 512."""

    moved: float
    time: float


def balance(scratchpad: int, accumulator: int) -> Balance:
    """The products with memories of so many kB."""
    machine = dataclasses.replace(MACHINE, scratchpad=scratchpad * KB, accumulator=accumulator * KB)
    products = [one for one in operators(model("bert-base"), 512) if isinstance(one, Matmul)]
    moved = sum(float(np.sum(local_bytes(machine, one))) for one in products)
    return Balance(moved, float(latency(machine, products)))


@claim(
    "balance-traffic",
    "Scratchpad and accumulator of 64 and 256 kB instead of 256 and 64 cut local traffic by at least 25 %",
    f"derived from {PAPER}section 3.4",
)
def balance_traffic(about: About, _: object) -> Claim:
    """The same memory, more of it for results."""
    before, after = balance(256, 64).moved, balance(64, 256).moved
    about = about.noting(
        f"{before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after, in products of BERT-Base at 512."
    )
    return at_least(about, 1 - after / before, 0.25)


@claim(
    "balance-overlap",
    "The latency of the perfectly overlapped model moves by less than 1 %",
    f"derived from {PAPER}section 3.4",
)
def balance_overlap(about: About, _: object) -> Claim:
    """Where moving hides behind arithmetic."""
    gain = 1 - balance(64, 256).time / balance(256, 64).time
    return below(about.noting("Its products are bound by arithmetic."), abs(gain), 0.01)


@claim(
    "balance-latency",
    "The same change lowers the latency of products by 36 %, within 4 points",
    f"{PAPER}section 3.4",
)
def balance_latency(about: About, _: object) -> Claim:
    """What the survey measured."""
    about = about.noting(
        "The survey measured a generated accelerator, whose arithmetic and moving do not overlap perfectly."
    )
    return close(about, 1 - balance(64, 256).time / balance(256, 64).time, 0.36, tolerance=0.04)


def _loading(about: About, saved: np.ndarray) -> About:
    """With the parts that are saved."""
    said = " and ".join(f"{100 * part:.0f} %" for part in saved)
    return about.noting(
        f"Tiles take 16 cycles to load into the array; accumulator 256 kB. Parts saved at 512 and 4096: {said}."
    )


@claim("fuse-softmax", "Fusing scores with softmax saves latency at 512 and 4096", SOURCE)
def fuse_softmax(about: About, fused: Mapping[str, Fused]) -> Claim:
    """Scores with softmax."""
    saved = _saved(fused["softmax"], "scores")
    return above(_loading(about, saved), saved, 0.0)


@claim(
    "fuse-norm",
    "Fusing the second feed-forward product with LayerNorm costs latency at 512 and 4096",
    SOURCE,
)
def fuse_norm(about: About, fused: Mapping[str, Fused]) -> Claim:
    """The feed-forward part with LayerNorm."""
    saved = _saved(fused["softmax"], "ffn out")
    return below(_loading(about, saved), saved, 0.0)


@claim("fuse-norm-overlapped", "It costs latency also where tiles load in no time", f"derived from {SOURCE}")
def fuse_norm_overlapped(about: About, _: object) -> Claim:
    """The same without the cost of loading."""
    about = about.noting("Then nothing speaks against holding whole columns: fusing saves the traffic of the result.")
    return below(about, _saved(pairs(preload=0), "ffn out"), 0.0)


@claim(
    "fuse-sizes",
    "Savings are those printed, within 10 points: scores 78 and 22 %, output -83 % at 128 kB and 4 % at 256 kB, "
    "feed-forward -27 %",
    SOURCE,
)
def fuse_sizes(about: About, fused: Mapping[str, Fused]) -> Claim:
    """What the survey measured."""
    scores, output, ffn = (_saved(fused["softmax"], name) for name in ("scores", "output", "ffn out"))
    ours = [*scores, _saved(pairs(accumulator=128), "output")[0], output[0], *ffn]
    expected = [0.78, 0.22, -0.83, 0.04, -0.27, -0.27]
    return close(about.noting("The survey measured a generated accelerator."), ours, expected, tolerance=0.1)


@claim(
    "fuse-{case}",
    "Scores fused with the Gaussian kernel take less than scores fused with softmax at 512 and 4096",
    "ours, on the survey's model",
    cases=("gaussian",),
)
def fuse_gaussian(about: About, fused: Fused) -> Claim:
    """A kernel without sums of rows."""
    about = about.noting(
        "Its rows are not summed, so one pass over any tile does. Not fused, both are bound by moving the same scores."
    )
    ours, theirs = (np.array([one["scores"].fused for one in some]) for some in (fused, pairs("softmax")))
    return below(about, ours / theirs, 1.0)


def roofs(_: object) -> go.Figure:
    """Operators of BERT-Base under the roofline of the accelerator.

    Length 512, at the rate of the model. Products reach the roof, nonlinear operators lie below it: what they read
    comes in the width of the accumulator and passes two memories. Their operations are fitted to the survey's tables.
    """
    found = operators(model("bert-base"), 512)
    points = []
    for group in GROUPS[:-1]:
        chosen = [one for one in found if one.group == group]
        times = [float(latency(MACHINE, [one])) / MACHINE.clock for one in chosen]
        rates = [_flops([one]) / time for one, time in zip(chosen, times, strict=True)]
        intensities = [_flops([one]) / float(total([one], "moved")) for one in chosen]
        points.append(Reached(str(group), [one.name for one in chosen], intensities, rates))
    peak = 2 * MACHINE.array**2 * MACHINE.clock
    return roofline("", peak, MACHINE.dram_rate * MACHINE.clock, points)


def latencies(_: object) -> go.Figure:
    """Latency against length on the modelled accelerator.

    In units of BERT-Base at 128, which takes 48 ms at 1 GHz. Dashed: as printed.
    """
    chart = lines("", Axis("length", "log"), Axis("latency relative to BERT-Base at 128", "log"))
    for at, name in enumerate(("bert-base", "bert-large", "gpt2")):
        lengths, color = np.array(LENGTHS), PALETTE[at]
        add_line(chart, lengths, relative_latency(name), name, color=color, dash="solid")
        add_line(chart, lengths, drawn("32", name)[0][0], f"{name}, printed", color=color)
    return chart


STATEMENTS = (
    table_5, latency_as_printed, balance_traffic, balance_overlap, balance_latency, fuse_softmax, fuse_norm,
    fuse_norm_overlapped, fuse_sizes, fuse_gaussian,
)  # fmt: skip

section = Section("accelerator", untrained, STATEMENTS, (roofs, latencies), derive)

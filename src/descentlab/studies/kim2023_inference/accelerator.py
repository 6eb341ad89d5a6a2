"""The modelled accelerator: intensities, latency, memories; what fusing saves is in `fusion`."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, at_least, below, claim, close
from descentlab.cost.accelerator import Accelerator, latency, local_bytes, main_bytes
from descentlab.cost.operators import Matmul, Operator, total
from descentlab.plots import ChartAxis, Reached, add_line, lines, roofline
from descentlab.plots.style import PALETTE
from descentlab.studies.kim2023_inference import fusion
from descentlab.studies.kim2023_inference.counts import GROUPS, LENGTHS, PAPER, PRINTED, TABLED, drawn, model, operators
from descentlab.studies.kim2023_inference.tables import FITTED
from descentlab.study import Section, untrained

MACHINE = Accelerator()
KB = 2**10

COLUMNS = (("query", "key", "value"), ("scores",), ("mixing",), ("output",), ("ffn in",), ("ffn out",))
"""Operators of the columns of Table 5; the last column is all of them."""


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
    about = about.noting(f"{before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after, in products of BERT-Base at 512.")
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
    chart = lines("", ChartAxis("length", "log"), ChartAxis("latency relative to BERT-Base at 128", "log"))
    for at, name in enumerate(("bert-base", "bert-large", "gpt2")):
        lengths, color = np.array(LENGTHS), PALETTE[at]
        add_line(chart, lengths, relative_latency(name), name, color=color, dash="solid")
        add_line(chart, lengths, drawn("32", name)[0][0], f"{name}, printed", color=color)
    return chart


STATEMENTS = (table_5, latency_as_printed, balance_traffic, balance_overlap, balance_latency, *fusion.STATEMENTS)

section = Section("accelerator", untrained, STATEMENTS, (roofs, latencies), fusion.derive)

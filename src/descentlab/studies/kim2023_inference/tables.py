"""Operations, bytes and intensities against the survey's tables and figures."""

from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, above, below, claim, close
from descentlab.cost.operators import Matmul, total
from descentlab.cost.presets import resnet50
from descentlab.plots import ChartAxis, add_line, lines, stacked_bars
from descentlab.plots.style import PALETTE
from descentlab.runs import Runs
from descentlab.studies.kim2023_inference import counts
from descentlab.studies.kim2023_inference.counts import GROUPS, LENGTHS, PAPER, TABLED, Table, counted, drawn
from descentlab.study import Section, untrained

FITTED = "operations of GELU and LayerNorm fitted"
"""What a claim says whose numbers contain the two coefficients that were chosen to meet the tables."""

MOVED = "entries moved by nonlinear operators fitted"
"""What a claim says whose numbers contain an encoder's 17 entries a token and column, where the definition gives 18."""

BOTH = "operations and entries of nonlinear operators fitted"


TABLES = (Table("3", "bert-base", BOTH), Table("10", "four heads", BOTH), Table("11", "gpt2", FITTED))


@claim(
    "table-{table.number}",
    "Every cell of Table {table.number} ({table.of}) is met to within one of its last digit, slips in print left out; "
    "{table.fitted}",
    f"{PAPER}Table {{table.number}}",
    over={"table": TABLES},
)
def tabled(about: About, _: Runs, table: Table) -> Claim:
    """Every cell of a table."""
    ours, theirs, slips = table.cells()
    about = about.noting(
        f"{int((slips != '').sum())} of {slips.size} cells are slips. The numbers are in units of the last digit."
    )
    return close(about, ours, theirs, tolerance=1.0, where=slips == "")


@claim("slips", f"The four cells left out are right too; {MOVED}", f"{PAPER}Tables 3, 10, 11")
def slips(about: About, _: Runs) -> Claim:
    """What is printed in the cells that are left out of the other claims."""
    ours, theirs, words = (np.concatenate(part) for part in zip(*(table.cells() for table in TABLES), strict=True))
    unit = np.concatenate([2 * counts.PRINTED.of(source=f"Table {table.number}").errors for table in TABLES])
    left = words != ""
    said = "; ".join(
        f"{text}: {value:.4g} printed, {count:.4g} counted"
        for text, value, count in zip(words[left], (theirs * unit)[left], (ours * unit)[left], strict=True)
    )
    return close(about.noting(f"{said}."), ours, theirs, tolerance=1.0, where=left)


class Curves(NamedTuple):
    """A figure of the survey: its number, quantity, models, and what is fitted in it."""

    number: str
    quantity: str
    of: str
    fitted: str


FIGURES = (Curves("4", "flops", "bert-base, gpt2", FITTED), Curves("5", "moved", "bert-base, bert-large, gpt2", MOVED))


@claim(
    "figure-{figure.number}",
    "Every point of figure {figure.number} for {figure.of} is met within 1 % or its rounding; {figure.fitted}",
    f"{PAPER}figure {{figure.number}}",
    over={"figure": FIGURES},
)
def figured(about: About, _: Runs, figure: Curves) -> Claim:
    """Every point of a figure."""
    names = figure.of.split(", ")
    printed, error = drawn(figure.number, *names)
    ours = np.stack([counts.curve(name, figure.quantity) for name in names])
    return close(about, ours, printed, tolerance=np.maximum(0.01 * printed, error))


def _large(about: About, counted_: np.ndarray) -> Claim:
    (printed,), (error,) = drawn("4", "bert-large")
    return close(about, counted_, printed, tolerance=np.maximum(0.005 * printed, error))


@claim(
    "large-without",
    f"BERT-Large as printed is the count without one d x d projection a layer, within 0.5 %; {FITTED}",
    f"{PAPER}figure 4",
)
def large_without(about: About, _: Runs) -> Claim:
    """BERT-Large: its printed curve lacks one projection a layer."""
    model = counts.model("bert-large")
    less = 2 * model.layers * model.width**2 * np.array(LENGTHS) / 1e9
    return _large(about, counts.curve("bert-large", "flops") - less)


@claim(
    "large",
    f"BERT-Large as printed is the count of the shape that Table 1 gives, within 0.5 %; {FITTED}",
    f"{PAPER}figure 4",
)
def large(about: About, _: Runs) -> Claim:
    """BERT-Large as it is."""
    ours = counts.curve("bert-large", "flops")
    return _large(about.noting(f"Counted: {', '.join(f'{value:.4g}' for value in ours)} billions."), ours)


def _intensities(name: str) -> np.ndarray:
    return counts.curve(name, "flops") / counts.curve(name, "moved")


@claim("peak", f"The intensity of BERT-Base is largest at 512 of the six lengths; {BOTH}", f"{PAPER}figure 6")
def peak(about: About, _: Runs) -> Claim:
    """Where weights are used best."""
    base, others = _intensities("bert-base"), np.asarray(LENGTHS) != 512
    return above(about, base[~others], base, where=others)


@claim(
    "gpt2-intensity",
    f"The intensity of GPT-2 is between 1.98 and 2.01 at every length; {FITTED}",
    f"{PAPER}figure 6",
)
def gpt2_intensity(about: About, _: Runs) -> Claim:
    """Two operations a byte."""
    return close(about, _intensities("gpt2"), 1.995, tolerance=0.015)


@claim(
    "other-flops",
    f"Nonlinear operators of BERT-Base are below 1 % of its FLOPs up to length 4096; {FITTED}",
    f"{PAPER}Table 3",
)
def other_flops(about: About, _: Runs) -> Claim:
    """Hardly any arithmetic."""
    return below(about, np.array([counted("bert-base", length)[3, 3] for length in LENGTHS]), 1.0)


@claim("other-bytes", f"They are 18, 37 and 49 % of its bytes at 128, 512 and 4096; {MOVED}", f"{PAPER}Table 3")
def other_bytes(about: About, _: Runs) -> Claim:
    """But much of the traffic."""
    shares = np.array([counted("bert-base", length)[3, 4] for length in TABLED])
    return close(about, shares, np.array([18.0, 37.0, 49.0]), tolerance=1.0)


@claim(
    "heads-bytes",
    "Four heads move 1.5, 2.1 and 2.8 times fewer bytes in attention than twelve",
    f"{PAPER}Tables 3 and 10",
)
def heads_bytes(about: About, _: Runs) -> Claim:
    """The traffic of heads."""
    twelve, four = (np.array([counted(name, n)[1, 1] for n in TABLED]) for name in ("bert-base", "four heads"))
    return close(about, twelve / four, np.array([1.5, 2.1, 2.8]), tolerance=0.05)


@claim(
    "heads-intensity",
    f"At 4096 they raise the total intensity from 117.96 to 276.00; {BOTH}",
    f"{PAPER}Tables 3 and 10",
)
def heads_intensity(about: About, _: Runs) -> Claim:
    """The intensity with few heads."""
    ours = np.array([counted(name, TABLED[-1])[4, 2] for name in ("bert-base", "four heads")])
    return close(about, ours, np.array([117.96, 276.00]), tolerance=0.01)


@claim(
    "resnet-each",
    "Every kind of convolution of ResNet-50 has the intensity of Table 12, to one of its last digit",
    f"{PAPER}Table 12",
)
def resnet_each(about: About, _: Runs) -> Claim:
    """The contrast: convolutions."""
    found, table = {one.name: one for one in resnet50()}, counts.PRINTED.of(source="Table 12")
    chosen = [one for name in table.column("row") if isinstance(one := found[name], Matmul)]
    ours, unit = np.array([float(one.flops / one.moved) for one in chosen]), 2 * table.errors
    return close(about, ours / unit, table.values / unit, tolerance=1.0)


@claim(
    "resnet-whole",
    "Convolutions of ResNet-50 take the 7.26 billion FLOPs of Table 4, within 1 %",
    f"{PAPER}Table 4",
)
def resnet_whole(about: About, _: Runs) -> Claim:
    """All of them."""
    about = about.noting(
        "Rows of Table 12 leave out the first block of a stage or count it as a later one, and the shortcuts."
    )
    return close(about, float(total(resnet50(), "flops", "convolution")) / 1e9, 7.26, tolerance=0.0726)


def intensity(_: Runs) -> go.Figure:
    """Operations a byte against length.

    BERT-Base and BERT-Large use their weights better the longer the sequence, until scores, which grow with its square,
    take over. Generating token by token reads every weight for every token: two operations a byte, at any length. With
    four heads instead of twelve there are fewer scores. Operations and entries of nonlinear operators are fitted to the
    survey's tables.
    """
    chart = lines("", ChartAxis("length", "log"), ChartAxis("operations a byte", "log"))
    for at, name in enumerate(("bert-base", "bert-large", "gpt2", "four heads")):
        add_line(chart, np.array(LENGTHS), _intensities(name), name, color=PALETTE[at], dash="solid")
    return chart


def shares(_: Runs) -> go.Figure:
    """Where operations and bytes go.

    BERT-Base. Nonlinear operators need hardly any arithmetic but move up to half of the bytes; what joins them at long
    sequences is attention. Their own operations and entries are fitted to the survey's tables.
    """
    names = [f"{length}, {what}" for length in TABLED for what in ("FLOPs", "bytes")]
    rows = np.concatenate([counted("bert-base", length)[:4, 3:].T for length in TABLED])
    return stacked_bars("", "percent", names, {str(group): rows[:, at] for at, group in enumerate(GROUPS[:4])})


STATEMENTS = (
    tabled, slips, figured, large_without, large, peak, gpt2_intensity, other_flops, other_bytes, heads_bytes,
    heads_intensity, resnet_each, resnet_whole,
)  # fmt: skip

section = Section("tables", untrained, STATEMENTS, (intensity, shares))

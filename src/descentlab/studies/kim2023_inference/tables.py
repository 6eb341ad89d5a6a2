"""Operations, bytes and intensities against the survey's tables and figures."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, above, below, close
from descentlab.cost.operators import Matmul, Operator, total
from descentlab.cost.presets import resnet50, transformer
from descentlab.cost.transformer import Transformer, encoder, generation
from descentlab.plots import Axis, add_line, lines, stacked_bars
from descentlab.plots.style import PALETTE
from descentlab.runs import Runs
from descentlab.studies.kim2023_inference import printed
from descentlab.study import Section, untrained

PAPER = "Kim et al. (2023), "

FITTED = "operations of GELU and LayerNorm fitted"
"""What a claim says whose numbers contain the two coefficients that were chosen to meet the tables."""

MOVED = "entries moved by nonlinear operators fitted"
"""What a claim says whose numbers contain an encoder's 17 entries a token and column, where the definition gives 18."""

BOTH = "operations and entries of nonlinear operators fitted"


def operators(model: Transformer, length: int) -> list[Operator]:
    """One pass, or the generation of so many tokens by a causal model."""
    return generation(model, length) if model.causal else encoder(model, length)


def model(name: str) -> Transformer:
    """A preset; *four heads* is BERT-Base with four."""
    return dataclasses.replace(transformer("bert-base"), heads=4) if name == "four heads" else transformer(name)


def counted(name: str, length: int) -> np.ndarray:
    """What a table prints for one length: classes of operators by billions, intensity and percent."""
    found = operators(model(name), length)
    flops, moved = (
        np.array([float(total(found, quantity, group)) for group in printed.ROWS]) for quantity in ("flops", "moved")
    )
    columns = [flops / 1e9, moved / 1e9, flops / moved, 100 * flops / flops[-1], 100 * moved / moved[-1]]
    return np.stack(columns, axis=1)


def curve(name: str, quantity: str) -> np.ndarray:
    """Billions of operations or bytes at every length of the figures."""
    return np.array([float(total(operators(model(name), length), quantity)) / 1e9 for length in printed.LENGTHS])


def claims(runs: Runs) -> list[Claim]:
    """Claims 1, 2, 3, 6, 7."""
    del runs
    tables = {
        "3": ("bert-base", printed.TABLE_3),
        "10": ("four heads", printed.TABLE_10),
        "11": ("gpt2", printed.TABLE_11),
    }
    cells = {number: _cells(number, *table) for number, table in tables.items()}
    return [
        *(_table(number, tables[number][0], cells[number]) for number in tables),
        _slips(cells),
        *_figures(),
        *_large(),
        *_intensities(),
        *_shares(),
        *_heads(),
        *_convolutions(),
    ]


def _cells(number: str, name: str, texts: dict[int, str]) -> tuple[np.ndarray, ...]:
    """Counted, printed, unit and whether it is a slip, one entry a cell."""
    counts = np.stack([counted(name, length) for length in texts])
    read = [printed.read(text) for text in texts.values()]
    slips = np.zeros(counts.shape, dtype=bool)
    for table, length, row, column in printed.SLIPS:
        if table == number:
            slips[list(texts).index(length), row, column] = True
    return counts, np.stack([one for one, _ in read]), np.stack([unit for _, unit in read]), slips


def _table(number: str, name: str, cells: tuple[np.ndarray, ...]) -> Claim:
    counts, print_, unit, slips = cells
    about = About(
        f"table-{number}",
        f"Every cell of Table {number} ({name}) is met to within one of its last digit, slips in print left out; "
        f"{FITTED if number == '11' else BOTH}",
        f"{PAPER}Table {number}",
        detail=f"{int(slips.sum())} of {slips.size} cells are slips. The numbers are in units of the last digit.",
    )
    return close(about, counts / unit, print_ / unit, tolerance=1.0, where=~slips)


def _slips(cells: dict[str, tuple[np.ndarray, ...]]) -> Claim:
    """What is printed in the cells that are left out of the other claims."""
    parts = [[part[slips] for part in (counts, print_, unit)] for counts, print_, unit, slips in cells.values()]
    counts, print_, unit = (np.concatenate([part[i] for part in parts]) for i in range(3))
    said = "; ".join(
        f"{text}: {value:.4g} printed, {count:.4g} counted"
        for text, value, count in zip(printed.SLIPS.values(), print_, counts, strict=True)
    )
    about = About(
        "slips", f"The four cells left out are right too; {MOVED}", f"{PAPER}Tables 3, 10, 11", detail=f"{said}."
    )
    return close(about, counts / unit, print_ / unit, tolerance=1.0)


def _figures() -> list[Claim]:
    found = []
    for figure, quantity, texts in (("4", "flops", printed.FLOPS), ("5", "moved", printed.BYTES)):
        names = ("bert-base", "gpt2") if figure == "4" else tuple(texts)
        counts = np.stack([curve(name, quantity) for name in names])
        print_, unit = (
            np.concatenate(part) for part in zip(*(printed.read(texts[name]) for name in names), strict=True)
        )
        about = About(
            f"figure-{figure}",
            f"Every point of figure {figure} for {', '.join(names)} is met within 1 % or its rounding; "
            f"{FITTED if figure == '4' else MOVED}",
            f"{PAPER}figure {figure}",
        )
        found.append(close(about, counts, print_, tolerance=np.maximum(0.01 * print_, unit / 2)))
    return found


def _large() -> list[Claim]:
    """BERT-Large: its printed curve lacks one projection a layer."""
    print_, unit = printed.read(printed.FLOPS["bert-large"])
    counts, large = curve("bert-large", "flops"), model("bert-large")
    less = 2 * large.layers * large.width**2 * np.array(printed.LENGTHS) / 1e9
    tolerance = np.maximum(0.005 * print_[0], unit[0] / 2)
    source = f"{PAPER}figure 4"
    without = About(
        "large-without",
        f"BERT-Large as printed is the count without one d x d projection a layer, within 0.5 %; {FITTED}",
        source,
    )
    as_is = About(
        "large", f"BERT-Large as printed is the count of the shape that Table 1 gives, within 0.5 %; {FITTED}", source,
        detail=f"Counted: {', '.join(f'{value:.4g}' for value in counts)} billions.",
    )  # fmt: skip
    return [
        close(without, counts - less, print_[0], tolerance=tolerance),
        close(as_is, counts, print_[0], tolerance=tolerance),
    ]


def _intensities() -> list[Claim]:
    source = f"{PAPER}figure 6"
    base, decoder = (curve(name, "flops") / curve(name, "moved") for name in ("bert-base", "gpt2"))
    peak = About("peak", f"The intensity of BERT-Base is largest at 512 of the six lengths; {BOTH}", source)
    two = About("gpt2-intensity", f"The intensity of GPT-2 is between 1.98 and 2.01 at every length; {FITTED}", source)
    others = np.asarray(printed.LENGTHS) != 512
    return [
        above(peak, base[~others], base, where=others),
        close(two, decoder, 1.995, tolerance=0.015),
    ]


def _shares() -> list[Claim]:
    """Claim 6."""
    rows = np.stack([counted("bert-base", length)[3] for length in printed.LENGTHS])
    tabled = [printed.LENGTHS.index(length) for length in printed.TABLED]
    source = f"{PAPER}Table 3"
    little = About(
        "other-flops",
        f"Nonlinear operators of BERT-Base are below 1 % of its FLOPs up to length 4096; {FITTED}",
        source,
    )
    much = About("other-bytes", f"They are 18, 37 and 49 % of its bytes at 128, 512 and 4096; {MOVED}", source)
    return [below(little, rows[:, 3], 1.0), close(much, rows[tabled, 4], np.array([18.0, 37.0, 49.0]), tolerance=1.0)]


def _heads() -> list[Claim]:
    """Claim 7."""
    twelve, four = (
        np.stack([counted(name, length) for length in printed.TABLED]) for name in ("bert-base", "four heads")
    )
    source = f"{PAPER}Tables 3 and 10"
    less = About("heads-bytes", "Four heads move 1.5, 2.1 and 2.8 times fewer bytes in attention than twelve", source)
    more = About("heads-intensity", f"At 4096 they raise the total intensity from 117.96 to 276.00; {BOTH}", source)
    return [
        close(less, twelve[:, 1, 1] / four[:, 1, 1], np.array([1.5, 2.1, 2.8]), tolerance=0.05),
        close(more, np.array([twelve[-1, 4, 2], four[-1, 4, 2]]), np.array([117.96, 276.00]), tolerance=0.01),
    ]


def _convolutions() -> list[Claim]:
    """The contrast: beyond the claims of the tables above."""
    found = {one.name: one for one in resnet50() if isinstance(one, Matmul)}
    chosen = [found[f"{kernel}x{kernel}, {after} at {size}"] for kernel, after, size in printed.TABLE_12]
    print_, unit = (
        np.concatenate(part)[:, 0] for part in zip(*map(printed.read, printed.TABLE_12.values()), strict=True)
    )
    each = About(
        "resnet-each", "Every kind of convolution of ResNet-50 has the intensity of Table 12, to one of its last digit",
        f"{PAPER}Table 12",
    )  # fmt: skip
    whole = About(
        "resnet-whole",
        "Convolutions of ResNet-50 take the 7.26 billion FLOPs of Table 4, within 1 %",
        f"{PAPER}Table 4",
        detail="Rows of Table 12 leave out the first block of a stage or count it as a later one, and the shortcuts.",
    )
    intensity = np.array([float(one.flops / one.moved) for one in chosen])
    return [
        close(each, intensity / unit, print_ / unit, tolerance=1.0),
        close(whole, float(total(resnet50(), "flops", "convolution")) / 1e9, 7.26, tolerance=0.0726),
    ]


def intensity(runs: Runs) -> go.Figure:
    """Operations a byte against length.

    BERT-Base and BERT-Large use their weights better the longer the sequence, until scores, which grow with its square,
    take over. Generating token by token reads every weight for every token: two operations a byte, at any length. With
    four heads instead of twelve there are fewer scores. Operations and entries of nonlinear operators are fitted to the
    survey's tables.
    """
    del runs
    chart = lines("", Axis("length", "log"), Axis("operations a byte", "log"))
    for at, name in enumerate(("bert-base", "bert-large", "gpt2", "four heads")):
        heights = curve(name, "flops") / curve(name, "moved")
        add_line(chart, np.array(printed.LENGTHS), heights, name, color=PALETTE[at], dash="solid")
    return chart


def shares(runs: Runs) -> go.Figure:
    """Where operations and bytes go.

    BERT-Base. Nonlinear operators need hardly any arithmetic but move up to half of the bytes; what joins them at long
    sequences is attention. Their own operations and entries are fitted to the survey's tables.
    """
    del runs
    names: Sequence[str] = [f"{length}, {what}" for length in printed.TABLED for what in ("FLOPs", "bytes")]
    rows = np.concatenate([counted("bert-base", length)[:4, 3:].T for length in printed.TABLED])
    return stacked_bars("", "percent", names, {str(group): rows[:, at] for at, group in enumerate(printed.ROWS[:4])})


section = Section("tables", untrained, claims, (intensity, shares))

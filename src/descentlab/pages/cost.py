"""The page of a cost: roofline, shares, intensity against length, and mappings."""

from collections.abc import Mapping

import numpy as np

from descentlab.cost import mapping
from descentlab.cost.accelerator import cycles
from descentlab.cost.amounts import amount, anchors
from descentlab.cost.costed import Cost
from descentlab.cost.operators import GROUPS, Matmul, Operator
from descentlab.cost.precision import moved_bytes
from descentlab.cost.roofline import seconds
from descentlab.plots import ChartAxis, Reached, add_line, distributions, lines, roofline, stacked_bars
from descentlab.plots.style import PALETTE

__all__ = ["cost_page"]
from descentlab.pages.report import Figure, Report

MAPPINGS = 100_000

_QUESTION = """
What does this model cost to run, on what is it bound, and where does the time go? Multiplications and additions count
one each. A byte counts where an operand is read once or a result is written once, as if local memory were endless, so
the roofline's time is a bound from below that no order of operators can beat but fusing them can.
"""


def cost_page(found: Cost, provenance: Mapping[str, str]) -> Report:
    """The page of what a model costs.

    Args:
        found: what the model costs.
        provenance: what a reader needs to get the same again.
    """
    figures = [_roofline(found), _shares(found)]
    if len(found.lengths) > 1:
        figures.append(_intensity(found))
    if found.accelerator is not None and _products(found):
        figures.append(_mappings(found))
    return Report(
        title=f"The cost of {found.title}",
        question=_QUESTION + _model(found),
        paper="Counts as in Kim et al. (2023), arXiv:2302.14017; those of GELU and LayerNorm are fitted to its tables",
        figures=figures,
        definitions=[("cost", found.as_data())],
        provenance=provenance,
    )


def _model(found: Cost) -> str:
    """The numbers by which one knows the model, its precisions, what a step of training holds, what is left out."""
    said = [] if found.anchors is None else [anchors(found.anchors)]
    said.append(f"precision: {found.precision.words}")
    for at in found.at:
        length = f"{found.axis} {at.length}"
        if at.cache_bytes:
            said.append(f"{length}: key-value cache at the end {amount(at.cache_bytes)}B")
        if at.memory is not None:
            said.append(f"{length}: a step of training holds {amount(at.memory.total)}B")
    said += [f"not counted: {words}" for words in found.uncounted]
    return "".join(f"\n{one[0].upper()}{one[1:]}.\n" for one in said)


def _roofline(found: Cost) -> Figure:
    """Operators of the longest sequence, at measured rates, the modelled accelerator's, or those of the roofline."""
    operators = found.at[-1].operators
    points = []
    for group in GROUPS:
        chosen = [one for one in operators if one.group == group]
        flops = [float(np.sum(one.flops)) for one in chosen]
        moved = [float(np.sum(moved_bytes(one, found.precision))) for one in chosen]
        times = [_seconds(found, one) for one in chosen]
        if chosen:
            rates = [f / t for f, t in zip(flops, times, strict=True)]
            intensities = [f / m for f, m in zip(flops, moved, strict=True)]
            points.append(Reached(group, [one.name for one in chosen], intensities, rates))
    chart = roofline("", found.machine.peak(found.precision.computing), found.machine.bandwidth, points)
    how = "the most that the machine allows" if found.accelerator is None else "the rate of the modelled accelerator"
    how = "the rate measured here" if found.at[-1].measured is not None else how
    return Figure(
        f"Roofline, {found.axis} {found.lengths[-1]}",
        f"One point an operator, at {how}. Left of the bend memory is the bound, right of it arithmetic.",
        chart,
    )


def _seconds(found: Cost, operator: Operator) -> float:
    measured = found.at[-1].measured
    if measured is not None:
        return measured[operator.name]
    if found.accelerator is not None:
        return float(np.sum(cycles(found.accelerator, operator))) / found.accelerator.clock
    return float(np.sum(seconds(found.machine, operator, found.precision)))


def _shares(found: Cost) -> Figure:
    groups = [row.group for row in found.at[0].rows[:-1]]
    names, parts = [], []
    for one in found.at:
        rows = one.rows
        quantities = {"FLOPs": [row.flops for row in rows], "bytes": [row.bytes for row in rows]}
        quantities["roofline"] = [row.least_seconds for row in rows]
        if found.accelerator is not None:
            quantities["model"] = [row.model_seconds or 0.0 for row in rows]
        for name, values in quantities.items():
            names.append(f"{one.length}, {name}")
            parts.append([100 * value / values[-1] for value in values[:-1]])
    chart = stacked_bars("", "percent", names, dict(zip(groups, np.transpose(parts), strict=True)))
    return Figure(
        "Where operations, bytes and time go",
        "Shares of the classes of operators. What needs little arithmetic can take much of the traffic and the time.",
        chart,
    )


def _intensity(found: Cost) -> Figure:
    chart = lines("", ChartAxis(found.axis, "log"), ChartAxis("operations a byte", "log"))
    order = np.argsort(found.lengths)
    for at, row in enumerate(found.at[0].rows):
        heights = np.array([found.at[i].rows[at].intensity for i in order])
        color = PALETTE[at % len(PALETTE)]
        add_line(chart, np.array(found.lengths)[order], heights, row.group, color=color, dash="solid")
    ridge = found.machine.ridge(found.precision.computing)
    add_line(chart, np.sort(found.lengths), np.full(len(order), ridge), "where the bound changes")
    return Figure(
        "Intensity against length",
        "Weights are read once for all tokens, so longer sequences use them better; scores grow with the square of the "
        "length and are used twice each.",
        chart,
    )


def _mappings(found: Cost) -> Figure:
    samples = {name: _relative(product, found) for name, product in _largest(_products(found)).items()}
    chart = distributions("", ChartAxis("energy times delay, relative to the best", "log"), samples)
    return Figure(
        "Mappings",
        f"{MAPPINGS} random ways to cut and order the loops of the largest products, on the modelled accelerator, "
        "relative to the best one that differential evolution or sampling found.",
        chart,
    )


def _products(found: Cost) -> dict[str, mapping.Problem]:
    """The products of the layers by name; convolutions, whose filters an operator does not tell, are left out."""
    operators = [one for one in found.at[-1].operators if isinstance(one, Matmul)]
    return {one.name: _whole(one) for one in operators if one.right is None and one.group != "head"}


def _whole(one: Matmul) -> mapping.Problem:
    """The product of the last token or of the whole pass, its sizes rounded up."""
    sizes = [int(np.ceil(np.max(size))) for size in (one.rows, one.inner, one.columns)]
    return mapping.Problem(one.name, (sizes[0], sizes[1], sizes[2], 1, 1, 1))


def _largest(products: Mapping[str, mapping.Problem], most: int = 3) -> dict[str, mapping.Problem]:
    different = {one.lengths: (name, one) for name, one in products.items()}
    ordered = sorted(different.values(), key=lambda named: -named[1].multiply_adds)
    return dict(ordered[:most])


def _relative(of: mapping.Problem, found: Cost) -> np.ndarray:
    assert found.accelerator is not None
    edp = mapping.sample(of, found.accelerator, MAPPINGS)[1].edp
    return edp / min(edp.min(), mapping.best(of, found.accelerator)[1].edp[0])

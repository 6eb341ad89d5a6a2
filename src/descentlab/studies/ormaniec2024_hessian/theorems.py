"""The theory of one attention head held against numbers, for softmax, linear and Gaussian kernels.

Here nothing is trained and no model is drawn by the study: heads are random and small enough for dense Hessians, in
closed form (`theory.attention_hessian`) and by automatic differentiation.
"""

import jax
import numpy as np
import plotly.graph_objects as go

from descentlab.plots.curves import ChartAxis, add_band, add_level, add_line, lines
from descentlab.plots.style import case_color
from descentlab.runs import Runs
from descentlab.studies.ormaniec2024_hessian import compared, orders, signs
from descentlab.studies.ormaniec2024_hessian.constructed import Theory, constructed
from descentlab.studies.ormaniec2024_hessian.heads import KERNELS, PAIRS, SCALES, WIDE, measured
from descentlab.studies.ormaniec2024_hessian.orders import FUNCTIONAL, OUTER, ratios
from descentlab.study import Section, Size, untrained
from descentlab.sweep import Progress

HEADS = {Size.SMOKE: 6, Size.QUICK: 50, Size.PAPER: 200}
LAYERS = {Size.SMOKE: (1, 2), Size.QUICK: (1, 2, 3), Size.PAPER: (1, 2, 3)}
DEPTHS = {Size.SMOKE: (1, 3), Size.QUICK: (1, 2, 3, 5), Size.PAPER: (1, 2, 3, 4, 5)}


def derive(runs: Runs, size: Size, progress: Progress | None) -> Theory:
    """Measure everything; there are no runs."""
    del runs
    found = {}
    with jax.enable_x64(True):
        for done, (kernel, attention) in enumerate(KERNELS.items()):
            found[kernel] = measured(attention, HEADS[size])
            if progress is not None:
                progress(done + 1, len(KERNELS) + 1, kernel)
        return Theory(found, constructed(HEADS[size], LAYERS[size], DEPTHS[size]))


def powers(seen: Theory) -> go.Figure:
    """The query block against the scale of the tokens.

    Median and 80 % band over random heads of the Frobenius norms of H_o(Q,Q) and H_f(Q,Q), targets fixed. Dashed: the
    orders at small scales. H_f(Q,Q) of the Gaussian kernel has the order 3 where softmax has 5, and linear attention
    has none.
    """
    figure = lines("Norms", ChartAxis("scale of the tokens", "log"), ChartAxis("Frobenius norm", "log"))
    at = list(PAIRS).index("QQ")
    for kernel in ("softmax", "linear", "gaussian"):
        for part, symbol, known in (("outer", "H_o", OUTER), ("functional", "H_f", FUNCTIONAL)):
            norms, order = seen.heads[kernel].norms[part][..., at], known[kernel][at]
            if order:
                color = case_color(kernel)
                add_band(figure, SCALES, norms, f"{symbol}(Q,Q), {kernel}", color=color)
                leading = np.median(norms[:, 0]) * (WIDE / SCALES[0]) ** order
                add_line(figure, WIDE, leading, f"order {order}, {kernel}", color=color)
    return figure


def value_over_query(seen: Theory) -> go.Figure:
    """The value block over the query block.

    Median and 80 % band over random heads of the Frobenius norms of H(V,V) over H(Q,Q). At small scales softmax and the
    normalised Gaussian kernel fall with the power 3, the Gaussian kernel with 1; for linear attention both blocks grow
    alike.
    """
    figure = lines("Ratio", ChartAxis("scale of the tokens", "log"), ChartAxis("H(V,V) / H(Q,Q)", "log"))
    for kernel, one in seen.heads.items():
        add_band(figure, SCALES, ratios(one), kernel, color=case_color(kernel))
    return add_level(figure, 1.0, "equal")


def negative(seen: Theory) -> go.Figure:
    """Negative eigenvalues of the query block.

    Mean over random heads of the share of eigenvalues of H(Q,Q) below zero by more than rounding.
    """
    figure = lines("Share", ChartAxis("scale of the tokens", "log"), ChartAxis("share of eigenvalues below zero"))
    for kernel, one in seen.heads.items():
        shares = one.negative["query"].mean(axis=0)
        add_line(figure, SCALES, shares, kernel, color=case_color(kernel), dash="solid")
    return figure


section = Section(
    "theorems",
    untrained,
    (*orders.STATEMENTS, *signs.STATEMENTS, *compared.STATEMENTS),
    (powers, value_over_query, negative),
    derive,
)

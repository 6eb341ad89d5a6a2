"""The theory of one attention head held against numbers, for softmax, linear and Gaussian kernels.

Here nothing is trained and no model is drawn by the study: heads are random and small enough for dense Hessians, in
closed form (`theory.attention_hessian`) and by automatic differentiation.
"""

import dataclasses
import itertools
from collections.abc import Mapping

import jax
import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, above, at_least, at_most, close
from descentlab.plots.curves import ChartAxis, add_band, add_level, add_line, lines
from descentlab.plots.style import case_color
from descentlab.runs import Runs
from descentlab.statistics import paired_interval, share_interval, slopes
from descentlab.studies.ormaniec2024_hessian.constructed import POWERS, Constructed, constructed
from descentlab.studies.ormaniec2024_hessian.heads import (
    KERNELS,
    PAIRS,
    SCALES,
    SMALL,
    WIDE,
    Measured,
    block,
    eigenvalues,
    from_scores,
    measured,
)
from descentlab.study import Section, Size, untrained
from descentlab.sweep import Progress
from descentlab.theory.attention_hessian import BLOCKS

PAPER = "Ormaniec et al. 2024, theorems 3.1 and 3.2"
TABLE = "Ormaniec et al. 2024, section 4"
PAGE = "docs/theory/attention_hessian.md"
ROUNDING = 1e-12

HEADS = {Size.SMOKE: 6, Size.QUICK: 50, Size.PAPER: 200}
LAYERS = {Size.SMOKE: (1, 2), Size.QUICK: (1, 2, 3), Size.PAPER: (1, 2, 3)}
DEPTHS = {Size.SMOKE: (1, 3), Size.QUICK: (1, 2, 3, 5), Size.PAPER: (1, 2, 3, 4, 5)}

_AVERAGING = (2, 4, 4, 6, 6, 6)
OUTER = {"softmax": _AVERAGING, "linear": (6,) * 6, "gaussian": _AVERAGING, "normalizedgaussian": _AVERAGING}
"""Orders of H_o in the scale of the tokens, by block of `PAIRS`."""

FUNCTIONAL = {
    "softmax": (0, 3, 3, 5, 5, 3),
    "linear": (0, 3, 3, 0, 0, 3),
    "gaussian": (0, 3, 3, 3, 3, 3),
    "normalizedgaussian": (0, 3, 3, 5, 3, 3),
}
"""Those of H_f with targets that stay; 0 stands for a block that vanishes."""

OUTPUTS = {"softmax": 1, "linear": 3, "gaussian": 1, "normalizedgaussian": 1}
"""Those of the outputs: what H_f gains where targets are zero and the residual is the outputs."""

RATIOS = {"softmax": -3.0, "linear": 0.0, "gaussian": -1.0, "normalizedgaussian": -3.0}
"""Those of H(V,V) over H(Q,Q)."""

COMPARED = {0.1: "0.1", 1.0: "1", 10**0.5: "3.2"}
"""Scales at which kernels are compared, as they are written."""


@dataclasses.dataclass(frozen=True)
class Theory:
    """What the section is about.

    Attributes:
        heads: by kernel.
        built: what was built for one statement each.
    """

    heads: Mapping[str, Measured]
    built: Constructed


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


def claims(seen: Theory) -> list[Claim]:
    """The theorems, their orders, signs, special attention, the comparison of kernels, and depth."""
    found = []
    for kernel, one in seen.heads.items():
        found += [_closed(kernel, one), *_orders(kernel, one), _positive(kernel, one), _ratio_order(kernel, one)]
    return [*found, *_signs(seen), *_merged(seen.built), *_special(seen.built), *_compared(seen.heads), *_deep(seen)]


def _about(name: str, text: str, source: str, kernel: str | None = None, detail: str = "") -> About:
    return About(f"theorem-{name}", text, source, kernel, detail)


def _closed(kernel: str, one: Measured) -> Claim:
    """Largest relative difference of a block; where both are zero it is zero."""
    worst = []
    for part, exact in one.automatic.items():
        for pair in itertools.product(BLOCKS, BLOCKS):
            theirs, ours = block(exact, pair), block(one.closed[part], pair)
            apart, size = (np.linalg.norm(m, axis=(1, 2)) for m in (ours - theirs, theirs))
            worst.append(np.divide(apart, size, out=np.where(apart > 0, np.inf, 0.0), where=size > 0))
    about = _about(
        f"closed-{kernel}",
        "The closed form of all nine blocks of H_o and of H_f is what automatic differentiation gives, to a relative "
        "1e-12",
        PAPER if kernel in {"softmax", "linear"} else PAGE,
        kernel,
    )
    return at_most(about, np.array(worst), ROUNDING)


def _slopes(norms: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Slopes of log norms against log scale, which is the second axis, by least squares; zeros have the slope 0."""
    logs = np.log(np.where(norms > 0, norms, 1.0))
    return slopes(np.log(scales), np.moveaxis(logs, 1, -1))


def _listed(slopes: np.ndarray, which: np.ndarray) -> str:
    """Mean slopes by block."""
    names = [name for name, kept in zip(PAIRS, which, strict=True) if kept]
    return ", ".join(f"{name} {slope:.3f}" for name, slope in zip(names, slopes.mean(axis=0)[which], strict=True))


def _orders(kernel: str, one: Measured) -> list[Claim]:
    """Powers of the scale of the tokens, and blocks that vanish."""
    source = TABLE if kernel in {"softmax", "linear"} else PAGE
    outer, functional = np.array(OUTER[kernel]), np.array(FUNCTIONAL[kernel])
    there, small = functional > 0, slice(len(SMALL))
    powers = {part: _slopes(one.norms[part][:, small], SMALL) for part in ("outer", "functional")}
    fitted = _slopes(one.fitted, SMALL)
    vanishing = [pair for pair, kept in zip(PAIRS.values(), there, strict=True) if not kept]
    gone = np.stack([np.abs(block(one.automatic["functional"], pair)).max(axis=(1, 2)) for pair in vanishing])
    said = {part: ", ".join(f"{n} {p}" for n, p in zip(PAIRS, of, strict=True) if p) for part, of in _tables(kernel)}
    detail = f"Mean slopes: {_listed(powers['outer'], outer > 0)}."
    bent = f"Targets stay. Mean slopes: {_listed(powers['functional'], there)}."
    reached = f"Targets are zero. Mean slopes: {_listed(fitted, there)}."
    more = f"With targets zero H_f gains the order of the outputs, {OUTPUTS[kernel]}, in every block, within 0.05"
    zeros = ", ".join(name for name, kept in zip(PAIRS, there, strict=True) if not kept)
    vanishes = f"H_f by automatic differentiation vanishes exactly in {zeros}"
    return [
        close(
            _about(f"outer-{kernel}", f"Orders of H_o: {said['outer']}; slopes within 0.05", source, kernel, detail),
            powers["outer"],
            outer,
            tolerance=0.05,
        ),
        close(
            _about(f"bent-{kernel}", f"Orders of H_f: {said['functional']}; slopes within 0.05", source, kernel, bent),
            powers["functional"][:, there],
            functional[there],
            tolerance=0.05,
        ),
        close(
            _about(f"residual-{kernel}", more, source, kernel, reached),
            fitted[:, there],
            (functional + OUTPUTS[kernel])[there],
            tolerance=0.05,
        ),
        at_most(_about(f"zero-{kernel}", vanishes, source, kernel), gone, 0.0),
    ]


def _tables(kernel: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return ("outer", OUTER[kernel]), ("functional", FUNCTIONAL[kernel])


def _positive(kernel: str, one: Measured) -> Claim:
    text = "H without H_f, both by automatic differentiation, has no negative eigenvalue, to rounding: it is H_o"
    whole, functional = one.automatic["whole"], one.automatic["functional"]
    size = np.abs(np.linalg.eigvalsh(whole)).max(axis=1)
    least = np.linalg.eigvalsh(whole - functional)[:, 0] / size
    return at_least(_about(f"outer-sign-{kernel}", text, PAPER, kernel), least, -ROUNDING)


def _ratios(one: Measured) -> np.ndarray:
    """Norm of H(V,V) over that of H(Q,Q), axes head and scale."""
    names = list(PAIRS)
    return one.norms["whole"][..., names.index("VV")] / one.norms["whole"][..., names.index("QQ")]


def _ratio_order(kernel: str, one: Measured) -> Claim:
    slopes = _slopes(_ratios(one)[:, : len(SMALL)], SMALL)
    about = _about(
        f"ratio-{kernel}",
        f"As the tokens shrink, H(V,V) over H(Q,Q) has the order {RATIOS[kernel]:g}, within 0.05",
        PAGE,
        kernel,
        f"Mean slope {slopes.mean():.3f}.",
    )
    return close(about, slopes, RATIOS[kernel], tolerance=0.05)


def _both_signs(matrix: np.ndarray) -> np.ndarray:
    """Which matrices have a negative and a positive eigenvalue, beyond rounding."""
    found = eigenvalues(matrix)
    return (found[:, 0] < -1e-10) & (found[:, -1] > 1e-10)


def _mostly(about: About, matrix: np.ndarray) -> Claim:
    """That most matrices have both signs, by the 95 % interval over heads."""
    share = share_interval(int(_both_signs(matrix).sum()), len(matrix))
    detail = f"Share {share.value:.3g} of {len(matrix)} heads; mean smallest eigenvalue over the largest in size "
    said = dataclasses.replace(about, detail=f"{detail}{eigenvalues(matrix)[:, 0].mean():.2g}.")
    return above(said, share, 0.5)


def _signs(seen: Theory) -> list[Claim]:
    """What makes the scores' blocks indefinite."""
    found = []
    for kernel in ("softmax", "linear"):
        exact = seen.heads[kernel].automatic
        spectrum = np.linalg.eigvalsh(from_scores(exact, seen.heads[kernel].closed))
        size = np.abs(np.linalg.eigvalsh(exact["functional"])).max(axis=1)
        text = "Second derivatives of the scores add an indefinite part: its eigenvalues come in pairs of opposite sign"
        about = _about(f"pairs-{kernel}", text, TABLE, kernel)
        found.append(at_most(about, np.abs(spectrum + spectrum[:, ::-1]).max(axis=1) / size, ROUNDING))
    for kernel in ("softmax", "gaussian"):
        about = _about(
            f"indefinite-{kernel}",
            "H(Q,Q) has eigenvalues of both signs in most random heads",
            TABLE if kernel == "softmax" else PAGE,
            kernel,
        )
        found.append(_mostly(about, block(seen.heads[kernel].closed["whole"], PAIRS["QQ"])))
    linear = [block(seen.heads["linear"].automatic["whole"], PAIRS[name]) for name in ("VV", "QQ", "KK")]
    least = np.concatenate([eigenvalues(matrix)[:, 0] for matrix in linear])
    about = _about("diagonal-linear", "No diagonal block of H has a negative eigenvalue, to rounding", TABLE, "linear")
    below = _about(
        "below-gaussian",
        "Where values are positive and no output exceeds its target, second derivatives of the scores add no negative "
        "curvature",
        PAGE,
        "gaussian",
        "For softmax they always do.",
    )
    least_below = eigenvalues(seen.built.below)[:, 0]
    return [*found, at_least(about, least, -ROUNDING), at_least(below, least_below, -ROUNDING)]


def _merged(built: Constructed) -> list[Claim]:
    """One matrix in the place of query and key."""
    found = []
    for kernel, parts in built.merged.items():
        text = (
            "With one matrix in the place of query and key, second derivatives of the scores add nothing: H_f by "
            "automatic differentiation is what the curvature of the link gives, to a relative 1e-12 of H"
        )
        about = _about(f"merged-scores-{kernel}", text, TABLE, kernel)
        left, whole = (np.linalg.norm(parts[part], axis=(1, 2)) for part in ("scores", "whole"))
        found.append(at_most(about, left / whole, ROUNDING))
    softmax = _about("merged-softmax", "Its block has eigenvalues of both signs in most random heads", TABLE, "softmax")
    linear = _about("merged-linear", "Its block has no negative eigenvalue, to rounding", TABLE, "linear")
    return [
        *found,
        _mostly(softmax, built.merged["softmax"]["whole"]),
        at_least(linear, eigenvalues(built.merged["linear"]["whole"])[:, 0], -ROUNDING),
    ]


def _special(built: Constructed) -> list[Claim]:
    """Attention at one token, and at all alike."""
    one_hot = "Where attention is one-hot, M_2 and every block of query and key vanish exactly"
    uniform = "Where attention is uniform, M_2 is the covariance of the tokens in every row, to a relative 1e-12"
    raw = "Where all weights are one, M_2 is the matrix of second moments of the tokens, not centred, to 1e-12"
    peak = "Where each token sees itself alone, H_o(Q,Q) vanishes but H(Q,Q) is the curvature of the peak, to 1e-12"
    return [
        at_most(_about("one-hot", one_hot, TABLE, "softmax"), built.one_hot, 0.0),
        at_most(_about("uniform", uniform, TABLE, "softmax"), built.uniform, ROUNDING),
        at_most(_about("raw", raw, PAGE, "gaussian"), built.raw, ROUNDING),
        at_most(_about("peak", peak, PAGE, "gaussian"), built.peak, ROUNDING),
    ]


def _compared(heads: Mapping[str, Measured]) -> list[Claim]:
    """The Gaussian kernel against softmax on the same tokens, weights and targets."""
    softmax, gaussian = heads["softmax"], heads["gaussian"]
    whole = softmax.closed["whole"]
    decades = [np.abs(np.log10(_ratios(one))) for one in (softmax, gaussian)]
    texts = {
        "apart": ("H(V,V) and H(Q,Q) of the Gaussian kernel are no further apart than softmax's", *decades),
        "query": _shares("H(Q,Q)", "query", softmax, gaussian),
        "all": _shares("H", "all", softmax, gaussian),
    }
    found = []
    for scale, written in COMPARED.items():
        at = int(np.argmin(np.abs(SCALES - scale)))
        for name, (text, ours, theirs) in texts.items():
            unit = "decades" if name == "apart" else "share"
            detail = f"Means: softmax {ours[:, at].mean():.3g}, gaussian {theirs[:, at].mean():.3g}."
            about = _about(f"{name}-{written}", f"At scale {written}, {text} ({unit}, paired)", PAGE, None, detail)
            # One eigenvalue; norms have no least step.
            step = {"query": 1 / block(whole, PAIRS["QQ"]).shape[1], "all": 1 / whole.shape[1]}.get(name, 0.0)
            found.append(at_most(about, paired_interval(theirs[:, at], ours[:, at], step), 0.0))
    return found


def _shares(matrix: str, name: str, softmax: Measured, gaussian: Measured) -> tuple[str, np.ndarray, np.ndarray]:
    text = f"no larger share of the eigenvalues of {matrix} is negative with the Gaussian kernel than with softmax"
    return text, softmax.negative[name], gaussian.negative[name]


def _deep(seen: Theory) -> list[Claim]:
    """Layers of linear attention, and of a network without attention."""
    powers = {n: _slopes(norms, POWERS) for n, norms in seen.built.linear.items()}
    expected = np.concatenate([np.full(slopes.shape, 2.0 * 3**n) for n, slopes in powers.items()])
    about = _about(
        "layers",
        "With n layers of linear attention every diagonal block of H_o has the order 2 * 3^n, within 2 %",
        TABLE,
        "linear",
        f"Mean slopes: {', '.join(f'n = {n} {slopes.mean():.4g}' for n, slopes in powers.items())}.",
    )
    network = np.concatenate([_slopes(norms, POWERS) for norms in seen.built.network.values()])
    flat = _about(
        "network",
        "In a deep linear network every diagonal block of H has the order 2 whatever the depth, within 0.05",
        TABLE,
        None,
        f"Depths {', '.join(map(str, seen.built.network))}.",
    )
    return [
        close(about, np.concatenate(list(powers.values())), expected, tolerance=0.02 * expected),
        close(flat, network, 2.0, tolerance=0.05),
    ]


def powers(seen: Theory) -> go.Figure:
    """The query block against the scale of the tokens.

    Median and 80 % band over random heads of the Frobenius norms of H_o(Q,Q) and H_f(Q,Q), targets fixed. Dashed: the
    orders at small scales. H_f(Q,Q) of the Gaussian kernel has the order 3 where softmax has 5, and linear attention
    has none.
    """
    figure = lines("Norms", ChartAxis("scale of the tokens", "log"), ChartAxis("Frobenius norm", "log"))
    at = list(PAIRS).index("QQ")
    for kernel in ("softmax", "linear", "gaussian"):
        for part, symbol, orders in (("outer", "H_o", OUTER), ("functional", "H_f", FUNCTIONAL)):
            norms, order = seen.heads[kernel].norms[part][..., at], orders[kernel][at]
            if order:
                color = case_color(kernel)
                add_band(figure, SCALES, norms, f"{symbol}(Q,Q), {kernel}", color=color)
                leading = np.median(norms[:, 0]) * (WIDE / SCALES[0]) ** order
                add_line(figure, WIDE, leading, f"order {order}, {kernel}", color=color)
    return figure


def ratios(seen: Theory) -> go.Figure:
    """The value block over the query block.

    Median and 80 % band over random heads of the Frobenius norms of H(V,V) over H(Q,Q). At small scales softmax and the
    normalised Gaussian kernel fall with the power 3, the Gaussian kernel with 1; for linear attention both blocks grow
    alike.
    """
    figure = lines("Ratio", ChartAxis("scale of the tokens", "log"), ChartAxis("H(V,V) / H(Q,Q)", "log"))
    for kernel, one in seen.heads.items():
        add_band(figure, SCALES, _ratios(one), kernel, color=case_color(kernel))
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


section = Section("theorems", untrained, claims, (powers, ratios, negative), derive)

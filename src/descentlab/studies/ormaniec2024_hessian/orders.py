"""One head, kernel by kernel: the closed form, the powers of its blocks in the scale of the tokens, and their signs."""

import itertools
from collections.abc import Sequence

import numpy as np

from descentlab.claims import About, Claim, Statement, at_least, at_most, claim, close
from descentlab.statistics import slopes
from descentlab.studies.ormaniec2024_hessian.constructed import OfKernel
from descentlab.studies.ormaniec2024_hessian.heads import KERNELS, PAIRS, SMALL, Measured, block
from descentlab.studies.ormaniec2024_hessian.recorded import PAGE
from descentlab.theory.attention_hessian import BLOCKS

PAPER = "Ormaniec et al. 2024, theorems 3.1 and 3.2"
TABLE = "Ormaniec et al. 2024, section 4"
ROUNDING = 1e-12

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


def powers_of(norms: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Slopes of log norms against log scale, which is the second axis, by least squares; zeros have the slope 0."""
    logs = np.log(np.where(norms > 0, norms, 1.0))
    return slopes(np.log(scales), np.moveaxis(logs, 1, -1))


def ratios(one: Measured) -> np.ndarray:
    """Norm of H(V,V) over that of H(Q,Q), axes head and scale."""
    names = list(PAIRS)
    return one.norms["whole"][..., names.index("VV")] / one.norms["whole"][..., names.index("QQ")]


def _words(values: Sequence[float] | np.ndarray, which: np.ndarray, form: str = "") -> str:
    """A number for each of some blocks."""
    return ", ".join(f"{name} {one:{form}}" for name, one, kept in zip(PAIRS, values, which, strict=True) if kept)


def of_kernel(kernel: str) -> tuple[Statement, ...]:
    """What is claimed of the heads of one kernel."""
    is_paper, cases = kernel in {"softmax", "linear"}, (kernel,)
    source = TABLE if is_paper else PAGE
    outer, functional = np.array(OUTER[kernel]), np.array(FUNCTIONAL[kernel])
    there, every, small = functional > 0, outer > 0, slice(len(SMALL))
    vanishing = [name for name, kept in zip(PAIRS, there, strict=True) if not kept]

    @claim(
        "theorem-closed-{case}",
        "The closed form of all nine blocks of H_o and of H_f is what automatic differentiation gives, to a relative "
        "1e-12",
        PAPER if is_paper else PAGE,
        cases=cases,
    )
    def closed(about: About, seen: OfKernel) -> Claim:
        """Largest relative difference of a block; where both are zero it is zero."""
        worst = []
        for part, exact in seen.heads.automatic.items():
            for pair in itertools.product(BLOCKS, BLOCKS):
                theirs, ours = block(exact, pair), block(seen.heads.closed[part], pair)
                apart, size = (np.linalg.norm(m, axis=(1, 2)) for m in (ours - theirs, theirs))
                worst.append(np.divide(apart, size, out=np.where(apart > 0, np.inf, 0.0), where=size > 0))
        return at_most(about, np.array(worst), ROUNDING)

    @claim("theorem-outer-{case}", f"Orders of H_o: {_words(outer, every)}; slopes within 0.05", source, cases=cases)
    def of_outer(about: About, seen: OfKernel) -> Claim:
        found = powers_of(seen.heads.norms["outer"][:, small], SMALL)
        about = about.noting(f"Mean slopes: {_words(found.mean(axis=0), every, '.3f')}.")
        return close(about, found, outer, tolerance=0.05)

    @claim(
        "theorem-bent-{case}", f"Orders of H_f: {_words(functional, there)}; slopes within 0.05", source, cases=cases
    )
    def of_functional(about: About, seen: OfKernel) -> Claim:
        found = powers_of(seen.heads.norms["functional"][:, small], SMALL)
        about = about.noting(f"Targets stay. Mean slopes: {_words(found.mean(axis=0), there, '.3f')}.")
        return close(about, found[:, there], functional[there], tolerance=0.05)

    @claim(
        "theorem-residual-{case}",
        f"With targets zero H_f gains the order of the outputs, {OUTPUTS[kernel]}, in every block, within 0.05",
        source,
        cases=cases,
    )
    def of_residual(about: About, seen: OfKernel) -> Claim:
        found = powers_of(seen.heads.fitted, SMALL)
        about = about.noting(f"Targets are zero. Mean slopes: {_words(found.mean(axis=0), there, '.3f')}.")
        return close(about, found[:, there], (functional + OUTPUTS[kernel])[there], tolerance=0.05)

    @claim(
        "theorem-zero-{case}",
        f"H_f by automatic differentiation vanishes exactly in {', '.join(vanishing)}",
        source,
        cases=cases,
    )
    def zero(about: About, seen: OfKernel) -> Claim:
        gone = [np.abs(block(seen.heads.automatic["functional"], PAIRS[name])).max(axis=(1, 2)) for name in vanishing]
        return at_most(about, np.stack(gone), 0.0)

    return closed, of_outer, of_functional, of_residual, zero


@claim(
    "theorem-outer-sign-{case}",
    "H without H_f, both by automatic differentiation, has no negative eigenvalue, to rounding: it is H_o",
    PAPER,
    cases=tuple(KERNELS),
)
def positive(about: About, seen: OfKernel) -> Claim:
    """Whether what is left is a Gauss-Newton matrix."""
    whole, functional = seen.heads.automatic["whole"], seen.heads.automatic["functional"]
    size = np.abs(np.linalg.eigvalsh(whole)).max(axis=1)
    return at_least(about, np.linalg.eigvalsh(whole - functional)[:, 0] / size, -ROUNDING)


def _ratio(kernel: str) -> Statement:
    """How the two blocks part."""

    @claim(
        "theorem-ratio-{case}",
        f"As the tokens shrink, H(V,V) over H(Q,Q) has the order {RATIOS[kernel]:g}, within 0.05",
        PAGE,
        cases=(kernel,),
    )
    def ratio(about: About, seen: OfKernel) -> Claim:
        found = powers_of(ratios(seen.heads)[:, : len(SMALL)], SMALL)
        return close(about.noting(f"Mean slope {found.mean():.3f}."), found, RATIOS[kernel], tolerance=0.05)

    return ratio


STATEMENTS = (*(one for kernel in KERNELS for one in of_kernel(kernel)), positive, *map(_ratio, KERNELS))

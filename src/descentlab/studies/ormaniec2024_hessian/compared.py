"""The Gaussian kernel against softmax on the same random heads: statements of the section on theory."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from descentlab.claims import About, Claim, Statement, at_most, claim
from descentlab.statistics import paired_interval
from descentlab.studies.ormaniec2024_hessian.constructed import OfKernel
from descentlab.studies.ormaniec2024_hessian.heads import SCALES, Measured
from descentlab.studies.ormaniec2024_hessian.orders import ratios
from descentlab.studies.ormaniec2024_hessian.recorded import PAGE


class Scale(NamedTuple):
    """A scale at which kernels are compared, as it is written."""

    written: str
    value: float

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers there, one a head."""
        return numbers[:, int(np.argmin(np.abs(SCALES - self.value)))]


COMPARED = (Scale("0.1", 0.1), Scale("1", 1.0), Scale("3.2", 10**0.5))


def _compared(name: str, text: str, unit: str, of: Callable[[Measured], np.ndarray], rows: int | None) -> Statement:
    """The Gaussian kernel against softmax on the same tokens, weights and targets; shares of so many eigenvalues."""

    @claim(
        f"theorem-{name}-{{scale.written}}",
        f"At scale {{scale.written}}, {text} ({unit}, paired)",
        PAGE,
        between=("gaussian", "softmax"),
        over={"scale": COMPARED},
    )
    def compared(about: About, gaussian: OfKernel, softmax: OfKernel, scale: Scale) -> Claim:
        theirs, ours = (scale.of(of(seen.heads)) for seen in (gaussian, softmax))
        about = about.noting(f"Means: softmax {ours.mean():.3g}, gaussian {theirs.mean():.3g}.")
        # One eigenvalue; norms have no least step.
        return at_most(about, paired_interval(theirs, ours, 1 / rows if rows else 0.0), 0.0)

    return compared


def _share(name: str, matrix: str, rows: int) -> Statement:
    text = f"no larger share of the eigenvalues of {matrix} is negative with the Gaussian kernel than with softmax"
    return _compared(name, text, "share", lambda one: one.negative[name], rows)


STATEMENTS = (
    _compared(
        "apart",
        "H(V,V) and H(Q,Q) of the Gaussian kernel are no further apart than softmax's",
        "decades",
        lambda one: np.abs(np.log10(ratios(one))),
        None,
    ),
    _share("query", "H(Q,Q)", 8),
    _share("all", "H", 32),
)

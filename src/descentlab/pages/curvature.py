"""The page of a curvature: block heat maps of the three parts, the spectra, and sharpness along training."""

from collections.abc import Mapping

import numpy as np

from descentlab._describe import describe
from descentlab.experiment import Experiment
from descentlab.measures.curvature import PARTS, Blocks, Curvature
from descentlab.pages.report import Figure, Report
from descentlab.plots.curves import ChartAxis, add_band, add_level, lines
from descentlab.plots.heatmaps import Categories, heat_map
from descentlab.plots.spectra import densities
from descentlab.store import versions

__all__ = ["curvature_page"]

ROUNDING = 1e-12
"""Sizes below this times the largest are rounding, and left out of figures."""

_HEAD = "Extreme eigenvalues of the Hessian with their residuals, the largest first, then the smallest."
_BOUND = "An eigenvalue that has not converged is a bound only."
_NO_SHARPNESS = (
    " Sharpness along training is left out: record `Sharpness()` or `Parameters(Every(k))` in the experiment."
)

_SYMBOLS = {
    "hessian": "H",
    "gauss-newton": "$H_o$, the Gauss-Newton part",
    "functional": "$H_f$, the functional part",
}
_HATCHED = "Blocks of rows and columns; a hatched block is zero to rounding."
_SMOOTHED = "Smoothed by a hundredth of each spectrum's range; bands of two errors hold the truth in 93 of 100 cases."


def curvature_page(found: Curvature, experiment: Experiment, provenance: Mapping[str, str] | None = None) -> Report:
    """The page of the curvature at a point of a run.

    Args:
        found: the curvature.
        experiment: of the run.
        provenance: what the caller knows of how this came about, such as the command; versions are added.
    """
    figures = [_heat_map(found.blocks, part) for part in PARTS]
    figures.append(_spectra(found))
    if found.sharpness is not None:
        figures.append(_sharpness(experiment, found))
    every = {"all": found.whole} | dict(found.pairs)
    listing = [f"    {block:<16}" + "  ".join(map(_line, pairs.listed())) for block, pairs in every.items()]
    said = _BOUND + (_NO_SHARPNESS if found.sharpness is None else "")
    return Report(
        title=f"Curvature: {experiment.label} {experiment.digest[:12]}",
        question="\n".join([_HEAD, "", *listing, "", said]),
        figures=figures,
        definitions=[(experiment.digest[:12], describe(experiment))],
        provenance=dict(provenance or {}) | versions(),
    )


def _line(number: tuple[float, float, bool]) -> str:
    return f"{number[0]:.4g} ± {number[1]:.1g}" + ("" if number[2] else " (not converged)")


def _heat_map(blocks: Blocks, part: str) -> Figure:
    size = blocks.norm(part) / np.sqrt(np.outer(blocks.sizes, blocks.sizes))
    chart = heat_map(
        part,
        Categories("columns", blocks.names),
        Categories("rows", blocks.names),
        np.where(size > ROUNDING * size.max(), size, np.nan),
        label="root mean square of the entries",
    )
    return Figure(_SYMBOLS[part], _HATCHED, chart)


def _spectra(found: Curvature) -> Figure:
    reach = {name: float(np.abs(one.grid).max()) for name, one in found.densities.items()}
    curves = {
        name: (one.grid, one.density.value, one.density.error)
        for name, one in found.densities.items()
        if reach[name] > ROUNDING * reach["all"]
    }
    return Figure("Spectra by block", _SMOOTHED, densities("Spectra by block", curves))


def _sharpness(experiment: Experiment, found: Curvature) -> Figure:
    """The sharpness with what the optimizer bears, where that is known of this Hessian."""
    assert found.sharpness is not None
    (steps, largest), optimizer = found.sharpness, experiment.optimizer
    said = "preconditioned Hessian" if found.preconditioned else "Hessian"
    chart = lines("Sharpness along training", ChartAxis("step"), ChartAxis("largest eigenvalue", "log"))
    add_band(chart, steps, np.asarray(largest.value)[None], "sharpness")
    if optimizer.threshold is not None and (found.preconditioned or not optimizer.adaptive):
        add_level(chart, float(optimizer.threshold), f"threshold of {type(optimizer).__name__}")
    return Figure("Sharpness along training", f"Largest eigenvalue of the {said} of all blocks.", chart)

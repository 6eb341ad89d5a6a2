"""The page of landscapes: surfaces and contour maps of the first seed, and all numbers."""

from collections.abc import Mapping

from descentlab._describe import describe
from descentlab.experiment import Experiment
from descentlab.measures.landscape import PROTOCOLS, Landscapes
from descentlab.pages.report import Figure, Report
from descentlab.plots.landscape import AXES, contours, sheets, surfaces
from descentlab.store import versions

__all__ = ["landscape_page"]

_TITLES = {
    "random": "Random plane through the end",
    "trajectory": "Plane of the path",
    "common": "Common plane of both runs",
}

_CAPTIONS = {
    "random": "Height and colour are the loss; the end lies at (0, 0), and 1 is a change as large as the weights.",
    "trajectory": "Height and colour are the loss; the line is the path, drawn at the closest points of the plane.",
    "common": "Height and colour are the loss of each run on the same plane; the lines are their paths.",
}

_FROM_ABOVE = "Circle: start; star: end; crosses: local minima within the plane."


def landscape_page(
    found: Landscapes, runs: Mapping[str, Experiment], provenance: Mapping[str, str] | None = None
) -> Report:
    """The page of what was measured around the ends of runs.

    Args:
        found: the landscapes.
        runs: the experiments by the names that the landscapes have for them.
        provenance: what the caller knows of how this came about, such as the command; versions are added.
    """
    figures = []
    for protocol in PROTOCOLS:
        if shown := sheets(found, protocol):
            title, axes = _TITLES[protocol], AXES[protocol]
            figures.append(Figure(title, _CAPTIONS[protocol], surfaces(title, shown, axes)))
            figures.append(Figure(f"{title}, from above", _FROM_ABOVE, contours(title, shown, axes)))
    listed = [
        f"    {row.plane:<11}{row.number.replace('_', ' '):<18}{row.run:<18}"
        + "  ".join(f"{one.value:.4g} ± {one.error:.1g}" for one in row.seeds.values())
        for row in found.listed()
    ]
    return Report(
        title=f"Loss landscape: {', '.join(runs)}",
        question="\n".join(["What was measured:", "", *listed, "", "One number a seed with its error."]),
        figures=figures,
        definitions=[(f"{name} {one.digest[:12]}", describe(one)) for name, one in runs.items()],
        provenance=dict(provenance or {}) | versions(),
    )

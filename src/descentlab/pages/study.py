"""The page of a study: its findings and claims, the figures of its sections, its base experiments."""

import inspect
from collections.abc import Mapping

import jax

from descentlab._describe import describe, value_at
from descentlab.pages.report import Figure, Report
from descentlab.store import versions
from descentlab.study import Outcome, bases

__all__ = ["study_page"]


def study_page(outcome: Outcome, provenance: Mapping[str, str] | None = None) -> Report:
    """The page of what a study came to; figures without anything on them are left out.

    Args:
        outcome: of the study.
        provenance: what the caller knows of how this came about, such as the command; how runs ended, device and
            versions are added.
    """
    known = dict(provenance or {})
    known |= {"how runs ended": "; ".join(outcome.remarks)} if outcome.remarks else {}
    known |= {"device": ", ".join(sorted({device.device_kind for device in jax.devices()}))} | versions()
    study = outcome.study
    path = study.axis[0]
    return Report(
        title=study.title,
        question=study.question,
        paper=study.paper,
        findings=outcome.findings,
        claims=outcome.claims,
        figures=_figures(outcome),
        definitions=[(f"base, {type(value_at(one, path)).__name__}", describe(one)) for one in bases(study)],
        provenance=known,
    )


def _figures(outcome: Outcome) -> list[Figure]:
    """The study's own figure first."""
    found = []
    for section in outcome.study.sections:
        for draw in section.figures:
            title, _, caption = inspect.cleandoc(draw.__doc__ or section.name).partition("\n")
            chart = draw(outcome.runs[section.name])
            if chart.data:
                place = 0 if draw is outcome.study.figure else len(found)
                found.insert(place, Figure(title.rstrip("."), caption.strip(), chart))
    return found

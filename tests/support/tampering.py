"""Recorded runs of a study, tampered with. An edit turns the runs of a section into others."""

import dataclasses
from collections.abc import Callable

import numpy as np

from descentlab.runs import Run, Runs

Edit = Callable[[Runs], Runs]


def each(change: Callable[[Run], Run], *families: str) -> Edit:
    """Change every run of some families, or of all."""
    return lambda runs: Runs(
        {
            family: [change(run) if not families or family in families else run for run in one]
            for family, one in runs.items()
        }
    )


def with_values(run: Run, probe: str, values: np.ndarray) -> Run:
    series = dataclasses.replace(run.trajectory[probe], values=values)
    trajectory = dataclasses.replace(run.trajectory, series={**run.trajectory.series, probe: series})
    return dataclasses.replace(run, trajectory=trajectory)


def edit(probe: str, change: Callable, *families: str, **chosen: str) -> Edit:
    """Change a series, or what is selected of it by axis, as a function of its values and the run."""

    def of(run: Run) -> Run:
        if probe not in run.trajectory.series:
            return run
        if not chosen:
            return with_values(run, probe, change(run.trajectory[probe].values.copy(), run))
        run = with_values(run, probe, run.trajectory[probe].values.copy())
        part = run.trajectory[probe].sel(**chosen).values  # a view
        part[...] = change(part.copy(), run)
        return run

    return each(of, *families)


def chain(*edits: Edit) -> Edit:
    def apply(runs: Runs) -> Runs:
        for one in edits:
            runs = one(runs)
        return runs

    return apply


def untouched(runs: Runs) -> Runs:
    return runs


def times(probe: str, factor: float, *families: str, **chosen: str) -> Edit:
    return edit(probe, lambda values, _: factor * values, *families, **chosen)


def done_in_a_step(certificate: str, *families: str) -> Edit:
    """A bound of sigma_min so large that the certified rate leaves no loss after a step."""

    def change(kept: np.ndarray, run: Run) -> np.ndarray:
        return 0 * kept + run.trajectory.last("step_size")[:, None] ** -0.5

    return edit(certificate, change, *families, quantity="kept")


@dataclasses.dataclass(frozen=True)
class Fault:
    """A claim, what is done to the runs so that it holds, and what then so that it fails."""

    claim: str
    section: object
    wrong: Edit
    right: Edit = untouched
    claims: Callable[[Runs], list] | None = None

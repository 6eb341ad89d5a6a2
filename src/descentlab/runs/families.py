"""Many runs, of which some are chosen and their numbers gathered: a family, and all families of a section."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np

from descentlab._describe import value_at
from descentlab.experiment import Experiment
from descentlab.runs.run import Run
from descentlab.trajectory import Trajectory

__all__ = ["Family", "Runs", "case_of"]

AXIS = "model.attention"
"""The field that is compared, unless another is named."""


def case_of(experiment: Experiment, axis: str = AXIS) -> str:
    """The case of an experiment: what it has in the field that is compared, as a word.

    Args:
        experiment: one of several.
        axis: path of the field.

    Returns:
        A number or word as text, of a definition the class in small letters.

    Raises:
        Mistake: if the path names no field.
    """
    value = value_at(experiment, axis)
    return str(value) if isinstance(value, str | int | float) else type(value).__name__.lower()


class Family(Sequence[Run]):
    """Family in a row. Numbers of all lanes are gathered run by run, those of a run in the order of its seeds.

    Args:
        runs: these.
        axis: path of the field that is compared; its value is the case of a run.
    """

    def __init__(self, runs: Iterable[Run] = (), axis: str = AXIS):
        self._runs = tuple(runs)
        self.axis = axis

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> "Family": ...
    def __getitem__(self, index: int | slice) -> "Run | Family":
        """A run by its position, or those of a slice."""
        return Family(self._runs[index], self.axis) if isinstance(index, slice) else self._runs[index]

    def __add__(self, others: Iterable[Run]) -> "Family":
        """These and others."""
        return Family((*self._runs, *others), self.axis)

    @property
    def cases(self) -> tuple[str, ...]:
        """The case of every run, each once, in order."""
        return tuple(self.by_case())

    def by_case(self) -> dict[str, "Family"]:
        """The runs of each case, in order."""
        found: dict[str, list[Run]] = {}
        for run in self:
            found.setdefault(case_of(run.experiment, self.axis), []).append(run)
        return {case: Family(some, self.axis) for case, some in found.items()}

    def of(self, case: str) -> "Family":
        """The runs of one case; none where there is no such case."""
        return self.by_case().get(case, Family((), self.axis))

    def where(self, path: str, value: Any) -> "Family":
        """The runs with a value in a field, such as `where("model.heads", 2)`.

        Raises:
            Mistake: if the path names no field.
        """
        return Family((run for run in self if run.field(path) == value), self.axis)

    def by(self, *fields: str) -> dict[Any, "Family"]:
        """The runs by the value of a field, or by the values of several as a tuple, in order.

        Raises:
            Mistake: if a path names no field.
        """
        found: dict[Any, list[Run]] = {}
        for run in self:
            values = tuple(run.field(path) for path in fields)
            found.setdefault(values if len(fields) > 1 else values[0], []).append(run)
        return {value: Family(some, self.axis) for value, some in found.items()}

    @property
    def trajectories(self) -> list[Trajectory]:
        """What the runs left."""
        return [run.trajectory for run in self]

    @property
    def seeds(self) -> int:
        """How many seeds there are of every run."""
        return min((len(run.trajectory.seeds) for run in self), default=0)

    def field(self, path: str) -> np.ndarray:
        """The value of a field, one a lane.

        Raises:
            Mistake: if the path names no field.
        """
        return np.asarray([run.field(path) for run in self for _ in run.trajectory.seeds])

    def first(self, probe: str, **chosen: str | int) -> np.ndarray:
        """The first record of every lane, axes lane, then those of the probe that are not chosen from.

        Args:
            probe: its name.
            **chosen: entries by axis, as in `Series.sel`.

        Raises:
            KeyError: if there is no such probe, axis or entry.
        """
        return _joined(run.trajectory[probe].sel(**chosen).values[:, 0] for run in self)

    def last(self, probe: str, **chosen: str | int) -> np.ndarray:
        """The last record of every lane up to where it ended; see `first`.

        Args:
            probe: its name.
            **chosen: entries by axis.

        Raises:
            KeyError: if there is no such probe, axis or entry.
        """
        return _joined(run.trajectory.last(probe, **chosen) for run in self)

    def relative(self, probe: str = "loss", **chosen: str | int) -> np.ndarray:
        """The last record of every lane over its first; see `first`.

        Args:
            probe: its name.
            **chosen: entries by axis.

        Raises:
            KeyError: if there is no such probe, axis or entry.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.last(probe, **chosen) / self.first(probe, **chosen)

    def pooled(self, probe: str, **chosen: str | int) -> np.ndarray:
        """All records of all lanes up to where each ended, axes record, then those of the probe not chosen from.

        Args:
            probe: its name.
            **chosen: entries by axis, as in `Series.sel`.

        Raises:
            KeyError: if there is no such probe, axis or entry.
        """
        return _joined(run.trajectory[probe].sel(**chosen).values[run.trajectory.made(probe)] for run in self)


def _joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    """One after the other; nothing where there are none."""
    found = list(parts)
    return np.concatenate(found) if found else np.zeros(0)


class Runs(Mapping[str, Family]):
    """The runs of a section, by the name of their family.

    Args:
        runs: by family.
        axis: path of the field that is compared.
    """

    def __init__(self, runs: Mapping[str, Iterable[Run]], axis: str = AXIS):
        self._runs = {name: Family(family, axis) for name, family in runs.items()}
        self.axis = axis

    def __getitem__(self, family: str) -> Family:
        """The runs of a family."""
        return self._runs[family]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __or__(self, others: Mapping[str, Iterable[Run]]) -> "Runs":
        """These families and others, which take the place of those of the same name."""
        return Runs({**self, **others}, self.axis)

    @property
    def every(self) -> Family:
        """The runs of all families."""
        return Family((run for family in self.values() for run in family), self.axis)

    @property
    def cases(self) -> tuple[str, ...]:
        """The case of every run, each once, in order."""
        return self.every.cases

    def of(self, case: str) -> "Runs":
        """The families with the runs of one case alone; no family where there is none."""
        found = {name: family.of(case) for name, family in self.items()}
        return Runs(found if any(found.values()) else {}, self.axis)

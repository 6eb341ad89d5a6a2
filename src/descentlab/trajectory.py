"""What a run leaves: recorded series, the final blocks, and how each lane ended."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from descentlab._check import nearest
from descentlab.axis import Axis, check_axes
from descentlab.status import Status

__all__ = ["Series", "Trajectory"]


@dataclasses.dataclass(frozen=True)
class Series:
    """One probe's record.

    Attributes:
        steps: the recorded steps.
        values: axes lane, record, then those of the probe. NaN after a lane ended early.
        axes: names of the axes of the probe.

    Raises:
        Mistake: if the axes do not name those of the values.

    Examples:
        >>> quantity = Axis("quantity", ("entropy", "row_sum"))
        >>> record = Series(np.array([0, 5]), np.arange(12.0).reshape(1, 2, 3, 2), (Axis("layer"), quantity))
        >>> record.sel(layer=2, quantity="row_sum").values
        array([[ 5., 11.]])
    """

    steps: np.ndarray
    values: np.ndarray
    axes: tuple[Axis, ...] = ()

    def __post_init__(self):
        check_axes("a series", self.axes, self.values.shape[2:])

    def entries(self, name: str) -> tuple[str, ...] | tuple[int, ...]:
        """What can be selected along an axis: its labels, or the numbers from 0.

        Raises:
            KeyError: if there is no such axis; says which there are.
        """
        dimension = self._dimension(name)
        return self.axes[dimension].labels or tuple(range(self.values.shape[2 + dimension]))

    def _dimension(self, name: str) -> int:
        names = [axis.name for axis in self.axes]
        if name not in names:
            known = nearest(name, names) if names else "a record is a single number"
            raise KeyError(f"no axis {name!r} was recorded; {known}")
        return names.index(name)

    def sel(self, **chosen: str | int) -> "Series":
        """The record of one entry along each of the named axes, which it has no more.

        Args:
            **chosen: labels by axis, or numbers where entries are numbered.

        Raises:
            KeyError: if there is no such axis or entry; says which there are.
        """
        index: list[slice | int] = [slice(None)] * self.values.ndim
        for name, entry in chosen.items():
            dimension = self._dimension(name)
            index[2 + dimension] = self.axes[dimension].place(entry, self.values.shape[2 + dimension])
        left = tuple(axis for axis in self.axes if axis.name not in chosen)
        return Series(self.steps, self.values[tuple(index)], left)

    def at(self, step: int) -> np.ndarray:
        """The values at a recorded step, axes lane, then those of the probe.

        Raises:
            KeyError: if it was not recorded.
        """
        found = np.flatnonzero(self.steps == step)
        if not found.size:
            raise KeyError(f"step {step} was not recorded")
        return self.values[:, found[0]]

    def before(self, step: int) -> "Series":
        """The record up to and including a step."""
        keep = self.steps <= step
        return Series(self.steps[keep], self.values[:, keep], self.axes)


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """The lanes of one experiment, one a seed.

    Attributes:
        seeds: the seed of each lane.
        series: one record a probe, by its name in the experiment.
        final: all blocks of the model after the last step by name, trained or not, a leading lane axis; several
            arrays of one name are numbered `name.0`, `name.1`.
        status: how each lane ended.
        ended: the step at which a lane stopped, because its stopping rule held or something went wrong; -1 where it
            made all its steps.
    """

    seeds: tuple[int, ...]
    series: Mapping[str, Series]
    final: Mapping[str, np.ndarray]
    status: tuple[Status, ...]
    ended: tuple[int, ...]

    def __getitem__(self, probe: str) -> Series:
        """The record of a probe."""
        if probe not in self.series:
            raise KeyError(f"no probe {probe!r} was recorded; {nearest(probe, self.series)}")
        return self.series[probe]

    @property
    def finished(self) -> np.ndarray:
        """Which lanes ended as they should: they made all their steps, or their stopping rule held."""
        return np.asarray([status in (Status.FINISHED, Status.REACHED) for status in self.status])

    @property
    def reached(self) -> np.ndarray:
        """Which lanes came where their stopping rule held."""
        return np.asarray([status == Status.REACHED for status in self.status])

    def last(self, probe: str, **chosen: str | int) -> np.ndarray:
        """The last record of each lane up to where it ended, axes lane, then those of the probe; NaN without any.

        Args:
            probe: its name.
            **chosen: entries by axis, as in `Series.sel`; the array has these axes no more.

        Raises:
            KeyError: if there is no such probe, axis or entry.
        """
        places = self.made(probe).sum(axis=1) - 1  # -1, so the one at the end, where all come later
        return self[probe].sel(**chosen).values[np.arange(len(self.seeds)), places]

    def made(self, probe: str) -> np.ndarray:
        """Which records of a probe were made, axes lane and record: all but those after the end of a lane.

        Args:
            probe: its name.

        Raises:
            KeyError: if there is no such probe.
        """
        ended = np.asarray([np.inf if step < 0 else step for step in self.ended])
        return self[probe].steps <= ended[:, None]

    def ends(self) -> tuple[dict[str, np.ndarray], ...]:
        """The final blocks of each lane."""
        return tuple({name: array[i] for name, array in self.final.items()} for i in range(len(self.seeds)))

    def lanes(self, chosen: np.ndarray) -> "Trajectory":
        """The lanes at the given positions."""
        chosen = np.asarray(chosen, dtype=np.int64)
        series = {name: Series(s.steps, s.values[chosen], s.axes) for name, s in self.series.items()}
        return Trajectory(
            seeds=tuple(self.seeds[i] for i in chosen),
            series=series,
            final={name: array[chosen] for name, array in self.final.items()},
            status=tuple(self.status[i] for i in chosen),
            ended=tuple(self.ended[i] for i in chosen),
        )


def joined(parts: list[Trajectory]) -> Trajectory:
    """The lanes of several trajectories of one experiment, in order."""
    first = parts[0]
    series = {
        name: Series(s.steps, np.concatenate([part.series[name].values for part in parts]), s.axes)
        for name, s in first.series.items()
    }
    return Trajectory(
        seeds=tuple(seed for part in parts for seed in part.seeds),
        series=series,
        final={name: np.concatenate([part.final[name] for part in parts]) for name in first.final},
        status=tuple(status for part in parts for status in part.status),
        ended=tuple(ended for part in parts for ended in part.ended),
    )

"""A run with its lanes, trained just now or kept in a store."""

import dataclasses
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from descentlab._arithmetic import arithmetic
from descentlab._describe import value_at
from descentlab._tree import named, with_named
from descentlab.experiment import Experiment, Lane
from descentlab.lanes import Lanes
from descentlab.mistake import Mistake
from descentlab.objective import Splits
from descentlab.probes import AbstractProbe, Parameters, StepSize
from descentlab.runs.lane import TrainedLane
from descentlab.store import Store, StoreError
from descentlab.training import begun
from descentlab.trajectory import Series, Trajectory

__all__ = ["Run", "find", "load"]


@dataclasses.dataclass(frozen=True)
class Run:
    """An experiment with its lanes.

    Attributes:
        experiment: the definition.
        trajectory: what the lanes left.
        origin: the run from whose end they start, where the experiment has an origin; a lane is not made again
            without it.

    Examples:
        >>> from descentlab import Experiment, train
        >>> from descentlab.probes import GramSpectrum
        >>> experiment = Experiment(steps=5)
        >>> run = Run(experiment, train(experiment, seeds=2))
        >>> run.look(GramSpectrum()).sel(quantity="smallest").values.shape
        (2, 1)
    """

    experiment: Experiment
    trajectory: Trajectory
    origin: "Run | None" = None

    def field(self, path: str) -> Any:
        """The value of a field of the experiment, such as `"model.heads"`.

        Raises:
            Mistake: if the path names no field.
        """
        return value_at(self.experiment, path)

    def chosen(self, lanes: np.ndarray) -> "Run":
        """The run with the lanes at these positions alone."""
        return dataclasses.replace(self, trajectory=self.trajectory.lanes(lanes))

    def finished(self) -> "Run":
        """The run without the lanes that stopped early."""
        return self.chosen(np.flatnonzero(self.trajectory.finished))

    def lane(self, seed: int) -> TrainedLane:
        """The lane of a seed.

        Raises:
            Mistake: if the run does not have the seed, or not what its origin left.
        """
        seeds = self.trajectory.seeds
        if seed not in seeds:
            raise Mistake(f"this run has the seeds {', '.join(map(str, seeds))}, got seed {seed}")
        return self.chosen(np.asarray([seeds.index(seed)])).lanes()[0]

    def lanes(self) -> list[TrainedLane]:
        """All lanes, in the order of the trajectory.

        Raises:
            Mistake: if the origin is missing, or ended under other seeds.
        """
        seeds = self.trajectory.seeds
        if not seeds:
            return []
        together = Lanes((self.experiment,) * len(seeds), seeds, self._ends())
        arrays, rest = eqx.partition(begun(together), eqx.is_array)
        starts = (eqx.combine(jax.tree.map(operator.itemgetter(at), arrays), rest) for at in range(len(seeds)))
        return [self._lane(at, start, together.stored) for at, start in enumerate(starts)]

    def _lane(self, at: int, start: Lane, stored: Splits | None) -> TrainedLane:
        """The lane at a position, which began so."""
        trajectory, seed = self.trajectory, self.trajectory.seeds[at]
        end = trajectory.ends()[at]
        if absent := [name for name in named(start.start) if name not in end]:
            raise Mistake(f"wanted stored parameters, but seed {seed} has no {absent[0]!r}; run it again")
        with arithmetic(self.experiment.precision):
            stopped = with_named(start.start, {name: end[name] for name in named(start.start)})
        steps, path = self._recorded(Parameters, at)
        known, sizes = self._recorded(StepSize, at)
        ended = trajectory.ended[at]
        return TrainedLane(
            experiment=self.experiment,
            seed=seed,
            begun=start,
            stored=stored,
            objective=start.objective,
            last=self.experiment.steps if ended < 0 else ended,
            stopped=stopped,
            finished=bool(trajectory.finished[at]),
            steps=steps,
            path=path.reshape(steps.size, sum(leaf.size for leaf in jax.tree.leaves(stopped))),
            step_sizes=dict(zip(known.tolist(), sizes.tolist(), strict=True)),
        )

    def _recorded(self, kind: type[AbstractProbe], at: int) -> tuple[np.ndarray, np.ndarray]:
        """The steps at which the first probe of a class looked at a lane, and what it saw."""
        for name, probe in self.experiment.probes.items():
            if isinstance(probe, kind) and not probe.when.at_end and name in self.trajectory.series:
                record, made = self.trajectory[name], self.trajectory.made(name)[at]
                return record.steps[made], record.values[at, made]
        return np.zeros(0, int), np.zeros(0)

    def _ends(self) -> tuple[dict[str, np.ndarray], ...]:
        """The blocks at the end of each lane's origin.

        Raises:
            Mistake: if they are not known.
        """
        if self.experiment.origin is None:
            return ()
        if self.origin is None:
            raise Mistake(
                f"this run starts from the end of another experiment ({self.experiment.origin.digest[:12]}), whose run "
                "is not here; run that too, and give it as `origin`"
            )
        ends = dict(zip(self.origin.trajectory.seeds, self.origin.trajectory.ends(), strict=True))
        if missing := [seed for seed in self.trajectory.seeds if seed not in ends]:
            raise Mistake(f"the origin of this run has no lanes of the seeds {missing}; run it under them too")
        return tuple(ends[seed] for seed in self.trajectory.seeds)

    def look(self, probe: AbstractProbe, step: int | None = None) -> Series:
        """What a probe says of a point of every lane, whether or not it was recorded.

        Args:
            probe: any but one that needs the next update; its schedule does not matter.
            step: 0, the last one, or one at which parameters were recorded; `None` takes the step at which each lane
                stopped, and the record then says the last of them.

        Raises:
            Mistake: if the parameters are not known there, or the probe does not fit the run.
        """
        seen = [lane.look(probe, step) for lane in self.lanes()]
        if not seen:
            raise Mistake("this run has no lanes to look at")
        return Series(max(one.steps for one in seen), np.concatenate([one.values for one in seen]), seen[0].axes)


def load(store: Store, experiment: Experiment, seeds: Sequence[int] | None = None) -> Run:
    """A run that a store keeps, with that of its origin where it is kept too.

    Args:
        store: where it is.
        experiment: its definition.
        seeds: those wanted; `None` takes all that are kept.

    Raises:
        StoreError: if a seed is not kept, or its folder cannot be used.
    """
    chosen = sorted(store.has(experiment)) if seeds is None else seeds
    if not chosen:
        raise StoreError(f"experiment {experiment.digest} is not in {store.root}; run it first")
    trajectory = store.get(experiment, chosen)
    origin = None
    if experiment.origin is not None and set(chosen) <= store.has(experiment.origin):
        origin = load(store, experiment.origin, chosen)
    return Run(experiment, trajectory, origin)


def find(store: Store, digest: str, seeds: Sequence[int] | None = None, *, files: Sequence[str | Path] = ()) -> Run:
    """A run that a store keeps, by the beginning of its digest.

    Args:
        store: where it is.
        digest: its digest or the first digits of it, as the commands list them.
        seeds: those wanted; `None` takes all that are kept.
        files: Python files that define classes of it.

    Raises:
        StoreError: if none or several runs are meant, or the one that is cannot be used.
        DefinitionError: if a class of it is neither of the package, nor imported already, nor in a named file.
    """
    return load(store, store.experiment(store.resolve(digest), files), seeds)

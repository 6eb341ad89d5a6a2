"""Landscapes of trained runs: planes through their weights by three protocols, and what was measured on them.

- *random*: a plane through the end of a run along two random directions, the same draw for every kernel;
- *trajectory*: the plane of a run's own path;
- *common*: the one plane through a common start and the ends of two runs, on which the kernel is the only difference.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from descentlab._arithmetic import arithmetic
from descentlab._tree import block_names, named, with_named
from descentlab._types import Array, PyTree
from descentlab.curvature import sharpness
from descentlab.estimate import Estimate
from descentlab.experiment import Experiment, Lane, begin, stored
from descentlab.landscape import (
    NoPlane,
    Slice,
    Surface,
    along,
    balanced,
    barrier,
    common_plane,
    laplacian,
    local_minima,
    negative_share,
    random_plane,
    segment,
    surface,
    trajectory_plane,
)
from descentlab.landscape.surface import Loss, Progress
from descentlab.mistake import Mistake
from descentlab.objective import Examples, Objective, Splits
from descentlab.probes import Parameters
from descentlab.trajectory import Trajectory

__all__ = ["PROTOCOLS", "Leg", "Survey", "View", "common", "end_numbers", "legs", "random", "survey", "trajectory"]

PROTOCOLS = ("random", "trajectory", "common")
"""How a plane is chosen."""


SEGMENT_POINTS = 101
"""Points on the straight line from start to end; odd, so that leaving out every other one keeps both ends."""

MATVECS = 60
"""Lanczos steps of a sharpness."""

SAMPLES = 512
"""Most examples of an evaluation subset."""

MARGIN = 1.6
"""Side of a plane's box, in units of the largest extent of the path within it."""


@dataclasses.dataclass(frozen=True)
class Leg:
    """One lane of a run as its landscape sees it.

    Attributes:
        name: of the run, most often its kernel.
        seed: of the lane.
        objective: on a fixed evaluation subset.
        start: the trained blocks at step 0.
        end: those after the last step.
        path: those at recorded steps as vectors in tree order; `None` where none were recorded.
        precision: in which everything is computed.
    """

    name: str
    seed: int
    objective: Objective
    start: PyTree
    end: PyTree
    path: np.ndarray | None
    precision: str

    @property
    def loss(self) -> Loss:
        """The loss, a function of the trained blocks."""
        return self.objective.loss

    def points(self) -> np.ndarray:
        """Start, recorded points and end, as vectors in tree order."""
        with arithmetic(self.precision):
            ends = [np.asarray(ravel_pytree(tree)[0])[None] for tree in (self.start, self.end)]
        return np.concatenate([ends[0], *([] if self.path is None else [self.path]), ends[1]])


def legs(
    run: tuple[Experiment, Trajectory], name: str, *, before: Trajectory | None = None, samples: int = SAMPLES
) -> list[Leg]:
    """The lanes of a run, each with its loss on a fixed evaluation subset, nothing dropped.

    The subset is drawn once, by the data and not by the seed: all training examples of the run, or `samples` of them
    where they are more.

    Args:
        run: an experiment and its trajectory.
        name: what the legs are called.
        before: the trajectory of the experiment's origin, where it has one.
        samples: most examples that are evaluated.

    Raises:
        Mistake: if a lane ended as it should not, it has no stored parameters, or the trajectory of the origin
            is missing.
    """
    experiment, trajectory = run
    if not trajectory.finished.all():
        lost = [seed for seed, well in zip(trajectory.seeds, trajectory.finished, strict=True) if not well]
        raise Mistake(f"wanted the end of a run, but seeds {lost} of {name} stopped early; leave them out")
    if experiment.origin is not None and before is None:
        raise Mistake(f"{name} starts from the end of another experiment; give that one's trajectory too")
    held = stored(experiment)
    recorded = [probe for probe, kind in experiment.probes.items() if isinstance(kind, Parameters)]
    found = []
    with arithmetic(experiment.precision):
        for lane, (seed, end) in enumerate(zip(trajectory.seeds, trajectory.ends(), strict=True)):
            begun = None if before is None else jax.tree.map(jnp.asarray, before.ends()[before.seeds.index(seed)])
            here = begin(experiment, key=jax.random.key(seed), stored=held, end=begun)
            params = here.start
            if absent := [block for block in named(params) if block not in end]:
                raise Mistake(f"wanted stored parameters, but {name} has no {absent[0]!r}; run it again")
            last = with_named(params, {block: end[block] for block in named(params)})
            path = trajectory[recorded[0]].values[lane] if recorded else None
            seen = here.objective.on(_evaluated(experiment, here, held, samples))
            found.append(Leg(name, seed, seen, params, last, path, experiment.precision))
    return found


def _evaluated(experiment: Experiment, lane: Lane, held: Splits | None, samples: int) -> Examples:
    """The examples on which a landscape is drawn."""
    pool = experiment.data.pool(lane.objective, experiment.task, lane.source(held), samples)
    rows = np.sort(np.random.default_rng(0).choice(pool.rows, min(samples, pool.rows), replace=False))
    return jax.tree.map(jnp.asarray, pool.at(rows))


@dataclasses.dataclass(frozen=True)
class View:
    """The loss of one leg on one plane.

    Attributes:
        leg: whose loss.
        protocol: how the plane was chosen.
        draw: number of the random plane, 0 for the other protocols.
        surface: the loss.
        path: coordinates of the leg's points, and their distance from the plane.
        numbers: what was measured on the surface, by name.
        minima: coordinates of the local minima.
    """

    leg: Leg
    protocol: str
    draw: int
    surface: Surface
    path: tuple[np.ndarray, np.ndarray]
    numbers: Mapping[str, Estimate]
    minima: np.ndarray


def random(leg: Leg, draw: int, points: int, *, half: float = 1.0, progress: Progress | None = None) -> View:
    """The plane through the end along two random directions; a coordinate of 1 is a change as large as the weights.

    Args:
        leg: whose end is the centre.
        draw: number of the plane; the same number gives the same draw for every leg of equal blocks.
        points: of the grid along each direction.
        half: the grid goes from minus this to this.
        progress: told how far the work is.
    """
    with arithmetic(leg.precision):
        plane = random_plane(leg.end, key=jax.random.key(draw))
        side = np.linspace(-half, half, points)
        return _view(leg, "random", plane, (side, side), progress, draw=draw)


def trajectory(leg: Leg, points: int, *, progress: Progress | None = None) -> View:
    """The plane of the leg's path, from its start (0, 0) to its end (1, 0).

    Args:
        leg: one with a recorded path.
        points: of the grid along each direction.
        progress: told how far the work is.

    Raises:
        NoPlane: if no path was recorded, or it spans no plane.
    """
    if leg.path is None:
        raise NoPlane(
            f"the plane of a path needs recorded parameters, but {leg.name} has none; add the probe "
            "Parameters(Every(k)) to the experiment"
        )
    with arithmetic(leg.precision):
        plane = trajectory_plane(leg.start, jnp.asarray(leg.points()[1:]))
        return _view(
            leg,
            "trajectory",
            plane,
            _box(np.asarray(plane.place(jnp.asarray(leg.points())).coordinates), points),
            progress,
        )


def common(one: Leg, other: Leg, points: int, *, progress: Progress | None = None) -> tuple[View, View]:
    """The losses of two legs with one start on the plane through their ends; the first end has coordinates (1, 0).

    Args:
        one: the first leg.
        other: the second.
        points: of the grid along each direction.
        progress: told how far the work is, for each leg on its own.

    Raises:
        NoPlane: if their starts differ, or the three points lie on one line.
    """
    with arithmetic(one.precision):
        paths = [leg.points() for leg in (one, other)]
        if paths[0].shape[1] != paths[1].shape[1] or not np.array_equal(paths[0][0], paths[1][0]):
            raise NoPlane(
                f"a common plane needs two runs with one start; those of {one.name} and {other.name} differ; give them "
                "the same seed, and the same origin or initialisation"
            )
        ends = jnp.stack([jnp.asarray(path[-1]) for path in paths])
        coordinates = common_plane(one.start, ends).place(jnp.concatenate(paths)).coordinates
        sides = _box(np.asarray(coordinates), points)
        # The same plane for both, each in a tree of its own kind.
        first, second = (_view(leg, "common", common_plane(leg.start, ends), sides, progress) for leg in (one, other))
        return first, second


def _box(coordinates: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Grid lines of a square around points, with room on all sides."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    middle, half = (low + high) / 2, MARGIN * (high - low).max() / 2
    first, second = (np.linspace(m - half, m + half, points) for m in middle)
    return first, second


def _view(
    leg: Leg,
    protocol: str,
    plane: Slice,
    sides: tuple[np.ndarray, np.ndarray],
    progress: Progress | None,
    draw: int = 0,
) -> View:
    found = surface(leg.loss, plane, *sides, progress=progress)
    place = plane.place(jnp.asarray(leg.points()))
    minima = local_minima(leg.loss, plane, found)
    # Random directions are relative to the weights; the others have a length.
    bend = laplacian(found, unit=1.0 if protocol == "random" else float(plane.length))
    size, error = np.abs(bend.value), np.asarray(bend.error)
    numbers = {
        "minima": Estimate(float(len(minima.values)), float(minima.unresolved)),
        "mean_laplacian": Estimate(float(size.mean()), float(error.mean())),
        "largest_laplacian": Estimate(float(size.max()), float((size + error).max() - size.max())),
        "negative_share": negative_share(found),
    }
    path = (np.asarray(place.coordinates), np.asarray(place.distance))
    return View(leg, protocol, draw, found, path, numbers, minima.coordinates)


@eqx.filter_jit
def _sharpness(loss: Loss, params: PyTree, matvecs: int) -> Estimate:
    return sharpness(loss, params, matvecs=matvecs)


def end_numbers(leg: Leg, *, matvecs: int = MATVECS) -> dict[str, Estimate]:
    """The barrier between start and end, and the sharpness at the end.

    Where the loss has the scaling symmetry of query and key (it stays the same, to rounding, when both are balanced),
    the sharpness is that of the balanced weights, since the symmetry alone can make it as large as one likes.

    Args:
        leg: whose start and end.
        matvecs: Lanczos steps of the sharpness.
    """
    with arithmetic(leg.precision):
        line = np.linspace(0, 1, SEGMENT_POINTS)[:, None]
        between = along(leg.loss, segment(leg.start, leg.end), line)
        return {"barrier": barrier(between), "sharpness": _plain(_sharpness(leg.loss, representative(leg), matvecs))}


def representative(leg: Leg) -> PyTree:
    """The end of a leg, balanced where that leaves the loss as it is."""
    if not {"query", "key"} <= set(block_names(leg.end)):
        return leg.end
    even = balanced(leg.end)
    before, after = (np.float64(_loss(leg.loss, params)) for params in (leg.end, even))
    same = abs(after - before) <= 1e3 * np.finfo(jax.tree.leaves(even)[0].dtype).eps * abs(before)
    return even if same else leg.end


@eqx.filter_jit
def _loss(loss: Loss, params: PyTree) -> Array:
    return loss(params)


def _plain(estimate: Estimate) -> Estimate:
    return Estimate(float(estimate.value), float(estimate.error))


@dataclasses.dataclass(frozen=True)
class Survey:
    """Everything that was measured on the landscapes of several runs.

    Attributes:
        legs: all lanes, by the name of their run.
        views: all planes.
        ends: barrier and sharpness, by name and seed.
        left_out: which planes could not be made, and why.
    """

    legs: Mapping[str, Sequence[Leg]]
    views: Sequence[View]
    ends: Mapping[tuple[str, int], Mapping[str, Estimate]]
    left_out: Sequence[str] = ()

    def of(self, name: str, protocol: str) -> list[View]:
        """The views of one run by one protocol."""
        return [view for view in self.views if view.leg.name == name and view.protocol == protocol]

    def by_seed(self, name: str, number: str, protocol: str | None = None) -> dict[int, Estimate]:
        """A number of every seed of a run; the mean over its planes where there are several.

        Args:
            name: of the run.
            number: of a view, such as `mean_laplacian`, or of an end, such as `barrier`.
            protocol: of the views; `None` for numbers of an end.
        """
        if protocol is None:
            return {seed: found[number] for (of, seed), found in self.ends.items() if of == name}
        found: dict[int, list[Estimate]] = {}
        for view in self.of(name, protocol):
            found.setdefault(view.leg.seed, []).append(view.numbers[number])
        return {seed: Estimate(*np.mean(np.asarray(each, dtype=np.float64), axis=0)) for seed, each in found.items()}


def survey(
    legs: Mapping[str, Sequence[Leg]],
    *,
    points: int,
    draws: int,
    matvecs: int = MATVECS,
    progress: Progress | None = None,
) -> Survey:
    """All planes of several runs: random ones, each run's own, and for two runs the common one of each seed.

    Args:
        legs: lanes by the name of their run; those of one seed are compared with each other.
        points: of a grid along each direction.
        draws: number of random planes of a lane.
        matvecs: Lanczos steps of a sharpness.
        progress: told how many points of how many are done.
    """
    every = [leg for lanes in legs.values() for leg in lanes]
    pairs = [(one, other) for one, other in itertools.combinations(every, 2) if _comparable(legs, one, other)]
    total = points**2 * ((draws + 1) * len(every) + 2 * len(pairs))
    done = 0

    def told(now: int, plane: int) -> None:
        nonlocal done
        if progress is not None:
            progress(done + now, total)
        done += plane if now == plane else 0

    planes = [
        *(functools.partial(random, leg, draw, points) for leg in every for draw in range(draws)),
        *(functools.partial(trajectory, leg, points) for leg in every),
        *(functools.partial(common, one, other, points) for one, other in pairs),
    ]
    views: list[View] = []
    left_out: list[str] = []
    for plane in planes:
        try:
            found = plane(progress=told)
            views += found if isinstance(found, tuple) else (found,)
        except NoPlane as reason:
            left_out.append(str(reason))
    ends = {(leg.name, leg.seed): end_numbers(leg, matvecs=matvecs) for leg in every}
    return Survey(legs, views, ends, left_out)


def _comparable(legs: Mapping[str, Sequence[Leg]], one: Leg, other: Leg) -> bool:
    """Whether two legs are lanes of one seed of two runs, and there are no more runs."""
    return len(legs) == 2 and one.name != other.name and one.seed == other.seed

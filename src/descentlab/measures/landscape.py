"""Landscapes of runs: planes through their weights by three protocols, and what was measured on them.

- *random*: a plane through the end of a run along two random directions, the same draw for every kernel;
- *trajectory*: the plane of a run's own path;
- *common*: the one plane through a common start and the ends of two runs, on which the kernel is the only difference.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._arithmetic import arithmetic
from descentlab._tree import block_names
from descentlab._types import Array, PyTree
from descentlab.curvature import Hessian, Krylov, eigenpairs
from descentlab.estimate import Estimate
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
from descentlab.landscape.surfaces import Loss, Progress
from descentlab.runs import TrainedLane

__all__ = [
    "PROTOCOLS",
    "LandscapeRow",
    "Landscapes",
    "View",
    "common_views",
    "end_numbers",
    "landscapes",
    "path_view",
    "random_view",
    "representative",
]

_PLANE_NUMBERS = ("minima", "mean_laplacian", "largest_laplacian", "negative_share")
_END_NUMBERS = ("sharpness", "barrier")

PROTOCOLS = ("random", "trajectory", "common")
"""How a plane is chosen."""


SEGMENT_POINTS = 101
"""Points on the straight line from start to end; odd, so that leaving out every other one keeps both ends."""

MARGIN = 1.6
"""Side of a plane's box, in units of the largest extent of the path within it."""


@dataclasses.dataclass(frozen=True)
class View:
    """The loss of one lane on one plane.

    Attributes:
        seed: of the lane.
        protocol: how the plane was chosen.
        draw: number of the random plane, 0 for the other protocols.
        surface: the loss.
        path: coordinates of the lane's points, and their distance from the plane.
        numbers: what was measured on the surface, by name.
        minima: coordinates of the local minima.
    """

    seed: int
    protocol: str
    draw: int
    surface: Surface
    path: tuple[np.ndarray, np.ndarray]
    numbers: Mapping[str, Estimate]
    minima: np.ndarray


def random_view(
    lane: TrainedLane, draw: int, points: int, *, half: float = 1.0, progress: Progress | None = None
) -> View:
    """The plane through the end along two random directions; a coordinate of 1 is a change as large as the weights.

    Args:
        lane: whose end is the centre.
        draw: number of the plane; the same number gives the same draw for every lane of equal blocks.
        points: of the grid along each direction.
        half: the grid goes from minus this to this.
        progress: told how far the work is.
    """
    with arithmetic(lane.precision):
        plane = random_plane(lane.end, key=jax.random.key(draw))
        side = np.linspace(-half, half, points)
        return _view(lane, "random", plane, (side, side), progress, draw=draw)


def path_view(lane: TrainedLane, points: int, *, progress: Progress | None = None) -> View:
    """The plane of the lane's path, from its start (0, 0) to its end (1, 0).

    Args:
        lane: one with a recorded path.
        points: of the grid along each direction.
        progress: told how far the work is.

    Raises:
        NoPlane: if no path was recorded, or it spans no plane.
    """
    if not lane.steps.size:
        raise NoPlane(
            "the plane of a path needs recorded parameters, but this run has none; add the probe Parameters(Every(k)) "
            "to the experiment"
        )
    with arithmetic(lane.precision):
        plane = trajectory_plane(lane.start, jnp.asarray(lane.points()[1:]))
        sides = _box(np.asarray(plane.place(jnp.asarray(lane.points())).coordinates), points)
        return _view(lane, "trajectory", plane, sides, progress)


def common_views(
    one: TrainedLane, other: TrainedLane, points: int, *, progress: Progress | None = None
) -> tuple[View, View]:
    """The losses of two lanes with one start on the plane through their ends; the first end has coordinates (1, 0).

    Args:
        one: the first lane.
        other: the second.
        points: of the grid along each direction.
        progress: told how far the work is, for each lane on its own.

    Raises:
        NoPlane: if their starts differ, or the three points lie on one line.
    """
    with arithmetic(one.precision):
        paths = [lane.points() for lane in (one, other)]
        if paths[0].shape[1] != paths[1].shape[1] or not np.array_equal(paths[0][0], paths[1][0]):
            raise NoPlane(
                "a common plane needs two runs with one start, but theirs differ; give them the same seed, and the "
                "same origin or initialisation"
            )
        ends = jnp.stack([jnp.asarray(path[-1]) for path in paths])
        coordinates = common_plane(one.start, ends).place(jnp.concatenate(paths)).coordinates
        sides = _box(np.asarray(coordinates), points)
        # The same plane for both, each in a tree of its own kind.
        first, second = (
            _view(lane, "common", common_plane(lane.start, ends), sides, progress) for lane in (one, other)
        )
        return first, second


def _box(coordinates: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Grid lines of a square around points, with room on all sides."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    middle, half = (low + high) / 2, MARGIN * (high - low).max() / 2
    first, second = (np.linspace(m - half, m + half, points) for m in middle)
    return first, second


def _view(
    lane: TrainedLane,
    protocol: str,
    plane: Slice,
    sides: tuple[np.ndarray, np.ndarray],
    progress: Progress | None,
    draw: int = 0,
) -> View:
    found = surface(lane.objective.loss, plane, *sides, progress=progress)
    place = plane.place(jnp.asarray(lane.points()))
    minima = local_minima(lane.objective.loss, plane, found)
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
    return View(lane.seed, protocol, draw, found, path, numbers, minima.coordinates)


def end_numbers(lane: TrainedLane, *, method: Krylov) -> dict[str, Estimate]:
    """The barrier between start and end, and the sharpness at the end.

    Where the loss has the scaling symmetry of query and key (it stays the same, to rounding, when both are balanced),
    the sharpness is that of the balanced weights, since the symmetry alone can make it as large as one likes.

    Args:
        lane: whose start and end.
        method: how hard the sharpness is looked for.
    """
    with arithmetic(lane.precision):
        line = np.linspace(0, 1, SEGMENT_POINTS)[:, None]
        between = along(lane.objective.loss, segment(lane.start, lane.end), line)
        found = eigenpairs(Hessian(lane.objective, representative(lane)), method=method)
        return {
            "barrier": barrier(between),
            "sharpness": _plain(Estimate(*(jnp.asarray(one)[0] for one in found.placed(method)))),
        }


def representative(lane: TrainedLane) -> PyTree:
    """The end of a lane, balanced where that leaves the loss as it is."""
    if not {"query", "key"} <= set(block_names(lane.end)):
        return lane.end
    even = balanced(lane.end)
    before, after = (np.float64(_loss(lane.objective.loss, params)) for params in (lane.end, even))
    same = abs(after - before) <= 1e3 * np.finfo(jax.tree.leaves(even)[0].dtype).eps * abs(before)
    return even if same else lane.end


@eqx.filter_jit
def _loss(loss: Loss, params: PyTree) -> Array:
    return loss(params)


def _plain(estimate: Estimate) -> Estimate:
    return Estimate(float(estimate.value), float(estimate.error))


class LandscapeRow(NamedTuple):
    """One number of one run.

    Attributes:
        plane: the protocol, or `end`.
        number: its name.
        run: name of the run.
        seeds: its value for every seed.
    """

    plane: str
    number: str
    run: str
    seeds: Mapping[int, Estimate]


@dataclasses.dataclass(frozen=True)
class Landscapes:
    """Everything that was measured on the landscapes of several runs.

    Attributes:
        views: all planes, by the name of their run.
        ends: barrier and sharpness, by name and seed.
        left_out: which planes could not be made, and why.
    """

    views: Mapping[str, Sequence[View]]
    ends: Mapping[str, Mapping[int, Mapping[str, Estimate]]]
    left_out: Sequence[str] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the runs."""
        return tuple(self.views)

    def of(self, name: str, protocol: str) -> list[View]:
        """The views of one run by one protocol; none where there is no such run."""
        return [view for view in self.views.get(name, ()) if view.protocol == protocol]

    def by_seed(self, name: str, number: str, protocol: str | None = None) -> dict[int, Estimate]:
        """A number of every seed of a run; the mean over its planes where there are several.

        Args:
            name: of the run.
            number: of a view, such as `mean_laplacian`, or of an end, such as `barrier`.
            protocol: of the views; `None` for numbers of an end.
        """
        if protocol is None:
            return {seed: numbers[number] for seed, numbers in self.ends.get(name, {}).items()}
        found: dict[int, list[Estimate]] = {}
        for view in self.of(name, protocol):
            found.setdefault(view.seed, []).append(view.numbers[number])
        return {seed: Estimate(*np.mean(np.asarray(each, dtype=np.float64), axis=0)) for seed, each in found.items()}

    def listed(self) -> list[LandscapeRow]:
        """All numbers, run by run."""
        rows = []
        for name in self.names:
            rows += [LandscapeRow("end", number, name, self.by_seed(name, number)) for number in _END_NUMBERS]
            for protocol in PROTOCOLS:
                if self.of(name, protocol):
                    rows += [
                        LandscapeRow(protocol, one, name, self.by_seed(name, one, protocol)) for one in _PLANE_NUMBERS
                    ]
        return rows

    def as_data(self) -> dict[str, Any]:
        """All numbers as JSON-compatible data."""
        numbers = [
            {"plane": row.plane, "number": row.number, "run": row.run, "seed": seed, "value": one[0], "error": one[1]}
            for row in self.listed()
            for seed, one in row.seeds.items()
        ]
        return {"numbers": numbers, "left_out": list(self.left_out)}


def landscapes(
    lanes: Mapping[str, Sequence[TrainedLane]],
    *,
    points: int,
    draws: int,
    method: Krylov | None = None,
    progress: Progress | None = None,
) -> Landscapes:
    """All planes of several runs: random ones, each run's own, and for two runs the common one of each seed.

    Args:
        lanes: by the name of their run; those of one seed are compared with each other.
        points: of a grid along each direction.
        draws: number of random planes of a lane.
        method: how hard a sharpness is looked for; that of `Krylov()` without.
        progress: told how many points of how many are done.

    Raises:
        Mistake: if a lane stopped early.
    """
    every = [(name, lane) for name, some in lanes.items() for lane in some]
    pairs = [
        (one, other) for one, other in itertools.combinations(every, 2) if len(lanes) == 2 and _comparable(one, other)
    ]
    planes: list[tuple[tuple[str, ...], Callable[..., View | tuple[View, View]]]] = [
        *(
            ((name,), functools.partial(random_view, lane, draw, points))
            for name, lane in every
            for draw in range(draws)
        ),
        *(((name,), functools.partial(path_view, lane, points)) for name, lane in every),
        *(((one[0], other[0]), functools.partial(common_views, one[1], other[1], points)) for one, other in pairs),
    ]
    told = _Told(progress, points**2, sum(len(names) for names, _ in planes))
    views: dict[str, list[View]] = {name: [] for name in lanes}
    left_out: list[str] = []
    for names, plane in planes:
        try:
            found = plane(progress=told)
        except NoPlane as reason:
            left_out.append(f"{' and '.join(names)}: {reason}")
            continue
        for name, view in zip(names, found if isinstance(found, tuple) else (found,), strict=True):
            views[name].append(view)
    ends = {
        name: {lane.seed: end_numbers(lane, method=method or Krylov()) for lane in some} for name, some in lanes.items()
    }
    return Landscapes(views, ends, left_out)


def _comparable(one: tuple[str, TrainedLane], other: tuple[str, TrainedLane]) -> bool:
    """Whether two lanes are those of one seed in two runs."""
    return one[0] != other[0] and one[1].seed == other[1].seed


@dataclasses.dataclass
class _Told:
    """Tells how many points of all planes are done.

    Attributes:
        progress: whom.
        plane: points of one plane.
        planes: their number.
        done: points of the planes that are done.
    """

    progress: Progress | None
    plane: int
    planes: int
    done: int = 0

    def __call__(self, now: int, plane: int) -> None:
        if self.progress is not None:
            self.progress(self.done + now, self.plane * self.planes)
        self.done += plane if now == plane else 0

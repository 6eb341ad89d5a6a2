"""The value block at several initial scales of query and key: conditioning by heads, width and kernel."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab.claims import About, Claim, above, at_least, at_most, below, claim, not_applicable
from descentlab.estimate import Interval
from descentlab.plots.curves import ChartAxis, add_line, lines
from descentlab.plots.style import case_color
from descentlab.runs import Family, Run, Runs
from descentlab.statistics import bootstrap_interval
from descentlab.studies.song2024_convergence.experiments import SHAPE
from descentlab.theory.modes import condition_number, recorded_modes

__all__ = ["STATEMENTS", "scales"]

SOURCE = "Song et al. 2024, initial conditions; measured"
Shape = tuple[int, int]


def _scale(run: Run) -> float:
    return run.field("model.query.scale")


@dataclasses.dataclass(frozen=True)
class Scales:
    """One shape at all its initial scales.

    Attributes:
        scales: in ascending order.
        smallest: sigma_min of B, axes seed and scale.
        conditions: lambda_max / lambda_min of K, the same axes.
    """

    scales: np.ndarray
    smallest: np.ndarray
    conditions: np.ndarray

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Scales":
        """Those of the runs of one shape."""
        chosen = sorted(runs, key=_scale)
        smallest = [run.trajectory["features"].sel(quantity="smallest").at(0) for run in chosen]
        conditions = [[condition_number(one) for one in recorded_modes(run.trajectory)] for run in chosen]
        return cls(np.asarray([_scale(run) for run in chosen]), np.transpose(smallest), np.transpose(conditions))

    @property
    def qualities(self) -> tuple[np.ndarray, np.ndarray]:
        """What is best where it is largest: sigma_min, and mu / L."""
        return self.smallest, 1 / self.conditions


def _by_shape(runs: Family) -> dict[Shape, Scales]:
    return {shape: Scales.of(some) for shape, some in runs.by(*SHAPE).items()}


def _ends(quality: np.ndarray) -> np.ndarray:
    """The better median at the two ends over the best one, axes resample, seed and scale."""
    medians = np.median(quality, axis=1)
    return np.maximum(medians[:, 0], medians[:, -1]) / medians.max(axis=1)


def _best(quality: np.ndarray) -> np.ndarray:
    """The best median over scales."""
    return np.median(quality, axis=1).max(axis=1)


def _ratio_of_best(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return _best(top) / _best(bottom)


def _ratio_of_both(pair: np.ndarray) -> np.ndarray:
    """The ratio of the best medians of two kernels, axes resample, seed, kernel and scale."""
    best = np.median(pair, axis=1).max(axis=-1)
    return best[:, 0] / best[:, 1]


def _ratio_of_places(scales: np.ndarray, shift: int, pair: np.ndarray) -> np.ndarray:
    """The best scale of the first kernel over that of the second, the former so many places of the grid further up."""
    places = np.median(pair, axis=1).argmax(axis=-1)
    return scales[np.clip(places[:, 0] + shift, 0, len(scales) - 1)] / scales[places[:, 1]]


def _place_interval(scales: np.ndarray, pair: np.ndarray) -> Interval:
    """The ratio of two best scales with its interval, which is wider by a step of the grid to either side."""
    ends = [bootstrap_interval(functools.partial(_ratio_of_places, scales, one), pair) for one in (-1, 0, 1)]
    return Interval(ends[0].low, ends[1].value, ends[2].high)


def _compared(compare: Callable[..., Claim], about: About, found: Sequence[Interval]) -> Claim:
    """A claim that compares ratios with 1, its detail with their intervals over seeds."""
    said = ", ".join(f"{one.value:.3g} ({one.low:.3g} to {one.high:.3g})" for one in found)
    return compare(about.noting(f"Ratios with 95 % intervals: {said}."), found, 1.0)


def _growth(compare: Callable[..., Claim], about: About, runs: Family, *pairs: tuple[Shape, Shape]) -> Claim:
    """A claim that compares with 1 how many times larger the best sigma_min(B) of one shape is than of another."""
    over = _by_shape(runs)
    if not {shape for pair in pairs for shape in pair} <= over.keys():
        return not_applicable(about, "not all shapes that it compares are part of this size")
    best = {shape: one.smallest for shape, one in over.items()}
    return _compared(compare, about, [bootstrap_interval(_ratio_of_best, best[a], best[b]) for a, b in pairs])


@claim(
    "scale-interior-{case}-H{shape[0]}-D{shape[1]}",
    "With H = {shape[0]}, D = {shape[1]}, sigma_min(B) and L/mu are best at an interior initial scale",
    SOURCE,
    over={"shape": lambda runs: runs["scales"].by(*SHAPE)},
)
def interior(about: About, runs: Family, shape: Shape) -> Claim:
    """Whether both ends of the scales are worse than what lies between."""
    over = _by_shape(runs)[shape]
    smallest, conditions = (np.median(part, axis=0) for part in (over.smallest, over.conditions))
    about = about.noting(
        f"Medians: sigma_min {smallest.max():.2g} at {over.scales[smallest.argmax()]:g}, "
        f"L/mu {conditions.min():.2g} at {over.scales[conditions.argmin()]:g}."
    )
    return _compared(below, about, [bootstrap_interval(_ends, quality) for quality in over.qualities])


@claim("scale-heads-{case}", "The best sigma_min(B) grows with the number of heads", SOURCE)
def heads(about: About, runs: Family) -> Claim:
    """What heads do at one width."""
    return _growth(above, about, runs, ((2, 20), (1, 20)), ((4, 20), (2, 20)))


@claim(
    "scale-width-two-{case}",
    "With two heads the best sigma_min(B) grows when the token width doubles from HD = Nn",
    SOURCE,
)
def width_of_two(about: About, runs: Family) -> Claim:
    """What width does with two heads."""
    return _growth(above, about, runs, ((2, 20), (2, 10)))


@claim(
    "scale-width-one-{case}",
    "With one head the best sigma_min(B) does not grow when the token width quadruples from HD = Nn",
    SOURCE,
)
def width_of_one(about: About, runs: Family) -> Claim:
    """What width does with one head."""
    return _growth(at_most, about, runs, ((1, 80), (1, 20)))


BOTH = ("softmax", "gaussian")


def _pairs(softmax: Family, gaussian: Family) -> Iterator[tuple[Shape, Scales, Scales]]:
    """Every shape with both kernels; the same seed draws the same tokens and directions for both."""
    one, other = _by_shape(softmax), _by_shape(gaussian)
    return ((shape, one[shape], other[shape]) for shape in one)


@claim(
    "scale-differs",
    "The best initial scale is larger for softmax than for the Gaussian kernel",
    SOURCE,
    between=BOTH,
)
def differs(about: About, softmax: Family, gaussian: Family) -> Claim:
    """Whether each kernel has a best scale of its own."""
    apart = [
        _place_interval(one.scales, np.stack(pair, axis=1))
        for _, one, other in _pairs(softmax, gaussian)
        for pair in zip(one.qualities, other.qualities, strict=True)
    ]
    return _compared(above, about, apart)


@claim(
    "gaussian-not-faster",
    "Value-only, the Gaussian kernel at its best scale has no smaller L/mu than softmax at its own",
    "measured",
    between=BOTH,
)
def not_faster(about: About, softmax: Family, gaussian: Family) -> Claim:
    """Whether the Gaussian kernel is worse conditioned, both at their best."""
    gap = []
    for (heads, dim), one, other in _pairs(softmax, gaussian):
        gap.append(bootstrap_interval(_ratio_of_both, np.stack([one.qualities[1], other.qualities[1]], axis=1)))
        best = [np.median(over.conditions, axis=0).min() for over in (other, one)]
        about = about.noting(f"H={heads}, D={dim}: {best[0]:.3g} against {best[1]:.3g}.")
    return _compared(at_least, about, gap)


STATEMENTS = (interior, heads, width_of_two, width_of_one, differs, not_faster)


def scales(runs: Runs) -> go.Figure:
    """Smallest singular value of the features against initial scale.

    Median over seeds with two heads and D = 20 (or the shape at hand). Both kernels have an interior best scale, and
    the Gaussian one's is smaller: comparing the kernels at one scale favours one of them.
    """
    figure = lines("sigma_min", ChartAxis("initial scale of query and key", "log"), ChartAxis("sigma_min(B)", "log"))
    for kernel, some in runs["scales"].by_case().items():
        known = _by_shape(some)
        over = known.get((2, 20)) or next(iter(known.values()))
        smallest = np.median(over.smallest, axis=0)
        keep = smallest > 1e-18
        add_line(figure, over.scales[keep], smallest[keep], kernel, color=case_color(kernel), dash="solid")
    return figure

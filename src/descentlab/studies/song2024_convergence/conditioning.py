"""The value block at several initial scales of query and key: conditioning by heads, width and kernel."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab._describe import value_at
from descentlab.claims import About, Claim, above, at_least, at_most, below
from descentlab.estimate import Interval
from descentlab.plots.curves import ChartAxis, add_line, lines
from descentlab.plots.style import case_color
from descentlab.runs import Run, Runs
from descentlab.statistics import bootstrap_interval
from descentlab.studies.song2024_convergence.kernels import kernels, of_kernel, shape
from descentlab.theory.modes import condition_number, recorded_modes

__all__ = ["Scales", "between_kernels", "conditioning", "scales"]


def _scale(run: Run) -> float:
    return value_at(run.experiment, "model.query.scale")


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
    def of(cls, runs: Sequence[Run], wanted: tuple[int, int]) -> "Scales":
        """Those of the runs with the wanted heads and width."""
        chosen = sorted((run for run in runs if shape(run) == wanted), key=_scale)
        smallest = [run.trajectory["features"].sel(quantity="smallest").at(0) for run in chosen]
        conditions = [[condition_number(one) for one in recorded_modes(run.trajectory)] for run in chosen]
        return cls(np.asarray([_scale(run) for run in chosen]), np.transpose(smallest), np.transpose(conditions))

    @property
    def qualities(self) -> tuple[np.ndarray, np.ndarray]:
        """What is best where it is largest: sigma_min, and mu / L."""
        return self.smallest, 1 / self.conditions


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


@np.errstate(invalid="ignore", divide="ignore")
def conditioning(kernel: str, runs: Sequence[Run]) -> list[Claim]:
    """An interior best scale for sigma_min(B) and for L/mu; what heads and width do to the best sigma_min."""
    source = "Song et al. 2024, initial conditions; measured"
    shapes = {one: Scales.of(runs, one) for one in dict.fromkeys(shape(run) for run in runs)}
    found = [_interior(kernel, one, over) for one, over in shapes.items()]
    best = {one: over.smallest for one, over in shapes.items()}

    def growth(*pairs: tuple[tuple[int, int], tuple[int, int]]) -> list[Interval]:
        return [bootstrap_interval(_ratio_of_best, best[top], best[bottom]) for top, bottom in pairs]

    if {(1, 20), (2, 20), (4, 20)} <= best.keys():
        about = About(f"scale-heads-{kernel}", "The best sigma_min(B) grows with the number of heads", source, kernel)
        found.append(_compared(above, about, growth(((2, 20), (1, 20)), ((4, 20), (2, 20)))))
    if {(1, 20), (1, 80), (2, 10), (2, 20)} <= best.keys():
        text = "With two heads the best sigma_min(B) grows when the token width doubles from HD = Nn"
        about = About(f"scale-width-two-{kernel}", text, source, kernel)
        found.append(_compared(above, about, growth(((2, 20), (2, 10)))))
        text = "With one head the best sigma_min(B) does not grow when the token width quadruples from HD = Nn"
        about = About(f"scale-width-one-{kernel}", text, source, kernel)
        found.append(_compared(at_most, about, growth(((1, 80), (1, 20)))))
    return found


def _interior(kernel: str, one: tuple[int, int], over: Scales) -> Claim:
    """Whether both ends of the scales are worse than what lies between."""
    smallest, conditions = (np.median(part, axis=0) for part in (over.smallest, over.conditions))
    about = About(
        f"scale-interior-{kernel}-H{one[0]}-D{one[1]}",
        f"With H = {one[0]}, D = {one[1]}, sigma_min(B) and L/mu are best at an interior initial scale",
        "Song et al. 2024, initial conditions; measured",
        kernel,
        f"Medians: sigma_min {smallest.max():.2g} at {over.scales[smallest.argmax()]:g}, "
        f"L/mu {conditions.min():.2g} at {over.scales[conditions.argmin()]:g}.",
    )
    return _compared(below, about, [bootstrap_interval(_ends, quality) for quality in over.qualities])


@np.errstate(invalid="ignore", divide="ignore")
def between_kernels(runs: Runs) -> list[Claim]:
    """The best scale differs between the kernels, and in this regime the Gaussian kernel is not the faster one."""
    if not {"softmax", "gaussian"} <= set(kernels(runs)):
        return []
    apart, gap, detail = [], [], []
    softmax, gaussian = (of_kernel(runs, kernel, "scales") for kernel in ("softmax", "gaussian"))
    for one in dict.fromkeys(shape(run) for run in softmax):
        first, second = Scales.of(softmax, one), Scales.of(gaussian, one)
        # The same seed draws the same tokens and directions for both kernels.
        pairs = [np.stack(pair, axis=1) for pair in zip(first.qualities, second.qualities, strict=True)]
        apart += [_place_interval(first.scales, pair) for pair in pairs]
        gap.append(bootstrap_interval(_ratio_of_both, pairs[1]))
        best = [np.median(over.conditions, axis=0).min() for over in (second, first)]
        detail.append(f"H={one[0]}, D={one[1]}: {best[0]:.3g} against {best[1]:.3g}.")
    text = "The best initial scale is larger for softmax than for the Gaussian kernel"
    slower = "Value-only, the Gaussian kernel at its best scale has no smaller L/mu than softmax at its own"
    source = "Song et al. 2024, initial conditions; measured"
    return [
        _compared(above, About("scale-differs", text, source), apart),
        _compared(at_least, About("gaussian-not-faster", slower, "measured", None, " ".join(detail)), gap),
    ]


def scales(runs: Runs) -> go.Figure:
    """Smallest singular value of the features against initial scale.

    Median over seeds with two heads and D = 20 (or the shape at hand). Both kernels have an interior best scale, and
    the Gaussian one's is smaller: comparing the kernels at one scale favours one of them.
    """
    figure = lines("sigma_min", ChartAxis("initial scale of query and key", "log"), ChartAxis("sigma_min(B)", "log"))
    known = [shape(run) for run in runs["scales"]]
    wanted = (2, 20) if (2, 20) in known else known[0]
    for kernel in kernels(runs):
        over = Scales.of(of_kernel(runs, kernel, "scales"), wanted)
        smallest = np.median(over.smallest, axis=0)
        keep = smallest > 1e-18
        add_line(figure, over.scales[keep], smallest[keep], kernel, color=case_color(kernel), dash="solid")
    return figure

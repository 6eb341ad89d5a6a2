"""How the norms grow with the scale of the embeddings in deeper models, and what they are without softmax."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from descentlab._describe import value_at
from descentlab.attention import Linear
from descentlab.claims import About, Claim, close
from descentlab.experiment import Experiment
from descentlab.models import FanIn, LinearNetwork
from descentlab.runs import Run, Runs
from descentlab.statistics import mean_interval
from descentlab.studies.ormaniec2024_hessian.charts import SYMBOLS, growth_chart
from descentlab.studies.ormaniec2024_hessian.compared import within
from descentlab.studies.ormaniec2024_hessian.growth import EXPONENTS, grid
from descentlab.studies.ormaniec2024_hessian.norms import Growth
from descentlab.studies.ormaniec2024_hessian.published import FILES, LINEAR_NETWORK, SCALES, SOURCE, Quantity
from descentlab.studies.ormaniec2024_hessian.setting import WIDTH, sized
from descentlab.studies.ormaniec2024_hessian.slopes import arrays_of, norms, scales, slope, small
from descentlab.studies.song2024_convergence.kernels import of_kernel
from descentlab.studies.song2024_query.setting import changed
from descentlab.study import Section, Size
from descentlab.sweep import Request
from descentlab.tasks import SamePlaces

DEEP, LINEAR, NETWORK = "deep", "linear attention", "linear network"

QUANTITIES: tuple[Quantity, ...] = (
    ("value", "outer"),
    ("value", "functional"),
    ("query", "outer"),
    ("query", "functional"),
)


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """Each kernel in several layers; linear attention and linear networks, which have no kernel of the base's."""
    smoke, paper = size == Size.SMOKE, size == Size.PAPER
    seeds = tuple(range(2 if smoke else 20 if paper else 8))
    draws = 5 if paper else 2
    probe = Growth(scales=grid(size), draws=draws)
    # Powers of linear attention are exact, and three layers take the 54th.
    short = Growth(scales=tuple((10 ** np.linspace(-1, 0, 20 if paper else 5)).tolist()), draws=draws)
    thin = sized(WIDTH if paper else 8 if smoke else 32)
    depths = (2,) if smoke else (2, 3, 4, 5) if paper else (3,)
    families: dict[str, list[Request]] = {DEEP: [], LINEAR: [], NETWORK: []}
    for base in bases[:1] if smoke else bases:
        for depth in depths:
            deep = changed(base, {"probes": {"growth": probe}, "model.depth": depth} | thin)
            families[DEEP].append(Request(deep, seeds))
    copied = changed(bases[0], {"task.answer": SamePlaces()})
    for depth in (2,) if smoke else (1, 2, 3):
        attention = {"model.attention": Linear(), "model.skip": 0.0, "model.depth": depth}
        linear = changed(copied, attention | {"probes": {"growth": short}} | thin)
        families[LINEAR].append(Request(linear, seeds[:3]))
    for depth in (2,) if smoke else (1, 2, 3, 4, 5) if paper else (1, 3, 5):
        families[NETWORK].append(Request(_network(copied, depth, probe), seeds))
    return families


def _network(base: Experiment, depth: int, probe: Growth) -> Experiment:
    """A linear network on the same task. Its start has the variance of PyTorch's, 1 / (3 fan-in), but is normal."""
    outputs, tokens, places = (
        value_at(base, path) for path in ("model.readout.outputs", "model.vocabulary", "model.readout.places")
    )
    model = LinearNetwork(depth, WIDTH, outputs, tokens, places, start=FanIn(3**-0.5))
    return changed(base, {"model": model, "trained": ("weight",), "probes": {"growth": probe}})


def depth_of(run: Run) -> int:
    """Layers of a run's model."""
    return value_at(run.experiment, "model.depth")


def claims(runs: Runs) -> list[Claim]:
    """Claim 3 of the specification for more than one layer, and the contrasts."""
    found = [claim for kernel in runs[DEEP].cases for claim in _deep(kernel, runs)]
    return [*found, *_linear(runs[LINEAR]), *_network_claims(runs[NETWORK])]


def _deep(kernel: str, runs: Runs) -> list[Claim]:
    """Exponents of all layers at small scales, and zeros of the last layer."""
    chosen = of_kernel(runs, kernel, DEEP)
    last = np.concatenate([norms(run, "functional", arrays_of(run, "value")[-1]).ravel() for run in chosen])
    zero = About(
        f"deep-last-{kernel}", "H_f of the last layer's value block is exactly zero", f"{SOURCE}, figure 6", kernel
    )
    found = [close(zero, last, 0.0)]
    if kernel == "softmax":
        found += [
            _powers(f"deep-{block}-{part}-softmax", chosen, [(block, part)], kernel) for block, part in QUANTITIES
        ]
    elif kernel in EXPONENTS:
        found.append(_powers(f"deep-{kernel}", chosen, QUANTITIES, kernel))
    return found


def _power(kernel: str, quantity: Quantity) -> float:
    """Outputs are linear in the value block of the last layer; in the others it moves the scores of later layers."""
    return 3.0 if quantity == ("value", "functional") else EXPONENTS[kernel][quantity]


def _powers(key: str, runs: Sequence[Run], quantities: Sequence[Quantity], kernel: str) -> Claim:
    """The powers of some norms in all layers; H_f of the last layer's value block has none."""
    measured, expected, said = [], [], []
    for block, part in quantities:
        for run in runs:
            arrays = arrays_of(run, block)[: -1 if (block, part) == ("value", "functional") else None]
            found = [slope(run, part, array, small(run)) for array in arrays]
            measured += found
            expected += [_power(kernel, (block, part))] * len(arrays)
            slopes = ", ".join(f"{one.value:.3g}" for one in found)
            said.append(f"{SYMBOLS[part]} of {block}, {_layers(depth_of(run))}: {slopes}")
    wanted = ", ".join(f"{SYMBOLS[part]} of {block} {_power(kernel, (block, part)):g}" for block, part in quantities)
    about = About(
        key,
        f"Below a scale of 0.1 norms of every layer grow with these powers, within 0.1: {wanted}",
        f"{SOURCE}, figure 6" if kernel == "softmax" else "docs/theory/attention_hessian.md",
        kernel,
        f"{'; '.join(said)}.",
    )
    return close(about, measured, np.asarray(expected), tolerance=0.1)


def _layers(depth: int) -> str:
    return f"{depth} layer{'s' * (depth > 1)}"


def _linear(runs: Sequence[Run]) -> list[Claim]:
    """Linear attention without the residual around it: powers are exact."""
    found, source = [], f"{SOURCE}, figure 7"
    for run in runs:
        depth, every = depth_of(run), scales(run) > 0
        power = 2.0 * 3**depth
        arrays = [array for block in ("value", "query") for array in arrays_of(run, block)]
        slopes = [slope(run, "outer", array, every) for array in arrays]
        about = About(
            f"linear-outer-{depth}",
            f"With {_layers(depth)} of linear attention H_o of value and query blocks has the power {power:g}, to 2 %",
            source,
            "linear",
        )
        found.append(close(about, slopes, power, tolerance=0.02 * power))
        last = [norms(run, "functional", arrays_of(run, block)[-1]) for block in ("value", "query")]
        about = About(
            f"linear-functional-{depth}",
            f"With {_layers(depth)} of linear attention H_f of the last layer's value and query blocks is exactly zero",
            source,
            "linear",
        )
        found.append(close(about, np.concatenate(last), 0.0))
        if depth == 2:
            first = [slope(run, "hessian", arrays_of(run, block)[0], scales(run) < 0.2) for block in ("value", "query")]
            about = About(
                "linear-first-2",
                "With 2 layers of linear attention H of the first layer grows with the power 9 while the outputs are "
                "small, within 2 %: H_f, the residual times half as many factors, is most of it",
                FILES,
                "linear",
                "Scales below 0.2; slopes "
                + " and ".join(f"{one.value:.4g}" for one in first)
                + " of value and query.",
            )
            found.append(close(about, first, 9.0, tolerance=0.18))
    return found


def _network_claims(runs: Sequence[Run]) -> list[Claim]:
    """A deep linear network: every block has the power 2, whatever the depth."""
    slopes, layer_means = [], []
    for run in runs:
        place = int(np.argmin(np.abs(scales(run) - SCALES[2])))
        arrays = arrays_of(run, "weight")
        slopes += [slope(run, "hessian", array, scales(run) > 0) for array in arrays]
        # The published squares are summed: 2 N times the loss.
        total = 2 * value_at(run.experiment, "data.samples")
        layers = [total * norms(run, "hessian", array)[:, place] for array in arrays]
        layer_means.append(mean_interval(np.mean(layers, axis=0)))
    wanted = np.asarray(LINEAR_NETWORK)[[depth_of(run) - 1 for run in runs]]
    said = ", ".join(f"{one.value:.3g} ({other:.3g})" for one, other in zip(layer_means, wanted, strict=True))
    return [
        close(
            About(
                "network-slope",
                "In a deep linear network H of every layer grows with the power 2, within 0.05",
                f"{SOURCE}, figure 8",
            ),
            slopes,
            2.0,
            tolerance=0.05,
        ),
        within(
            About(
                "network-values",
                f"Its norms at scale {SCALES[2]:.3g} are the published ones within a factor 1.5 for every depth",
                FILES,
                None,
                f"Mean over layers by depth, measured (published): {said}. Logarithms of ratios are compared.",
            ),
            layer_means,
            wanted,
            1.5,
            value_at(runs[0].experiment, "model.width"),
        ),
    ]


def _chart(kernel: str, runs: Runs) -> go.Figure:
    """The deepest model of a kernel."""
    chosen = of_kernel(runs, kernel, DEEP)
    return _deepest(chosen) if chosen else go.Figure()


def _deepest(runs: Sequence[Run]) -> go.Figure:
    run = max(runs, key=depth_of)
    arrays = [array for block in ("value", "query", "weight") for array in arrays_of(run, block)]
    return growth_chart("Norms", run, arrays, {})


def softmax(runs: Runs) -> go.Figure:
    """Norms by layer: softmax, the deepest model.

    Mean over seeds with its standard error; layers are counted from 0. Powers at small scales are those of one layer.
    """
    return _chart("softmax", runs)


def gaussian(runs: Runs) -> go.Figure:
    """Norms by layer: Gaussian kernel, the deepest model.

    Rows of attention sum to the number of keys nearby, so that every layer enlarges its inputs: leading powers rule
    only below a scale that shrinks with depth.
    """
    return _chart("gaussian", runs)


def linear_attention(runs: Runs) -> go.Figure:
    """Norms by layer: linear attention without the residual around it, the deepest model.

    Least squares. H_o grows with the power 2 * 3^n of n layers.
    """
    return _deepest(runs[LINEAR])


def linear_network(runs: Runs) -> go.Figure:
    """Norms by layer: the deepest linear network.

    Least squares. All layers have one power, 2, whatever the depth.
    """
    return _deepest(runs[NETWORK])


section = Section("depth", requests, claims, (softmax, gaussian, linear_attention, linear_network))

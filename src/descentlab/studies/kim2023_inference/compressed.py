"""A trained classifier with fewer bits, in integers only, and with fewer weights."""

import dataclasses
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import plotly.graph_objects as go

from descentlab._describe import replace_at
from descentlab._tree import block_of, named, select, with_named
from descentlab._types import Array, PyTree
from descentlab.attention import Gaussian
from descentlab.attention.gaussian import bandwidth
from descentlab.claims import About, Claim, above, at_least, at_most, of_seeds
from descentlab.cost.accelerator import Accelerator, latency
from descentlab.cost.pruning import CRITERIA, pruned, pruned_heads
from descentlab.cost.quantized import calibrate, classify, rounded
from descentlab.cost.transformer import Transformer, encoder
from descentlab.experiment import Experiment
from descentlab.losses import CrossEntropy
from descentlab.mistake import Mistake
from descentlab.models import Transformer as Model
from descentlab.objective import Examples, Splits
from descentlab.plots import Axis, add_line, lines
from descentlab.plots.style import PALETTE
from descentlab.runs import Run, Runs
from descentlab.statistics import paired_interval, share_interval
from descentlab.study import Section, Size
from descentlab.sweep import Request

SEEDS = {Size.SMOKE: 1, Size.QUICK: 2, Size.PAPER: 5}
SPARSITIES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
MATRICES = ("query", "key", "value", "output", "up", "down", "hidden", "classes")
POINT = 0.01
OURS = "ours, after Kim et al. (2023), section 4"

Arrays = Mapping[str, np.ndarray]


def requests(bases: Sequence[Experiment], size: Size) -> dict[str, list[Request]]:
    """The classifier with either kernel; in the smoke size it has no time to learn."""
    wanted = [replace_at(base, "steps", min(base.steps, 20)) if size == Size.SMOKE else base for base in bases]
    return {"classifier": [Request(base, tuple(range(SEEDS[size]))) for base in wanted]}


@dataclasses.dataclass(frozen=True)
class Trained:
    """One trained classifier with its test examples.

    Attributes:
        model: after training.
        arrays: its blocks by name.
        splits: the data set.
        definition: of the architecture.
    """

    model: PyTree
    arrays: Arrays
    splits: Splits
    definition: Model

    @property
    def bandwidth(self) -> float | None:
        """The Gaussian kernel's factor, `None` for softmax."""
        kernel = self.definition.attention
        if not isinstance(kernel, Gaussian):
            return None
        return float(bandwidth(kernel, self.arrays["layers.0.query"].shape[-1]))

    def right(self, arrays: Arrays) -> np.ndarray:
        """Which test examples are classified rightly with other blocks."""
        model = with_named(self.model, {name: np.asarray(array) for name, array in arrays.items()})
        return np.asarray(_answers(model, jnp.asarray(self.splits.test.inputs)) == self.splits.test.targets)


@eqx.filter_jit
def _answers(model: PyTree, inputs: Array) -> Array:
    return jax.lax.map(lambda example: jnp.argmax(model(example)), inputs, batch_size=512)


@eqx.filter_jit
def _squares(model: PyTree, examples: Examples) -> tuple[PyTree, PyTree]:
    """The mean gradient and the mean squared gradient of single examples."""
    params, rest = select(model, None)

    def loss(params: PyTree, inputs: Array, target: Array) -> Array:
        return CrossEntropy()(eqx.combine(params, rest)(inputs)[None], target[None])

    each = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(params, examples.inputs, examples.targets)
    return jax.tree.map(lambda g: g.mean(axis=0), each), jax.tree.map(lambda g: (g**2).mean(axis=0), each)


def trained(run: Run) -> list[Trained]:
    """The classifiers of a run, one a lane."""
    definition, found = run.experiment.model, []
    for lane, arrays in zip(run.lanes(), run.trajectory.ends(), strict=True):
        if lane.stored is None or not isinstance(definition, Model):
            raise Mistake("this section needs a Transformer on a data set; leave --task and --model as they are")
        splits = jax.tree.map(np.asarray, lane.stored)
        found.append(Trained(lane.objective.model(lane.end), arrays, splits, definition))
    return found


@dataclasses.dataclass(frozen=True)
class Measured:
    """Which test examples are right, of one classifier after each change.

    Attributes:
        plain: as trained.
        rounded: with 8-bit weights.
        integer: in integers only.
        pruned: by criterion, one row a sparsity.
        headless: one row a number of heads less.
        latency: modelled, one a number of heads less, relative to all heads.
    """

    plain: np.ndarray
    rounded: np.ndarray
    integer: np.ndarray
    pruned: Mapping[str, np.ndarray]
    headless: np.ndarray
    latency: np.ndarray


def measured(one: Trained) -> Measured:
    """Everything that is compared, of one classifier."""
    depth, test = one.definition.depth, one.splits.test
    plan = calibrate(one.arrays, one.splits.development.inputs, depth=depth, bandwidth=one.bandwidth)
    whole = np.asarray(classify(plan, jnp.asarray(test.inputs, jnp.int32))).argmax(axis=1) == test.targets
    found = _squares(one.model, jax.tree.map(jnp.asarray, one.splits.development))
    gradient, fisher = ({name: np.asarray(array) for name, array in named(tree).items()} for tree in found)
    chosen = [name for name in one.arrays if block_of(name) in MATRICES]
    scores = {
        criterion: {name: score(one.arrays[name], gradient[name], fisher[name]) for name in chosen}
        for criterion, score in CRITERIA.items()
    }
    cut = {
        criterion: np.stack([one.right(pruned(one.arrays, of, sparsity)) for sparsity in SPARSITIES])
        for criterion, of in scores.items()
    }
    heads = depth * one.definition.heads
    fewer = [pruned_heads(one.arrays, scores["second order"], count) for count in range(heads)]
    times = np.array([_latency(one, gone) for _, gone in fewer])
    return Measured(
        one.right(one.arrays),
        one.right(rounded(one.arrays)),
        whole,
        cut,
        np.stack([one.right(arrays) for arrays, _ in fewer]),
        times / times[0],
    )


def _latency(one: Trained, gone: Sequence[tuple[str, int]]) -> float:
    """Modelled latency of the layers with the heads that are left; a layer without heads keeps one."""
    without = [sum(layer == f"layers.{at}" for layer, _ in gone) for at in range(one.definition.depth)]
    left = one.definition.heads - np.array(without)
    head = one.arrays["layers.0.query"].shape[-1]
    sizes = Transformer(
        np.ones_like(left), one.definition.width, np.maximum(left, 1), one.definition.hidden or 0, head_dim=head
    )
    return float(latency(Accelerator(), encoder(sizes, one.splits.test.inputs.shape[1])))


def _lost(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Accuracy lost, and twice its standard error from the examples on which the two differ; at least one example."""
    changed = before.astype(float) - after
    return float(changed.mean()), max(2 * float(changed.std() / np.sqrt(changed.size)), 1 / changed.size)


def _kernel(run: Run) -> str:
    return "gaussian" if isinstance(getattr(run.experiment.model, "attention", None), Gaussian) else "softmax"


def claims(runs: Runs) -> list[Claim]:
    """Quantisation and pruning of the same classifiers."""
    found = []
    for run in runs["classifier"]:
        lanes = [measured(one) for one in trained(run)]
        found += _quantised(_kernel(run), lanes) + _pruned(_kernel(run), lanes)
    return found


def _quantised(kernel: str, lanes: Sequence[Measured]) -> list[Claim]:
    learned = About(f"learned-{kernel}", "The classifier is right on at least 95 % of the test", OURS, kernel)
    weights = About(f"int8-{kernel}", "8-bit weights cost at most one point of accuracy", OURS, kernel)
    whole = About(f"integer-{kernel}", "Arithmetic in integers only costs at most one point of accuracy", OURS, kernel)
    shares = [share_interval(int(one.plain.sum()), one.plain.size) for one in lanes]
    found = [of_seeds(at_least(learned, shares, 0.95), len(lanes))]
    for about, name in ((weights, "rounded"), (whole, "integer")):
        lost = np.array([_lost(one.plain, getattr(one, name)) for one in lanes])
        found.append(of_seeds(at_most(about, lost[:, 0], POINT, uncertainty=lost[:, 1]), len(lanes)))
    return found


def _pruned(kernel: str, lanes: Sequence[Measured]) -> list[Claim]:
    """By how much criteria and structures differ."""
    single = np.array([_free(one.plain, one.pruned["second order"], SPARSITIES) for one in lanes])
    count = len(lanes[0].headless)
    grouped = np.array([_free(one.plain, one.headless, np.arange(count) / count) for one in lanes])
    faster = [1 - one.latency[round(share * count)] for one, share in zip(lanes, grouped, strict=True)]
    at = SPARSITIES.index(0.7)
    kept = np.array([[one.pruned[name][at].mean() for name in CRITERIA] for one in lanes])
    structure = About(
        f"structure-{kernel}",
        "Single weights can go to a higher share than whole heads at a loss of one point",
        OURS,
        kernel,
        f"Weights {_percents(single)}, heads {_percents(grouped)}. Heads lower the modelled latency by "
        f"{_percents(np.array(faster))}; single zeros do not, as the array is dense.",
    )
    second = About(
        f"criteria-{kernel}",
        "At 70 % sparsity the second-order criterion keeps at least the accuracy of magnitude, in the mean over seeds",
        OURS,
        kernel,
        "; ".join(f"{name} {_percents(kept[:, i])}" for i, name in enumerate(CRITERIA)) + ".",
    )
    # Seeds paired: which criterion wins turns from one trained classifier to the next.
    gain = paired_interval(kept[:, 2], kept[:, 0], 1 / lanes[0].plain.size)
    # The true share of single weights lies between the one that was tried and the next.
    tried = np.append(SPARSITIES, 1.0)
    gap = np.where(single > grouped, 0.0, tried[np.searchsorted(tried, single) + 1] - single)
    return [
        of_seeds(above(structure, single, grouped, uncertainty=gap), len(lanes)),
        at_least(second, gain, 0.0),
    ]


def _free(before: np.ndarray, after: np.ndarray, shares: Sequence[float] | np.ndarray) -> float:
    """The largest share up to which every pruned model loses at most a point."""
    good = [before.mean() - right.mean() <= POINT for right in after]
    return float(shares[good.index(False) - 1 if False in good else -1])


def _percents(parts: np.ndarray) -> str:
    return ", ".join(f"{100 * part:.0f} %" for part in parts)


def sparsity(runs: Runs) -> go.Figure:
    """Accuracy against the share of weights that are removed.

    The softmax classifier of the first seed, not trained again after pruning. Whole heads go by the second-order score.
    """
    one = measured(trained(runs["classifier"][0])[0])
    chart = lines("", Axis("share of weights or heads removed"), Axis("accuracy on the test"))
    for at, name in enumerate(CRITERIA):
        heights = one.pruned[name].mean(axis=1)
        add_line(chart, np.array(SPARSITIES), heights, name, color=PALETTE[at], dash="solid")
    heads = one.headless.mean(axis=1)
    return add_line(chart, np.arange(len(heads)) / len(heads), heads, "whole heads", color=PALETTE[3])


section = Section("compressed", requests, claims, (sparsity,))

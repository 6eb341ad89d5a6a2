"""A small classifier with either kernel, and which test examples it gets right after it was made cheaper."""

import dataclasses
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._tree import block_of, named, select, with_named
from descentlab._types import Array, PyTree
from descentlab.attention import Gaussian, Softmax
from descentlab.attention.gaussian import bandwidth
from descentlab.cost.accelerator import Accelerator, latency
from descentlab.cost.pruning import CRITERIA, pruned, pruned_heads
from descentlab.cost.quantized import calibrate, classify, rounded
from descentlab.cost.transformer import TransformerSizes, encoder
from descentlab.data import Minibatch
from descentlab.datasets import Marked
from descentlab.experiment import Experiment
from descentlab.losses import CrossEntropy
from descentlab.mistake import Mistake
from descentlab.models import Classify, Transformer
from descentlab.objective import Examples, Splits
from descentlab.optim import Adam
from descentlab.probes import HeldOut
from descentlab.runs import Run
from descentlab.schedule import Every
from descentlab.tasks import Classification

SPARSITIES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
MATRICES = ("query", "key", "value", "output", "up", "down", "hidden", "classes")

_BASE = Experiment(
    task=Classification(Marked()),
    data=Minibatch(64),
    model=Transformer(width=32, depth=2, heads=4, hidden=64, vocabulary=6, readout=Classify(4, 32)),
    optimizer=Adam(3e-3),
    trained=None,
    probes={"test": HeldOut(Every(250), part="test", examples=1024)},
    steps=1250,
    precision="float32",
)

BASES = tuple(_BASE.changed({"model.attention": kernel}) for kernel in (Softmax(), Gaussian()))
"""The classifier with either kernel."""

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Trained:
    """One trained classifier with its data.

    Attributes:
        model: after training.
        arrays: its blocks by name.
        splits: the data set.
        definition: of the architecture.
    """

    model: PyTree
    arrays: Arrays
    splits: Splits
    definition: Transformer

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

    def scores(self) -> Mapping[str, Arrays]:
        """What removing an entry of a matrix is expected to cost, by criterion and name."""
        found = _squares(self.model, jax.tree.map(jnp.asarray, self.splits.development))
        gradient, fisher = ({name: np.asarray(array) for name, array in named(tree).items()} for tree in found)
        chosen = [name for name in self.arrays if block_of(name) in MATRICES]
        return {
            criterion: {name: score(self.arrays[name], gradient[name], fisher[name]) for name in chosen}
            for criterion, score in CRITERIA.items()
        }

    def latency(self, gone: Sequence[tuple[str, int]]) -> float:
        """Modelled latency of the layers with the heads that are left; a layer without heads keeps one."""
        without = [sum(layer == f"layers.{at}" for layer, _ in gone) for at in range(self.definition.depth)]
        left = self.definition.heads - np.array(without)
        head, width, hidden = self.arrays["layers.0.query"].shape[-1], self.definition.width, self.definition.hidden
        sizes = TransformerSizes(np.ones_like(left), width, np.maximum(left, 1), hidden or 0, head_dim=head)
        return float(latency(Accelerator(), encoder(sizes, self.splits.test.inputs.shape[1])))


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
    """The classifiers of a run, one a lane.

    Raises:
        Mistake: if the model is no Transformer, or the task has no stored data set.
    """
    definition, found = run.experiment.model, []
    for lane, arrays in zip(run.lanes(), run.trajectory.ends(), strict=True):
        if lane.stored is None or not isinstance(definition, Transformer):
            raise Mistake("this section needs a Transformer on a data set; leave --task and --model as they are")
        splits = jax.tree.map(np.asarray, lane.stored)
        found.append(Trained(lane.objective.model(lane.end), arrays, splits, definition))
    return found


@dataclasses.dataclass(frozen=True)
class MeasuredClassifier:
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


def measured(one: Trained) -> MeasuredClassifier:
    """Everything that is compared, of one classifier."""
    depth, test, scores = one.definition.depth, one.splits.test, one.scores()
    plan = calibrate(one.arrays, one.splits.development.inputs, depth=depth, bandwidth=one.bandwidth)
    whole = np.asarray(classify(plan, jnp.asarray(test.inputs, jnp.int32))).argmax(axis=1) == test.targets
    cut = {
        criterion: np.stack([one.right(pruned(one.arrays, of, sparsity)) for sparsity in SPARSITIES])
        for criterion, of in scores.items()
    }
    fewer = [pruned_heads(one.arrays, scores["second order"], count) for count in range(depth * one.definition.heads)]
    times = np.array([one.latency(gone) for _, gone in fewer])
    headless = np.stack([one.right(arrays) for arrays, _ in fewer])
    return MeasuredClassifier(
        one.right(one.arrays), one.right(rounded(one.arrays)), whole, cut, headless, times / times[0]
    )

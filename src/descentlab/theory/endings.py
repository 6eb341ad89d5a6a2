"""End states of whole runs: the classifier as a probe, over the lanes of a trajectory, and in words."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._tree import named, with_named
from descentlab._types import Array, ArrayLike, PyTree
from descentlab.axis import Axis
from descentlab.experiment import Experiment
from descentlab.lanes import Lanes
from descentlab.point import Point
from descentlab.probes import AbstractProbe
from descentlab.probes.precision import double
from descentlab.schedule import AbstractSchedule, At
from descentlab.theory.full_batch import full_batch
from descentlab.theory.stationary import Ending, Kind, classify
from descentlab.train import prepare
from descentlab.trajectory import Trajectory

__all__ = ["EndState", "classify_ends", "in_words"]


class EndState(AbstractProbe):
    """The class of a point of a run, as if the run ended there, in double precision.

    Args:
        when: the steps at which it is recorded; `At((steps,))` for the end alone. It takes as long as some hundred
            steps.

    References:
        `docs/theory/stationary.md`.
    """

    when: AbstractSchedule = At((0,))

    def __call__(self, point: Point) -> Array:
        """The numbers of an `Ending`."""
        full_batch(point.data, "end states")
        arrays, structure = eqx.partition((point.objective, point.params, point.start), eqx.is_array)

        # Lanes take turns: each is done as soon as it has settled, and none waits for the slowest in every round.
        @jax.custom_batching.sequential_vmap
        def numbers(arrays: PyTree) -> Array:
            with jax.enable_x64(True):
                ending = classify(*double(eqx.combine(arrays, structure)))
                return jnp.stack([jnp.asarray(number, point.loss.dtype) for number in _kept(ending)])

        return numbers(arrays)

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The numbers of an `Ending`, the error of the smallest eigenvalue by itself."""
        del params
        return (Axis("quantity", _KEPT),)


_KEPT = (
    *("kind", "loss", "gradient", "polished_loss", "polished_gradient"),
    *("smallest", "smallest_error", "flat", "moved"),
)


def _kept(ending: Ending) -> list[ArrayLike]:
    """The numbers named in `_KEPT`."""
    plain = ending._asdict() | {"smallest": ending.smallest.value, "smallest_error": ending.smallest.error}
    return [plain[name] for name in _KEPT]


def classify_ends(experiment: Experiment, trajectory: Trajectory, *, before: Trajectory | None = None) -> Ending:
    """The class of the end state of every lane of any run, in double precision.

    Args:
        experiment: the definition of the run.
        trajectory: its lanes.
        before: the trajectory of the experiment's origin, where it has one.

    Returns:
        The ending with a leading lane axis.

    Raises:
        Mistake: if the trajectory of the origin is missing, or the run is not on the full batch.

    Examples:
        >>> from descentlab import Experiment, train
        >>> from descentlab.optim import Armijo
        >>> experiment = Experiment(trained=("value",), optimizer=Armijo(), steps=20)
        >>> Kind(int(classify_ends(experiment, train(experiment)).kind[0])).sentence
        'not converged'
    """
    full_batch(experiment.data, "end states")
    seeds = trajectory.seeds
    lanes = Lanes((experiment,) * len(seeds), seeds, () if before is None else before.ends())
    constants, _ = prepare(lanes)
    with jax.enable_x64(True):
        end = with_named(constants.start, {name: trajectory.final[name] for name in named(constants.start)})
        stacked = double((constants.objective, constants.start, end))
        found = _classify_lanes(stacked)
    return jax.tree.map(np.asarray, found)


@eqx.filter_jit
def _classify_lanes(stacked: PyTree) -> Ending:
    """One lane after the other: each is done as soon as it has settled."""
    arrays, structure = eqx.partition(stacked, eqx.is_array)

    def one(arrays: PyTree) -> Ending:
        objective, start, end = eqx.combine(arrays, structure)
        return classify(objective, end, start)

    return jax.lax.map(one, arrays)


def in_words(ending: Ending, lane: int) -> str:
    """What the class of one lane is and the numbers that it rests on.

    Args:
        ending: of `classify_ends`.
        lane: its position.
    """
    one = jax.tree.map(lambda leaf: np.asarray(leaf)[lane], ending._replace(direction=None))
    kind = Kind(int(one.kind))
    if kind is Kind.ZERO:
        return f"{kind.sentence} (f = {one.loss:.3g})"
    numbers = f"f = {one.loss:.3g}, ||grad f|| = {one.gradient:.2g}"
    if kind is Kind.NOT_CONVERGED:
        return f"{kind.sentence} ({numbers}); the nearest stationary point found has f = {one.polished_loss:.3g}"
    return (
        f"{kind.sentence} ({numbers}; smallest Hessian eigenvalue {one.smallest.value:.3g} +- "
        f"{one.smallest.error:.1g} off {one.flat} flat directions)"
    )

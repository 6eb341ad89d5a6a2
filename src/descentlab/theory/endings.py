"""End states of runs: the classifier as a probe, and in words."""

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._types import Array, ArrayLike, PyTree
from descentlab.axis import Axis
from descentlab.point import Point
from descentlab.probes import AbstractProbe
from descentlab.probes.precision import double
from descentlab.schedule import AbstractSchedule, At
from descentlab.theory.full_batch import full_batch
from descentlab.theory.stationary import Ending, Kind, classify
from descentlab.trajectory import Series

__all__ = ["EndState", "in_words"]


class EndState(AbstractProbe):
    """The class of a point of a run, as if the run ended there, in double precision.

    Args:
        when: the steps at which it is recorded; `At((steps,))` for the end alone. It takes as long as some hundred
            steps. A run that did not record it is looked at by `Run.look(EndState())`.

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


def in_words(seen: Series, lane: int) -> str:
    """What the class of a lane is at a step and the numbers that it rests on.

    Args:
        seen: a record of `EndState`; its last step counts.
        lane: position of the lane.

    Examples:
        >>> from descentlab import Experiment, train
        >>> from descentlab.optim import Armijo
        >>> probes = {"end": EndState(At((20,)))}
        >>> run = train(Experiment(trained=("value",), optimizer=Armijo(), probes=probes, steps=20))
        >>> in_words(run["end"], 0).split(" (")[0]
        'not converged'
    """
    one = {name: float(seen.sel(quantity=name).values[lane, -1]) for name in _KEPT}
    kind = Kind(int(one["kind"]))
    if kind is Kind.ZERO:
        return f"{kind.sentence} (f = {one['loss']:.3g})"
    numbers = f"f = {one['loss']:.3g}, ||grad f|| = {one['gradient']:.2g}"
    if kind is Kind.NOT_CONVERGED:
        return f"{kind.sentence} ({numbers}); the nearest stationary point found has f = {one['polished_loss']:.3g}"
    return (
        f"{kind.sentence} ({numbers}; smallest Hessian eigenvalue {one['smallest']:.3g} +- "
        f"{one['smallest_error']:.1g} off {one['flat']:.0f} flat directions)"
    )

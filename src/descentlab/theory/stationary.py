r"""What kind of point a run ended at: zero loss, a suboptimal minimum, a saddle, on the way to infinity, or undecided.

The end state is first polished to a stationary point near by, by Levenberg-Marquardt steps on the gradient,
$s = -(H^2 + \lambda I)^{-1} H \nabla f$, which find minima and saddles alike. The smallest eigenvalue of the Hessian on
the complement of the known flat directions (`theory/flat.py`) then decides, with an error that bounds what polishing on
would change; where some tokens are fitted already, the tests of `theory/fitted.py` do. `docs/theory/stationary.md` says
what each verdict rests on. Everything is for double precision.
"""

import enum
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from descentlab._types import Array, Bool, Float, Int, PyTree
from descentlab.estimate import Estimate
from descentlab.objective import Objective
from descentlab.theory.fitted import counted_loss, fitted_tokens, second_order_tests
from descentlab.theory.flat import flat_projector, token_chart

__all__ = ["Ending", "Kind", "classify"]

STATIONARY = 1e-10
"""Norm of the gradient below which a polished point counts as stationary."""

POLISHED = 1e-12
"""Norm of the gradient at which polishing stops."""

ZERO = 1e-12
"""A polished loss of at most this times the first one is zero loss."""

NEAR = 1e-3
"""How much of the first loss polishing may remove before the run counts as not converged."""

NEARBY = 1.0
"""How far polishing may move, relative to the norm of the parameters, before the run counts as not converged."""

STAGES = (12, 40, 40)
"""The most rounds to find a stationary point close by; otherwise of lowering the loss, and then the gradient."""

DAMPINGS = (1.0, 0.03, 30.0, 1e3)
"""Factors on the damping that are tried in one step."""

REACH = 100.0
"""How far polishing may go, in norms of the parameters: on the way to infinity there is no end."""

LONG = 1e-5
"""A last step above this times the norm of the parameters, though the gradient has vanished, may lead to infinity."""

LOOSE = 1e-7
"""A coordinate has no curvature left when its row of the Hessian is below this times the largest, or the loss."""

FAR = 0.1
"""A run has come far when its walk in such coordinates exceeds this times the norm of the parameters."""

LIMITS = (1e-4, 1e12)
"""Of the damping."""


class Kind(enum.IntEnum):
    """The class of an end state; `sentence` says it in words."""

    ZERO = 0
    MINIMUM = 1
    SADDLE = 2
    DRIFTING = 3
    DEGENERATE = 4
    NOT_CONVERGED = 5

    @property
    def sentence(self) -> str:
        """What this class means."""
        return {
            Kind.ZERO: "zero loss",
            Kind.MINIMUM: "a strict local minimum with positive loss",
            Kind.SADDLE: "a saddle with positive loss",
            Kind.DRIFTING: "drifting to infinity: the loss falls towards a positive limit as the weights grow",
            Kind.DEGENERATE: "stationary with positive loss; second derivatives do not decide what kind",
            Kind.NOT_CONVERGED: "not converged",
        }[self]


class Ending(NamedTuple):
    """An end state and what its class rests on.

    Attributes:
        kind: a `Kind`.
        loss: at the end state.
        gradient: its norm there.
        polished_loss: at the stationary point that polishing found.
        polished_gradient: the norm of the gradient there.
        smallest: smallest eigenvalue of the Hessian there off the directions that are left out, of a part of the loss
            where only that shows a minimum; the error is four times how far the spectrum moves with one more Newton
            step, plus that of the eigensolver.
        flat: number of directions left out: the known flat ones, and those that leave fitted tokens as they are.
        moved: how far polishing went off the flat directions, relative to the norm of the parameters.
        direction: unit eigenvector of that eigenvalue, a tree like the parameters: of negative curvature at a saddle.
    """

    kind: Int[Array, ""]
    loss: Float[Array, ""]
    gradient: Float[Array, ""]
    polished_loss: Float[Array, ""]
    polished_gradient: Float[Array, ""]
    smallest: Estimate
    flat: Int[Array, ""]
    moved: Float[Array, ""]
    direction: PyTree


class _Flat(NamedTuple):
    """Loss, gradient, both together, and Hessian as functions of one vector."""

    loss: Callable[[Array], Array]
    gradient: Callable[[Array], Array]
    both: Callable[[Array], tuple[Array, Array]]
    hessian: Callable[[Array], Array]


class _Bend(NamedTuple):
    """What second derivatives say.

    Attributes:
        smallest: the smallest eigenvalue, off the directions `left_out`.
        direction: its eigenvector.
        minimum: whether a minimum is shown.
        left_out: projector on the directions that are left out.
        idle: projector on those along which no token moves that is not fitted.
        still: projector on those along which nothing moves.
    """

    smallest: Estimate
    direction: Array
    minimum: Array
    left_out: Array
    idle: Array
    still: Array


class _Polish(NamedTuple):
    """The state of polishing: where, the gradient there, the last step, the damping, rounds, failed in a row, stage."""

    at: Array
    gradient: Array
    step: Array
    damping: Array
    rounds: Array
    failed: Array
    stage: Array


def classify(objective: Objective, params: PyTree, start: PyTree) -> Ending:
    """The class of an end state. Compiles, and maps over lanes.

    Args:
        objective: what was minimised; any that has a twice differentiable `loss`.
        params: the trained blocks at the end, in double precision.
        start: those at the start of the run: "zero" and "near" are relative to the loss there, and what drifts to
            infinity goes on the way that it came.

    Returns:
        The class with the numbers that it rests on.
    """
    end, unravel = ravel_pytree(params)
    first = objective.loss(start)
    zero = ZERO * first
    by_token = token_chart(objective, params)
    origin, _ = token_chart(objective, start) or ravel_pytree(start)
    begin, place = by_token or (end, unravel)
    chart = _flat(lambda vector: objective.loss(place(vector)))
    polish = _polished(chart, begin, zero)
    at = ravel_pytree(place(polish.at))[0]
    flat = _flat(lambda vector: objective.loss(unravel(vector)))
    bend = _second_order(objective, unravel, at, zero)
    walk = at - end - bend.idle @ (at - end)
    moved = jnp.linalg.norm(walk) / jnp.maximum(jnp.linalg.norm(end), jnp.finfo(end.dtype).tiny)
    losses = (flat.loss(end), flat.loss(at), first)
    gradients = (jnp.linalg.norm(flat.gradient(end)), jnp.linalg.norm(flat.gradient(at)))
    stationary = gradients[1] <= STATIONARY
    way = polish.at - origin
    drifts = _drifts(chart, polish, way if by_token else way - bend.still @ way)
    return Ending(
        kind=_kind(losses, stationary, drifts, moved, bend),
        loss=losses[0],
        gradient=gradients[0],
        polished_loss=losses[1],
        polished_gradient=gradients[1],
        smallest=bend.smallest,
        flat=jnp.rint(jnp.trace(bend.left_out)).astype(jnp.int32),
        moved=moved,
        direction=unravel(bend.direction),
    )


def _second_order(objective: Objective, unravel: Callable, at: Array, zero: Array) -> _Bend:
    """What the curvature decides; where the loss splits over tokens, by the tests of `theory/fitted.py`."""
    there = unravel(at)
    still = flat_projector(objective, there)
    fitted = fitted_tokens(objective, there, zero / objective.inputs.shape[0])
    if fitted is None:
        smallest, direction = _curvature(_flat(lambda vector: objective.loss(unravel(vector))), at, still)
        minimum = jnp.asarray(smallest.value - smallest.error > 0)
        return _Bend(smallest, direction, minimum, still, still, still)
    tests = second_order_tests(objective, there, fitted)

    def tested(counted: Array, left_out: Array) -> tuple[Estimate, Array]:
        return _curvature(_flat(lambda vector: counted_loss(objective, unravel(vector), counted)), at, left_out)

    found, directions = jax.vmap(tested)(*tests)
    values, errors = (jnp.asarray(numbers) for numbers in found)
    positive = values - errors > 0
    # A minimum is shown by a part; the eigenvalue that is told is that of the whole wherever its sign is known too.
    part = jnp.where(positive[1], 1, 2)
    minimum = positive[part]
    told = jnp.where(minimum & ~positive[0], part, 0)
    return _Bend(
        Estimate(values[told], errors[told]), directions[told], minimum, tests.left_out[told], tests.left_out[2], still
    )


def _flat(loss: Callable[[Array], Array]) -> _Flat:
    gradient = jax.grad(loss)
    return _Flat(loss, gradient, jax.value_and_grad(loss), jax.jacfwd(gradient))


def _kind(
    losses: tuple[Array, Array, Array], stationary: Array, drifts: Array, moved: Array, bend: _Bend
) -> Int[Array, ""]:
    """The class; every comparison with a number that is not finite is false, and what is left is not converged."""
    loss, polished, first = losses
    near = jnp.abs(loss - polished) <= NEAR * first
    settled = stationary & near & (moved <= NEARBY)
    found = jnp.asarray(Kind.NOT_CONVERGED, jnp.int32)
    found = jnp.where(settled, Kind.DEGENERATE, found)
    found = jnp.where(settled & (bend.smallest.value + bend.smallest.error < 0), Kind.SADDLE, found)
    found = jnp.where(settled & bend.minimum, Kind.MINIMUM, found)
    found = jnp.where(stationary & drifts & (loss - polished <= 10 * NEAR * first), Kind.DRIFTING, found)
    return jnp.where(near & (polished <= ZERO * first), Kind.ZERO, found).astype(jnp.int32)


def _polished(flat: _Flat, end: Array, zero: Array) -> _Polish:
    """The stationary point that the end state leads to.

    A point close by that Newton steps on the gradient find is taken, whatever it is. Otherwise the loss is lowered
    first, by steps in which negative curvature counts as positive, until it is zero or its rounding ends that; then the
    first kind of steps takes over again. It ends `REACH` times the norm of the parameters away.
    """
    reach = REACH * (jnp.linalg.norm(end) + 1.0)
    first = _begin(flat, end)

    def goes_on(state: _Polish) -> Bool[Array, ""]:
        unfinished = (jnp.linalg.norm(state.gradient) > POLISHED) & (flat.loss(state.at) > zero)
        return unfinished & (jnp.linalg.norm(state.at - end) < reach) & (state.stage < len(STAGES))

    def advance(state: _Polish) -> _Polish:
        moved = _moved(flat, state)
        over = (moved.rounds >= jnp.asarray(STAGES)[state.stage]) | (moved.failed >= 3)
        # What was found close by is dropped where it is no stationary point.
        back = over & (state.stage == 0)
        place, gradient, step = (
            jnp.where(back, old, new)
            for old, new in zip((end, first.gradient, first.step), (moved.at, moved.gradient, moved.step), strict=True)
        )
        fresh = first._replace(at=place, gradient=gradient, step=step, stage=state.stage + 1)
        return jax.tree.map(lambda new, old: jnp.where(over, new, old), fresh, moved)

    return jax.lax.while_loop(goes_on, advance, first)


def _begin(flat: _Flat, at: Array) -> _Polish:
    nothing = jnp.asarray(0, jnp.int32)
    return _Polish(at, flat.gradient(at), jnp.zeros_like(at), jnp.ones((), at.dtype), nothing, nothing, nothing)


def _moved(flat: _Flat, state: _Polish) -> _Polish:
    """One round: the best of several dampings, if what must fall does.

    Dampings are factors of the norm of the gradient, so that steps keep their size where gradient and Hessian fall
    together, as they do on the way to infinity.
    """
    downhill, norm = state.stage == 1, jnp.linalg.norm(state.gradient)
    values, vectors = jnp.linalg.eigh(flat.hessian(state.at))
    dampings = jnp.clip(state.damping * jnp.asarray(DAMPINGS), *LIMITS)
    # Damped Newton with the absolute values of the curvature, or Levenberg-Marquardt on the gradient.
    newton = 1 / (jnp.abs(values) + dampings[:, None] * norm)
    levenberg = values / (values**2 + dampings[:, None] * norm**2)
    steps = -(jnp.where(downhill, newton, levenberg) * (vectors.T @ state.gradient)) @ vectors.T
    places = state.at + steps
    losses, gradients = jax.vmap(flat.both)(places)
    merits = jnp.where(downhill, losses, jnp.linalg.norm(gradients, axis=1))
    best = jnp.argmin(jnp.where(jnp.isfinite(merits), merits, jnp.inf))
    better = merits[best] < jnp.where(downhill, flat.loss(state.at), norm)
    return _Polish(
        jnp.where(better, places[best], state.at),
        jnp.where(better, gradients[best], state.gradient),
        jnp.where(better, steps[best], state.step),
        jnp.clip(jnp.where(better, dampings[best], 1e4 * state.damping), *LIMITS),
        state.rounds + 1,
        jnp.where(better, 0, state.failed + 1),
        state.stage,
    )


def _curvature(flat: _Flat, at: Array, projector: Array) -> tuple[Estimate, Array]:
    """Smallest eigenvalue and its eigenvector off the flat directions; with none left it is not a number."""
    left = jnp.eye(at.shape[0]) - projector
    hessian = left @ flat.hessian(at) @ left
    size = jnp.linalg.norm(hessian)
    # Flat directions are lifted above all others, so that they are last.
    values, vectors = jnp.linalg.eigh(hessian + (2 * size + 1) * projector)
    real = values < 1.5 * size + 0.75
    along = vectors.T @ flat.gradient(at)
    step = -vectors @ jnp.where(real, along / jnp.where(values == 0, 1.0, values), 0.0)
    change = jnp.linalg.norm(left @ flat.hessian(at + step) @ left - hessian)
    # Within Newton's quadratic regime the stationary point is two steps away at most; at one where second derivatives
    # vanish a step changes the curvature by half of it or more. Four times the change is beyond both.
    rounding = at.shape[0] * jnp.finfo(at.dtype).eps * (size + jnp.abs(flat.loss(at)))
    return Estimate(jnp.where(real[0], values[0], jnp.nan), 4 * change + rounding), vectors[:, 0]


def _drifts(flat: _Flat, polish: _Polish, walk: Array) -> Bool[Array, ""]:
    """Whether the way goes on: the gradient has vanished, and further out neither it nor the loss comes back.

    The way is the last step of polishing, where that is long although the gradient has vanished; at a finite stationary
    point the last steps are short. Or it is the walk of the whole run in the coordinates in which no curvature is
    left, where the run has come far in them. Either is carried on by twice the norm of the parameters or of the walk.
    """
    at = polish.at
    size = jnp.maximum(jnp.linalg.norm(at), jnp.linalg.norm(walk))
    largest = jnp.abs(polish.step).max()
    # What has settled still moves by rounding, which carried on so far would matter.
    step = jnp.where(jnp.abs(polish.step) > 0.01 * largest, polish.step, 0.0)
    bent = jnp.linalg.norm(flat.hessian(at), axis=1)
    loose = jnp.where(bent <= LOOSE * jnp.maximum(bent.max(), flat.loss(at)), walk, 0.0)
    rounding = 8 * jnp.finfo(at.dtype).eps * jnp.abs(flat.loss(at))

    def goes_on(direction: Array) -> Array:
        unit = direction / jnp.maximum(jnp.linalg.norm(direction), jnp.finfo(at.dtype).tiny)
        far = at + size * jnp.asarray([0.1, 0.25, 0.5, 1.0, 2.0])[:, None] * unit
        level = jax.vmap(flat.loss)(far) <= flat.loss(at) + rounding
        calm = jnp.linalg.norm(jax.vmap(flat.gradient)(far), axis=1) <= STATIONARY
        return jnp.all(level & calm) & (jnp.linalg.norm(far[-1]) > 1.5 * size)

    by_step = (largest > LONG * size) & goes_on(step)
    return by_step | ((jnp.linalg.norm(loose) > FAR * size) & goes_on(loose))

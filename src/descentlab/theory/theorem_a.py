r"""Theorems A and A': training the value block alone, or the output block alone.

The model is linear in either, so that $r_{t+1} = (I - \eta K) r_t$ with constant K and

    f_t = 1/2 sum_i c_i^2 (1 - eta lambda_i)^(2t),

$\lambda_i$ the eigenvalues of K and $c_i$ the components of $r_0$. With $\mu = \lambda_{\min}(K)$ and a step
$\eta \le 1/\lambda_{\max}(K)$: $f_t \le (1 - \eta\mu)^{2t} f_0$. The limit is the least-squares floor, zero for every
target if and only if K has full rank, which needs HD >= Nn (value) or Hd >= Nn (output). Proofs:
`docs/theory/theorem_a.md` and `docs/theory/theorem_a_prime.md`. The spectrum is what the probe `ModalSpectrum` records.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np

from descentlab._types import Array, Float, PyTree
from descentlab.claims import About, Claim, at_most, close
from descentlab.models import MultiHeadAttention
from descentlab.objective import ZERO_LOSS, Objective
from descentlab.probes.spectra import extreme_singular
from descentlab.theory.certificate import DIGITS, AbstractCertificate, CertificateRow, Obstacle
from descentlab.theory.facts import Facts
from descentlab.theory.modes import Modes, contraction, modal_loss, recorded_modes, steps_to
from descentlab.theory.rounding import Arithmetic, bound_rounding, loss_rounding
from descentlab.trajectory import Trajectory

__all__ = [
    "LinearConstants",
    "TheoremA",
    "late_slope",
    "late_slope_of_decrease",
    "linear_detail",
    "modal_formula",
    "rank_obstacle",
    "rate",
]

LEGIBLE = 0.1
"""Losses that rounding may move by more than this share of themselves say nothing."""


class _FinishedLane(NamedTuple):
    """One finished lane: recorded steps and losses, spectrum, step size, and in what it was computed."""

    steps: np.ndarray
    losses: np.ndarray
    modes: Modes
    step_size: float
    run: Arithmetic

    @property
    def predicted(self) -> np.ndarray:
        """The losses of the modal formula."""
        return modal_loss(self.modes, self.step_size, self.steps)

    @property
    def rounding(self) -> np.ndarray:
        """How far rounding may have carried the losses from the formula, relative to it."""
        return loss_rounding(self.modes, self.step_size, self.steps, self.predicted, self.run)


def _lanes(trajectories: Sequence[Trajectory]) -> list[_FinishedLane]:
    """Every finished lane."""
    found = []
    for trajectory in trajectories:
        modes = recorded_modes(trajectory)
        for lane in np.flatnonzero(trajectory.finished):
            loss, made = trajectory["loss"], trajectory.made("loss")[lane]
            own = modes[lane]
            weights = trajectory.final["value"][lane]
            run = Arithmetic(
                float(np.linalg.norm(weights.astype(np.float64))),
                weights.size + len(own.eigenvalues),
                float(np.finfo(weights.dtype).eps) / 2,
            )
            step_size = float(trajectory.last("step_size")[lane])
            found.append(_FinishedLane(loss.steps[made], loss.values[lane, made], own, step_size, run))
    return found


def rate(about: About, trajectories: Sequence[Trajectory]) -> Claim:
    r"""$f_t \le (1 - \eta\mu)^{2t} f_0$ at every recorded step with $f_t > 10^{-20} f_0$.

    Allowed is what rounding may do to the losses of the run and to the computed $\mu$; see `rounding`.

    Args:
        about: what the claim is called.
        trajectories: of the value block, with probes `loss`, `modes` (`ModalSpectrum`) and `step_size`.
    """
    ratios, bounds, slack, where = [], [], [], []
    for one in _lanes(trajectories):
        slowest = one.modes.eigenvalues.min(keepdims=True)
        ratios.append(one.losses / one.losses[0])
        bounds.append(modal_loss(Modes(slowest, np.asarray([2.0])), one.step_size, one.steps))
        own = bound_rounding(one.modes, one.step_size, one.steps, one.run) * bounds[-1]
        slack.append(one.rounding * one.predicted / one.losses[0] + own)
        where.append((one.losses > ZERO_LOSS * one.losses[0]) & (one.steps > 0))
    chosen = _joined(where).astype(bool)
    return at_most(about, _joined(ratios), _joined(bounds), slack=_joined(slack), where=chosen)


def modal_formula(about: About, trajectories: Sequence[Trajectory]) -> Claim:
    r"""$f_t$ equals the modal formula to a relative $10^{-8}$, or what rounding of the steps can add up to. See `rate`.

    In exact arithmetic the two are equal. Compared are losses that rounding can move by less than a tenth.
    """
    errors, allowed, where = [], [], []
    for one in _lanes(trajectories):
        errors.append(np.abs(one.losses / one.predicted - 1))
        allowed.append(np.maximum(1e-8, one.rounding))
        where.append((one.rounding < LEGIBLE) & (one.steps > 0))
    return at_most(about, _joined(errors), _joined(allowed), where=_joined(where).astype(bool))


def late_slope(about: About, trajectories: Sequence[Trajectory]) -> Claim:
    r"""The slope of $\log f_t$ is $2\log(1 - \eta\mu)$ within 2 % where the slowest mode carries 99 % of the loss.

    One slope a lane, from the first such record to the last one above $10^{-20} f_0$ of which rounding leaves a digit;
    a lane with no such stretch, or one on which rounding could hide 2 %, has nothing to compare. The slope is the mean
    of the modes' slopes weighted by their shares, so 1 % of the loss in much faster modes can outweigh the rest; see
    `late_slope_of_decrease`.
    """
    return _late(about, trajectories, 0)


def late_slope_of_decrease(about: About, trajectories: Sequence[Trajectory]) -> Claim:
    r"""As `late_slope`, where the slowest mode has 99 % of the decrease, $\lambda_i$ times its share of the loss."""
    return _late(about, trajectories, 1)


def _late(about: About, trajectories: Sequence[Trajectory], power: int) -> Claim:
    """The late slopes, a mode weighing its part of the loss times a power of its eigenvalue."""
    ratios, unsure = [], []
    for one in _lanes(trajectories):
        slowest = int(np.argmin(one.modes.eigenvalues))
        parts = contraction(one.modes, one.step_size, one.steps) * one.modes.squares * one.modes.eigenvalues**power
        share = parts[:, slowest] / np.maximum(parts.sum(axis=1), 1e-300)
        legible = (one.losses > ZERO_LOSS * one.losses[0]) & (one.rounding < LEGIBLE)
        late = np.flatnonzero((share >= 0.99) & legible)
        slope = 2 * np.log1p(-one.step_size * one.modes.eigenvalues[slowest])
        if late.size < 2 or slope == 0:
            continue
        ends = late[[0, -1]]
        fall = slope * np.diff(one.steps[ends])[0]
        hidden = one.rounding[ends].sum() / abs(fall)
        if hidden < 0.02:
            ratios.append(np.diff(np.log(one.losses[ends]))[0] / fall)
            unsure.append(hidden)
    return close(about, np.asarray(ratios), 1.0, tolerance=0.02, uncertainty=np.asarray(unsure))


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0)


class LinearConstants(NamedTuple):
    r"""What Theorems A and A' say of a start.

    Attributes:
        smallest: a lower bound of $\mu$.
        largest: an upper bound of $\lambda_{\max}(K)$.
        ratio: $\mu / \lambda_{\max}(K)$; infinite where K has not full rank.
        step: $1 / \lambda_{\max}(K)$.
    """

    smallest: Float[Array, ""]
    largest: Float[Array, ""]
    ratio: Float[Array, ""]
    step: Float[Array, ""]

    @classmethod
    def of(cls, params: PyTree, singular: Float[Array, " row"]) -> "LinearConstants":
        """From the trained blocks and the singular values of J, of `jacobian_modes`."""
        smallest, largest = (one**2 for one in extreme_singular(singular, params))
        ratio = jnp.where(smallest > 0, singular[-1] ** 2 / singular[0] ** 2, jnp.inf)
        return cls(smallest, largest, ratio, 1 / largest)

    def decay(self, step: Any) -> Any:
        r"""$1 - (1 - \eta\mu)^2$."""
        return step * self.smallest * (2 - step * self.smallest)


def rank_obstacle(facts: Facts) -> Obstacle | None:
    """That K of the one trained block has not full rank."""
    if facts.rank == facts.rows:
        return None
    missing = f"the Gram matrix of the {facts.trained[0]} block has rank {facts.rank}, {facts.rows} is needed"
    return Obstacle(missing if facts.rank == facts.possible else facts.below, facts.rows / max(facts.rank, 1))


def linear_detail(facts: Facts, row: CertificateRow, tolerance: float) -> str:
    """The floor below which the loss cannot fall, or the condition number and the steps by the modal formula."""
    if facts.rank < facts.rows:
        known = "" if facts.rank == facts.possible else ", if they are 0"
        return f"least-squares floor {facts.floor:.3g} f_0{known}"
    if row.step is None:
        return ""
    return f"L/mu {facts.condition:.3g}; {_modal_steps(facts, row.step, tolerance)} steps by the modal formula"


def _modal_steps(facts: Facts, step: float, tolerance: float) -> str:
    """The number of steps by the modal formula, with as many digits as the smallest singular value allows."""
    steps, error = steps_to(facts.modes, step, tolerance), 2 * facts.error / float(facts.singular[-1])
    if steps < 10**DIGITS and steps * error < 0.5:
        return f"exactly {steps:.0f}"
    return f"about {steps:.{min(DIGITS, max(1, int(-math.log10(error))))}g}"


class TheoremA(AbstractCertificate):
    """Theorem A, of the value block trained alone.

    References:
        Derived in `docs/theory/theorem_a.md`; HD >= Nn and the rate are those of Song et al. (2024), arXiv:2411.07538.
    """

    id: ClassVar[str] = "a"
    name: ClassVar[str] = "Theorem A"
    page: ClassVar[str] = "docs/theory/theorem_a.md"
    Constants: ClassVar[Any] = LinearConstants

    def speaks_of(self, model: PyTree, trained: tuple[str, ...]) -> bool:
        """Whether the value block of a layer of attention is trained alone."""
        return isinstance(model, MultiHeadAttention) and trained == ("value",)

    def constants(self, objective: Objective, params: PyTree, singular: Float[Array, " row"]) -> LinearConstants:
        """From the singular values alone."""
        del objective
        return LinearConstants.of(params, singular)

    def decay(self, step: Any, constants: Any) -> Any:
        r"""$1 - (1 - \eta\mu)^2$."""
        return constants.decay(step)

    def obstacle(self, facts: Facts) -> Obstacle | None:
        """That K has not full rank."""
        return rank_obstacle(facts)

    def detail(self, facts: Facts, row: CertificateRow, tolerance: float) -> str:
        """The least-squares floor, or the condition number and the steps by the modal formula."""
        return linear_detail(facts, row, tolerance)

    def promises(self, case: str, trajectories: Sequence[Trajectory]) -> list[Claim]:
        """The rate; needs the probe `modes` (`ModalSpectrum`) too."""
        text = "Value-only loss obeys f_t <= (1 - eta mu)^(2t) f_0"
        return [rate(About(f"a-rate-{case}", text, self.name, case), trajectories)]

r"""Theorems A and A': training the value block alone, or the output block alone.

The model is linear in either, so that $r_{t+1} = (I - \eta K) r_t$ with constant K and

    f_t = 1/2 sum_i c_i^2 (1 - eta lambda_i)^(2t),

$\lambda_i$ the eigenvalues of K and $c_i$ the components of $r_0$. With $\mu = \lambda_{\min}(K)$ and a step
$\eta \le 1/\lambda_{\max}(K)$: $f_t \le (1 - \eta\mu)^{2t} f_0$. The limit is the least-squares floor, zero for every
target if and only if K has full rank, which needs HD >= Nn (value) or Hd >= Nn (output). Proofs:
`docs/theory/theorem_a.md` and `docs/theory/theorem_a_prime.md`. The spectrum is what the probe `ModalSpectrum` records.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from descentlab.claims import About, Claim, at_most, close
from descentlab.mistake import Mistake
from descentlab.objective import ZERO_LOSS
from descentlab.probes.spectra import RANK_TOLERANCE
from descentlab.theory.rounding import Arithmetic, bound_rounding, loss_rounding
from descentlab.trajectory import Trajectory

__all__ = [
    "condition_number",
    "late_slope",
    "late_slope_of_decrease",
    "least_squares_floor",
    "modal_formula",
    "modal_loss",
    "rate",
    "steps_to",
]

LEGIBLE = 0.1
"""Losses that rounding may move by more than this share of themselves say nothing."""


def _contraction(spectrum: np.ndarray, step_size: float, steps: np.ndarray) -> np.ndarray:
    """(1 - eta lambda_i)^(2t), axes step and mode; 1 - eta lambda is 0 at the largest eigenvalue, up to rounding."""
    shrink = step_size * spectrum[0].astype(np.float64)
    # |1 - x| = 1 - min(x, 2 - x) where x is at least 0: the logarithm keeps the digits of a small x.
    logs = np.log1p(-np.minimum(np.minimum(shrink, 2 - shrink), 1 - 2.0**-53))
    return np.exp(2 * np.asarray(steps)[:, None] * logs)


def modal_loss(spectrum: np.ndarray, step_size: float, steps: np.ndarray) -> np.ndarray:
    """f_t at the given steps.

    Args:
        spectrum: eigenvalues of K and squared components of the residual, as two rows.
        step_size: eta.
        steps: t.
    """
    return 0.5 * _contraction(spectrum, step_size, steps) @ spectrum[1]


def least_squares_floor(spectrum: np.ndarray) -> float:
    """The limit of f_t: half the squared components along eigenvalues that vanish to the rank tolerance."""
    null = spectrum[0] <= RANK_TOLERANCE**2 * spectrum[0].max()
    return float(0.5 * spectrum[1][null].sum())


def condition_number(spectrum: np.ndarray) -> float:
    """lambda_max / lambda_min of K; infinite where it has not full rank."""
    largest, smallest = spectrum[0].max(), spectrum[0].min()
    return float(largest / smallest) if smallest > RANK_TOLERANCE**2 * largest else np.inf


def steps_to(spectrum: np.ndarray, step_size: float, tolerance: float) -> float:
    r"""The first step with f_t <= tolerance * f_0, by bisection of the modal formula; infinite where there is none.

    It is as accurate as the eigenvalues: to a part $2\delta\sigma_{\max}/\sigma_{\min}$ of itself where singular values
    have the error $\delta\sigma_{\max}$, and to a part $10^{-15}$ where it exceeds the integers of double precision.

    Raises:
        Mistake: if the step is too long for the loss to fall at every step.
    """
    if step_size * spectrum[0].max() > 2:
        raise Mistake(f"the step must be at most 2 / lambda_max = {2 / spectrum[0].max():.3g}, got {step_size:.3g}")
    wanted = tolerance * 0.5 * spectrum[1].sum()
    limit = modal_loss(spectrum, step_size, np.asarray([1e300]))[0]
    if not (limit <= wanted and least_squares_floor(spectrum) <= wanted):
        return np.inf
    low, high = -1.0, 1.0
    while modal_loss(spectrum, step_size, np.asarray([high]))[0] > wanted:
        low, high = high, 4 * high
    while high - low > 1 and low < (middle := np.floor(low / 2 + high / 2)) < high:
        reached = modal_loss(spectrum, step_size, np.asarray([middle]))[0] <= wanted
        low, high = (low, middle) if reached else (middle, high)
    return float(high)


class _Lane(NamedTuple):
    """One finished lane: recorded steps and losses, spectrum, step size, and in what it was computed."""

    steps: np.ndarray
    losses: np.ndarray
    spectrum: np.ndarray
    step_size: float
    run: Arithmetic

    @property
    def predicted(self) -> np.ndarray:
        """The losses of the modal formula."""
        return modal_loss(self.spectrum, self.step_size, self.steps)

    @property
    def rounding(self) -> np.ndarray:
        """How far rounding may have carried the losses from the formula, relative to it."""
        return loss_rounding(self.spectrum, self.step_size, self.steps, self.predicted, self.run)


def _lanes(trajectories: Sequence[Trajectory]) -> list[_Lane]:
    """Every finished lane."""
    found = []
    for trajectory in trajectories:
        for lane in np.flatnonzero(trajectory.finished):
            loss, made = trajectory["loss"], trajectory.made("loss")[lane]
            spectrum = trajectory["modes"].values[lane, 0].astype(np.float64)
            weights = trajectory.final["value"][lane]
            run = Arithmetic(
                float(np.linalg.norm(weights.astype(np.float64))),
                weights.size + spectrum.shape[1],
                float(np.finfo(weights.dtype).eps) / 2,
            )
            step_size = float(trajectory.last("step_size")[lane])
            found.append(_Lane(loss.steps[made], loss.values[lane, made], spectrum, step_size, run))
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
        slowest = one.spectrum[:, [int(np.argmin(one.spectrum[0]))]]
        ratios.append(one.losses / one.losses[0])
        bounds.append(modal_loss(np.stack([slowest[0], [2.0]]), one.step_size, one.steps))
        own = bound_rounding(one.spectrum, one.step_size, one.steps, one.run) * bounds[-1]
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
        slowest = int(np.argmin(one.spectrum[0]))
        parts = _contraction(one.spectrum, one.step_size, one.steps) * one.spectrum[1] * one.spectrum[0] ** power
        share = parts[:, slowest] / np.maximum(parts.sum(axis=1), 1e-300)
        legible = (one.losses > ZERO_LOSS * one.losses[0]) & (one.rounding < LEGIBLE)
        late = np.flatnonzero((share >= 0.99) & legible)
        slope = 2 * np.log1p(-one.step_size * one.spectrum[0, slowest])
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

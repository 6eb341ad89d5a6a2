r"""Theorems A and A': training the value block alone, or the output block alone.

The model is linear in either, so that $r_{t+1} = (I - \eta K) r_t$ with constant K and

    f_t = 1/2 sum_i c_i^2 (1 - eta lambda_i)^(2t),

$\lambda_i$ the eigenvalues of K and $c_i$ the components of $r_0$. With $\mu = \lambda_{\min}(K)$ and a step
$\eta \le 1/\lambda_{\max}(K)$: $f_t \le (1 - \eta\mu)^{2t} f_0$. The limit is the least-squares floor, zero for every
target if and only if K has full rank, which needs HD >= Nn (value) or Hd >= Nn (output). Proofs:
`docs/theory/theorem_a.md` and `docs/theory/theorem_a_prime.md`. The spectrum is what the probe `ModalSpectrum` records.
"""

from collections.abc import Sequence

import numpy as np

from descentlab.objective import ZERO_LOSS
from descentlab.probes.spectra import RANK_TOLERANCE
from descentlab.theory.claim import About, Claim, at_most, close
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

ROUNDING = 1e-9
"""Relative slack of every bound on a loss."""


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
        ValueError: if the step is too long for the loss to fall at every step.
    """
    if step_size * spectrum[0].max() > 2:
        raise ValueError(f"the step must be at most 2 / lambda_max = {2 / spectrum[0].max():.3g}, got {step_size:.3g}")
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


def _lanes(trajectories: Sequence[Trajectory]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, float]]:
    """Steps, losses, spectrum and step size of every finished lane."""
    found = []
    for trajectory in trajectories:
        for lane in np.flatnonzero(trajectory.finished):
            loss, spectrum = trajectory["loss"], trajectory["modes"].values[lane, 0]
            found.append((loss.steps, loss.values[lane], spectrum, float(trajectory["step_size"].values[lane, -1])))
    return found


def rate(about: About, trajectories: Sequence[Trajectory]) -> Claim:
    r"""$f_t \le (1 - \eta\mu)^{2t} f_0$ at every recorded step with $f_t > 10^{-20} f_0$.

    Args:
        about: what the claim is called.
        trajectories: with probes `loss`, `modes` (`ModalSpectrum`) and `step_size`.
    """
    ratios, bounds, where = [], [], []
    for steps, losses, spectrum, step_size in _lanes(trajectories):
        slowest = spectrum[:, [int(np.argmin(spectrum[0]))]] * np.asarray([[1.0], [0.0]]) + np.asarray([[0.0], [2.0]])
        ratios.append(losses / losses[0])
        bounds.append(modal_loss(slowest, step_size, steps))
        where.append((losses > ZERO_LOSS * losses[0]) & (steps > 0))
    measured, expected = _joined(ratios), _joined(bounds)
    return at_most(about, measured, expected, slack=ROUNDING * expected, where=_joined(where).astype(bool))


def modal_formula(about: About, trajectories: Sequence[Trajectory]) -> Claim:
    r"""$f_t$ equals the modal formula to a relative $10^{-8}$ wherever it exceeds $10^{-18} f_0$. See `rate`.

    The uncertainty is what rounding the outputs alone does to a loss, relative to it: $2u\sqrt{f_0/f_t}$ with the unit
    roundoff $u = 2^{-53}$.
    """
    errors, rounding, where = [], [], []
    for steps, losses, spectrum, step_size in _lanes(trajectories):
        predicted = modal_loss(spectrum, step_size, steps)
        errors.append(np.abs(losses / predicted - 1))
        rounding.append(_rounding(losses))
        where.append((losses > 1e-18 * losses[0]) & (steps > 0))
    # Where a comparison is met, rounding has not spoken against it.
    error, unsure = _joined(errors), _joined(rounding)
    return at_most(about, error, 1e-8, uncertainty=unsure * (error > 1e-8), where=_joined(where).astype(bool))


def _rounding(losses: np.ndarray) -> np.ndarray:
    """Relative uncertainty of each loss when outputs of the size of the first residual are rounded to float64."""
    return 2 * 2.0**-53 * np.sqrt(losses[0] / np.maximum(losses, 1e-300))


def late_slope(about: About, trajectories: Sequence[Trajectory]) -> Claim:
    r"""The slope of $\log f_t$ is $2\log(1 - \eta\mu)$ within 2 % where the slowest mode carries 99 % of the loss.

    One slope a lane, from the first such record to the last one above $10^{-20} f_0$; a lane with no such stretch, or
    one on which rounding could hide 2 %, has nothing to compare. The slope is the mean of the modes' slopes weighted
    by their shares, so 1 % of the loss in much faster modes can outweigh the rest; see `late_slope_of_decrease`.
    """
    return _late(about, trajectories, 0)


def late_slope_of_decrease(about: About, trajectories: Sequence[Trajectory]) -> Claim:
    r"""As `late_slope`, where the slowest mode has 99 % of the decrease, $\lambda_i$ times its share of the loss."""
    return _late(about, trajectories, 1)


def _late(about: About, trajectories: Sequence[Trajectory], power: int) -> Claim:
    """The late slopes, a mode weighing its part of the loss times a power of its eigenvalue."""
    ratios = []
    for steps, losses, spectrum, step_size in _lanes(trajectories):
        slowest = int(np.argmin(spectrum[0]))
        parts = _contraction(spectrum, step_size, steps) * spectrum[1] * spectrum[0] ** power
        share = parts[:, slowest] / np.maximum(parts.sum(axis=1), 1e-300)
        late = np.flatnonzero((share >= 0.99) & (losses > ZERO_LOSS * losses[0]))
        slope = 2 * np.log1p(-step_size * spectrum[0, slowest])
        if late.size < 2 or slope == 0:
            continue
        first, last = late[0], late[-1]
        fall = slope * (steps[last] - steps[first])
        unsure = _rounding(losses)[[first, last]].sum() / abs(fall)
        if unsure < 0.02:
            ratios.append(np.log(losses[last] / losses[first]) / fall)
    return close(about, np.asarray(ratios), 1.0, tolerance=0.02)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0)

r"""The modes of a model that is linear in what is trained: eigenvalues of K, and what of the residual lies along each.

With $\lambda_i$ the eigenvalues of K and $c_i$ the components of $r_0$, gradient descent with the step $\eta$ gives

    f_t = 1/2 sum_i c_i^2 (1 - eta lambda_i)^(2t).

Derivation: `docs/theory/theorem_a.md`.
"""

from typing import NamedTuple

import numpy as np

from descentlab.mistake import Mistake
from descentlab.probes.spectra import RANK_TOLERANCE
from descentlab.trajectory import Trajectory

__all__ = [
    "Modes",
    "condition_number",
    "contraction",
    "least_squares_floor",
    "modal_loss",
    "recorded_modes",
    "steps_to",
]


class Modes(NamedTuple):
    r"""One lane's modes.

    Attributes:
        eigenvalues: $\lambda_i$.
        squares: $c_i^2$.
    """

    eigenvalues: np.ndarray
    squares: np.ndarray


def recorded_modes(trajectory: Trajectory, probe: str = "modes") -> list[Modes]:
    """The modes at the first record of a `ModalSpectrum`, one a lane, in double precision.

    Args:
        trajectory: with that probe.
        probe: its name in the experiment.
    """
    sides = (trajectory[probe].sel(quantity=name).values[:, 0] for name in ("eigenvalue", "squared_component"))
    return [Modes(*lane) for lane in zip(*(side.astype(np.float64) for side in sides), strict=True)]


def contraction(modes: Modes, step_size: float, steps: np.ndarray) -> np.ndarray:
    """(1 - eta lambda_i)^(2t), axes step and mode; 1 - eta lambda is 0 at the largest eigenvalue, up to rounding."""
    shrink = step_size * modes.eigenvalues.astype(np.float64)
    # |1 - x| = 1 - min(x, 2 - x) where x is at least 0: the logarithm keeps the digits of a small x.
    logs = np.log1p(-np.minimum(np.minimum(shrink, 2 - shrink), 1 - 2.0**-53))
    return np.exp(2 * np.asarray(steps)[:, None] * logs)


def modal_loss(modes: Modes, step_size: float, steps: np.ndarray) -> np.ndarray:
    """f_t at the given steps.

    Args:
        modes: of K and the residual at the start.
        step_size: eta.
        steps: t.
    """
    return 0.5 * contraction(modes, step_size, steps) @ modes.squares


def least_squares_floor(modes: Modes) -> float:
    """The limit of f_t: half the squared components along eigenvalues that vanish to the rank tolerance."""
    null = modes.eigenvalues <= RANK_TOLERANCE**2 * modes.eigenvalues.max()
    return float(0.5 * modes.squares[null].sum())


def condition_number(modes: Modes) -> float:
    """lambda_max / lambda_min of K; infinite where it has not full rank."""
    largest, smallest = modes.eigenvalues.max(), modes.eigenvalues.min()
    return float(largest / smallest) if smallest > RANK_TOLERANCE**2 * largest else np.inf


def steps_to(modes: Modes, step_size: float, tolerance: float) -> float:
    r"""The first step with f_t <= tolerance * f_0, by bisection of the modal formula; infinite where there is none.

    It is as accurate as the eigenvalues: to a part $2\delta\sigma_{\max}/\sigma_{\min}$ of itself where singular values
    have the error $\delta\sigma_{\max}$, and to a part $10^{-15}$ where it exceeds the integers of double precision.

    Raises:
        Mistake: if the step is too long for the loss to fall at every step.
    """
    if step_size * modes.eigenvalues.max() > 2:
        raise Mistake(
            f"the step must be at most 2 / lambda_max = {2 / modes.eigenvalues.max():.3g}, got {step_size:.3g}"
        )
    wanted = tolerance * 0.5 * modes.squares.sum()
    limit = modal_loss(modes, step_size, np.asarray([1e300]))[0]
    if not (limit <= wanted and least_squares_floor(modes) <= wanted):
        return np.inf
    low, high = -1.0, 1.0
    while modal_loss(modes, step_size, np.asarray([high]))[0] > wanted:
        low, high = high, 4 * high
    while high - low > 1 and low < (middle := np.floor(low / 2 + high / 2)) < high:
        reached = modal_loss(modes, step_size, np.asarray([middle]))[0] <= wanted
        low, high = (low, middle) if reached else (middle, high)
    return float(high)

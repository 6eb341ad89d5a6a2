r"""What rounding can do to what a run records, and how far it carries gradient descent from its modal formula.

Of a run of a model linear in its trained block, with the weights $\hat w_t$, m bounds the length of every sum between
weights and residual, u is the unit roundoff, $\|J\|_F^2 = \sum_i \lambda_i$, $\kappa = \sqrt\eta\,\|J\|_F$ and w the
largest norm of the weights. To first order in u, and for steps of at most $1/\lambda_{\max}$, the recorded residual
differs from that of the formula by at most

    D_t = u (m ((7 + log t) (||J||_F w + ||r_0||) + 3 kappa sqrt(2t) ||r_0||) + 3 w sqrt(t / eta)).

Proof: `docs/theory/theorem_a.md`, section *Rounding*.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from descentlab.theory.modes import Modes
from descentlab.trajectory import Trajectory

__all__ = ["Arithmetic", "bound_rounding", "lane_size", "loss_rounding", "sum_rounding", "unit_roundoff"]


def unit_roundoff(trajectory: Trajectory) -> float:
    """u of the precision in which a run was computed: that of its blocks."""
    return float(max(np.finfo(array.dtype).eps for array in trajectory.final.values())) / 2


def lane_size(trajectory: Trajectory) -> int:
    """m, the number of weights of one lane: at least as long as a sum over some of them."""
    return sum(array[0].size for array in trajectory.final.values())


def sum_rounding(trajectories: Sequence[Trajectory]) -> float:
    """What rounding of sums over the weights may do to a number, as a share of it: 4 m u."""
    return max((4 * lane_size(one) * unit_roundoff(one) for one in trajectories), default=0.0)


class Arithmetic(NamedTuple):
    """In what a run was computed.

    Attributes:
        weights: norm of the trained blocks after the last step.
        size: m, at least as long as every sum between weights and residual: their number together.
        unit: unit roundoff u.
    """

    weights: float
    size: int
    unit: float


def loss_rounding(modes: Modes, step_size: float, steps: np.ndarray, losses: np.ndarray, run: Arithmetic) -> np.ndarray:
    r"""How far rounding may carry a recorded loss from the formula's, relative to it: $2d + d^2$, d = D_t / ||r_t||.

    Args:
        modes: of K and the residual at the start.
        step_size: eta.
        steps: t, at which the losses are.
        losses: those of the modal formula.
        run: in what the run was computed.
    """
    first = np.sqrt(modes.squares.sum())
    jacobian = np.sqrt(modes.eigenvalues.sum())
    weights = run.weights + _path(modes, step_size, float(steps[-1]))
    long = np.maximum(steps, 1.0)
    sums = (7 + np.log(long)) * (jacobian * weights + first)
    drift = 3 * np.sqrt(2 * step_size * long) * jacobian * first
    apart = run.unit * (run.size * (sums + drift) + 3 * weights * np.sqrt(long / step_size))
    share = apart / np.sqrt(np.maximum(2 * losses, np.finfo(float).tiny))
    return 2 * share + share**2 + run.size * run.unit


def bound_rounding(modes: Modes, step_size: float, steps: np.ndarray, run: Arithmetic) -> np.ndarray:
    r"""How far $(1 - \eta\mu)^{2t}$ may be off, relative to itself, by rounding of $\mu = \sigma_{\min}^2$.

    A computed singular value is off by up to $m u \|J\|_F$.
    """
    slowest, whole = step_size * modes.eigenvalues.min(), step_size * modes.eigenvalues.sum()
    return 4 * steps * np.sqrt(slowest * whole) * run.size * run.unit


def _path(modes: Modes, step_size: float, steps: float) -> float:
    r"""The length of the weights' path, at most $\sum_i |c_i| (1 - (1 - \eta\lambda_i)^t) / \sqrt{\lambda_i}$."""
    seen = modes.eigenvalues > 0
    eigenvalues, squares = modes.eigenvalues[seen], modes.squares[seen]
    left = np.maximum(1 - step_size * eigenvalues, 0.0) ** steps
    return float(np.sum(np.sqrt(squares / eigenvalues) * (1 - left)))

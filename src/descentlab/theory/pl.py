r"""The Polyak-Lojasiewicz inequality through the Gram matrix, and the bounds that follow step by step.

$\|\nabla f\|^2 = r^\top K r \ge 2\lambda_{\min}(K) f$ with K the sum over the trained blocks. A step that satisfies
$f_{t+1} \le f_t - \frac{\eta_t}{2}\|\nabla f_t\|^2$ therefore gives $f_{t+1} \le (1 - \eta_t\lambda_{\min}(K_t)) f_t$.
Proof: `docs/theory/pl.md`. A smallest eigenvalue counts here only if it comes from a dense spectrum.
"""

from collections.abc import Sequence

import numpy as np

from descentlab.claims import About, Claim, at_least, at_most
from descentlab.objective import ZERO_LOSS
from descentlab.theory.rounding import lane_size, unit_roundoff
from descentlab.trajectory import Series, Trajectory

__all__ = ["pl_inequality", "stepwise_bound"]


def _at(series: Series, steps: np.ndarray) -> np.ndarray:
    """The records of a number at the given steps, axes lane and record."""
    return series.values[:, np.searchsorted(series.steps, steps)]


def _allowed(trajectory: Trajectory, steps: np.ndarray) -> np.ndarray:
    r"""What rounding may take from the PL ratio p and add to $\lambda_{\min}$, axes lane and record.

    The eigenvalue comes with its error. A gradient $J^\top r$ is off by at most $m u \|J\|_F \|r\|$, m the length of
    its sums, so p by $2 m u \|J\|_F \sqrt p$; and $\|J\|_F^2 \le m\lambda_{\max}$.
    """
    gram, ratio = trajectory["gram"], _at(trajectory["pl"], steps)
    kept = (_at(gram.sel(quantity=one), steps) for one in ("largest", "smallest_error"))
    largest, error = (np.maximum(values, 0.0) for values in kept)
    size = lane_size(trajectory)
    return error + 2 * size**1.5 * unit_roundoff(trajectory) * np.sqrt(np.maximum(ratio, 0.0) * largest)


def pl_inequality(about: About, trajectories: Sequence[Trajectory]) -> Claim:
    r"""$\|\nabla f\|^2 / 2f \ge \lambda_{\min}(K_t)$ wherever $f_t > 10^{-20} f_0$, up to rounding.

    Args:
        about: what the claim is called.
        trajectories: with probes `loss`, `pl` (`PLRatio`) and `gram` (`GramSpectrum`), compared where all are recorded.
    """
    ratios, bounds, slack, where = [], [], [], []
    for trajectory in trajectories:
        loss, pl, gram = trajectory["loss"], trajectory["pl"], trajectory["gram"]
        steps = np.intersect1d(np.intersect1d(loss.steps, pl.steps), gram.steps)
        losses, ratio = _at(loss, steps), _at(pl, steps)
        ratios.append(ratio.ravel())
        bounds.append(_at(gram.sel(quantity="smallest"), steps).ravel())
        slack.append(_allowed(trajectory, steps).ravel())
        dense = _at(gram.sel(quantity="dense"), steps) == 1
        where.append((dense & (losses > ZERO_LOSS * losses[:, :1]) & trajectory.finished[:, None]).ravel())
    joined = [np.concatenate(parts) if parts else np.zeros(0) for parts in (ratios, bounds, slack, where)]
    return at_least(about, joined[0], joined[1], slack=joined[2], where=joined[3].astype(bool))


def stepwise_bound(about: About, trajectories: Sequence[Trajectory]) -> Claim:
    r"""$f_t \le f_0 \prod_{s<t} (1 - \eta_s \lambda_{\min}(K_s))$ at every step with $f_t > 10^{-20} f_0$.

    Eigenvalues count less what rounding may have added to them, and a loss may be off by $2 m u \sqrt{f_0 f_t}$, what
    rounding of outputs as large as the first residual does to it.

    Args:
        about: what the claim is called.
        trajectories: with probes `loss`, `pl`, `gram` and `step_size` recorded at every step.
    """
    ratios, bounds, slack, where = [], [], [], []
    for trajectory in trajectories:
        losses, gram = trajectory["loss"].values, trajectory["gram"]
        steps = np.arange(losses.shape[1])
        if not all(np.array_equal(trajectory[name].steps, steps) for name in ("loss", "pl", "gram")):
            continue
        step_sizes = trajectory["step_size"].values[:, 1:]
        eigenvalues = np.maximum(gram.sel(quantity="smallest").values - _allowed(trajectory, steps), 0.0)[:, :-1]
        product = np.cumprod(np.clip(1 - step_sizes * eigenvalues, 0.0, 1.0), axis=1)
        ratio = losses[:, 1:] / losses[:, :1]
        share = 4 * lane_size(trajectory) * unit_roundoff(trajectory) / np.sqrt(np.maximum(ratio, ZERO_LOSS))
        dense = gram.sel(quantity="dense").values[:, 1:] == 1
        ratios.append(ratio.ravel())
        bounds.append(product.ravel())
        slack.append((product * np.cumsum(share, axis=1)).ravel())
        where.append((dense & (ratio > ZERO_LOSS) & trajectory.finished[:, None]).ravel())
    joined = [np.concatenate(parts) if parts else np.zeros(0) for parts in (ratios, bounds, slack, where)]
    return at_most(about, joined[0], joined[1], slack=joined[2], where=joined[3].astype(bool))

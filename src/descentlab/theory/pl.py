r"""The Polyak-Lojasiewicz inequality through the Gram matrix, and the bounds that follow step by step.

$\|\nabla f\|^2 = r^\top K r \ge 2\lambda_{\min}(K) f$ with K the sum over the trained blocks. A step that satisfies
$f_{t+1} \le f_t - \frac{\eta_t}{2}\|\nabla f_t\|^2$ therefore gives $f_{t+1} \le (1 - \eta_t\lambda_{\min}(K_t)) f_t$.
Proof: `docs/theory/pl.md`. A smallest eigenvalue counts here only if it comes from a dense spectrum.
"""

from collections.abc import Sequence

import numpy as np

from descentlab.objective import ZERO_LOSS
from descentlab.theory.claim import About, Claim, at_least, at_most
from descentlab.trajectory import Series, Trajectory

__all__ = ["pl_inequality", "stepwise_bound"]


def _at(series: Series, steps: np.ndarray) -> np.ndarray:
    """The records at the given steps, axes lane and record, then those of the probe."""
    return series.values[:, np.searchsorted(series.steps, steps)]


def pl_inequality(about: About, trajectories: Sequence[Trajectory]) -> Claim:
    r"""$p_t = \|\nabla f\|^2 / 2f \ge \lambda_{\min}(K_t)$ wherever $f_t > 10^{-20} f_0$, up to rounding.

    A singular value of J is known to $\delta = \gamma\,\sigma_{\max}$, which the recorded error of $\lambda_{\max}$,
    $\delta (2\sigma_{\max} + \delta)$, gives back. The slack is the recorded error of $\lambda_{\min}$ and what the
    same error in the product $J^\top r$ does to $p_t$, $\delta (2\sqrt{p_t} + \delta)$.

    Args:
        about: what the claim is called.
        trajectories: with probes `loss`, `pl` (`PLRatio`) and `gram` (`GramSpectrum`), compared where all are recorded.
    """
    ratios, bounds, slack, where = [], [], [], []
    for trajectory in trajectories:
        loss, pl, gram = trajectory["loss"], trajectory["pl"], trajectory["gram"]
        steps = np.intersect1d(np.intersect1d(loss.steps, pl.steps), gram.steps)
        labels = list(gram.labels)
        values = _at(gram, steps)
        losses, ratio = _at(loss, steps), _at(pl, steps)
        largest, error = (values[..., labels.index(name)] for name in ("largest", "largest_error"))
        known = np.sqrt(largest + error) - np.sqrt(largest)
        ratios.append(ratio.ravel())
        bounds.append(values[..., labels.index("smallest")].ravel())
        slack.append((values[..., labels.index("smallest_error")] + known * (2 * np.sqrt(ratio) + known)).ravel())
        dense = values[..., labels.index("dense")] == 1
        where.append((dense & (losses > ZERO_LOSS * losses[:, :1]) & trajectory.finished[:, None]).ravel())
    joined = [np.concatenate(parts) if parts else np.zeros(0) for parts in (ratios, bounds, slack, where)]
    return at_least(about, joined[0], joined[1], slack=joined[2], where=joined[3].astype(bool))


def stepwise_bound(about: About, trajectories: Sequence[Trajectory]) -> Claim:
    r"""$f_t \le f_0 \prod_{s<t} (1 - \eta_s \lambda_{\min}(K_s))$ at every step with $f_t > 10^{-20} f_0$.

    Of each smallest eigenvalue its recorded error is taken off.

    Args:
        about: what the claim is called.
        trajectories: with probes `loss`, `gram` and `step_size` recorded at every step.
    """
    ratios, bounds, where = [], [], []
    for trajectory in trajectories:
        losses, gram = trajectory["loss"].values, trajectory["gram"]
        every = all(np.array_equal(trajectory[name].steps, np.arange(losses.shape[1])) for name in ("loss", "gram"))
        if not every:
            continue
        step_sizes = trajectory["step_size"].values[:, 1:]
        below = np.maximum((gram["smallest"] - gram["smallest_error"])[:, :-1], 0.0)
        shrink = np.clip(1 - step_sizes * below, 0.0, 1.0)
        product = np.cumprod(shrink, axis=1)
        ratio = losses[:, 1:] / losses[:, :1]
        dense = gram["dense"][:, 1:] == 1
        ratios.append(ratio.ravel())
        bounds.append(product.ravel())
        where.append((dense & (ratio > ZERO_LOSS) & trajectory.finished[:, None]).ravel())
    measured, expected, chosen = (np.concatenate(p) if p else np.zeros(0) for p in (ratios, bounds, where))
    return at_most(about, measured, expected, slack=1e-9 * expected, where=chosen.astype(bool))

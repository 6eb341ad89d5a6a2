"""Certificates held against the runs they were written for.

A lane is certified when the assumption of its theorem holds at the start and its step is admissible. What the theorem
then promises is compared with what the run recorded; with fewer than 30 certified lanes a claim that holds is
*undecided*. A certificate speaks of exact arithmetic, which double precision stands in for; the claims are *not
applicable* to runs in single precision.
"""

from collections.abc import Sequence

import numpy as np

from descentlab._tree import block_of
from descentlab.claims import About, Claim, at_least, at_most, not_applicable, undecided
from descentlab.objective import ZERO_LOSS
from descentlab.theory.rounding import sum_rounding, unit_roundoff
from descentlab.theory.theorem_c import TRAINED
from descentlab.trajectory import Series, Trajectory

__all__ = [
    "ENOUGH",
    "certified",
    "of_double",
    "query_block_claims",
    "theorem_b_claims",
    "theorem_c_claims",
]

ENOUGH = 30

_SINGLE = "the runs are in float32, and the theorem says nothing of their rounding; run it in float64"
"""Why a promise of a theorem is not held against runs in single precision."""


def of_double(trajectories: Sequence[Trajectory], claim: Claim) -> Claim:
    """The claim, *not applicable* where a run it speaks of was made in single precision."""
    if not any(_in_single(trajectory) for trajectory in trajectories):
        return claim
    return not_applicable(About(claim.id, claim.text, claim.source, claim.case), _SINGLE)


def _in_single(trajectory: Trajectory) -> bool:
    return any(array.dtype == np.float32 for array in trajectory.final.values())


def certified(trajectory: Trajectory, probe: str) -> np.ndarray:
    """Which lanes a certificate covers: its ratio is at most 1, the step is admissible, and the run finished.

    None of a run in single precision is covered.

    Args:
        trajectory: with probes `step_size` and the certificate's.
        probe: name of the certificate's probe.
    """
    largest, ratio = (_recorded(trajectory, probe, name)[:, 0] for name in ("step", "ratio"))
    admissible = trajectory.last("step_size") <= largest * (1 + 1e-12)
    return (ratio <= 1) & admissible & trajectory.finished & (not _in_single(trajectory))


def _recorded(trajectory: Trajectory, probe: str, quantity: str) -> np.ndarray:
    """A number that a probe recorded, axes lane and record."""
    return trajectory[probe].sel(quantity=quantity).values


def _gathered(chosen: list[tuple[Trajectory, np.ndarray]], claim: Claim) -> Claim:
    """A claim about the certified lanes, as far as they are enough and in double precision."""
    lanes = sum(int(covered.sum()) for _, covered in chosen)
    enough = claim if lanes >= ENOUGH else undecided(claim, f"only {lanes} certified lanes, {ENOUGH} are wanted")
    return of_double([trajectory for trajectory, _ in chosen], enough)


def _rows(trajectories: Sequence[Trajectory], probe: str) -> list[tuple[Trajectory, np.ndarray]]:
    return [(one, certified(one, probe)) for one in trajectories]


def _of_weights(trajectory: Trajectory) -> np.ndarray:
    """How far rounding of the trained weights moves a distance between them, one number a lane."""
    squares = [
        np.sum(array.astype(np.float64) ** 2, axis=tuple(range(1, array.ndim)))
        for name, array in trajectory.final.items()
        if block_of(name) in TRAINED
    ]
    return 2 * unit_roundoff(trajectory) * np.sqrt(np.sum(squares, axis=0))


def _total(series: Series) -> np.ndarray:
    """The norm over all blocks of a series by block."""
    return np.sqrt(np.sum(series.values**2, axis=-1))


def _rate(about: About, chosen: list[tuple[Trajectory, np.ndarray]], decay: list[np.ndarray]) -> Claim:
    """f_t <= (1 - eta decay)^t f_0 wherever f_t > 1e-20 f_0, on the certified lanes."""
    measured, bounds, where = [], [], []
    for (trajectory, lanes), one in zip(chosen, decay, strict=True):
        loss = trajectory["loss"]
        eta = trajectory.last("step_size")
        relative = loss.values / loss.values[:, :1]
        shrink = np.log1p(-np.clip(eta * one, 0.0, 1 - 1e-16))
        measured.append(relative.ravel())
        bounds.append(np.exp(shrink[:, None] * loss.steps).ravel())
        where.append((lanes[:, None] & (relative > ZERO_LOSS) & (loss.steps > 0)).ravel())
    bound = np.concatenate(bounds)
    slack = sum_rounding([trajectory for trajectory, _ in chosen]) * bound
    claim = at_most(about, np.concatenate(measured), bound, slack=slack, where=np.concatenate(where))
    return _gathered(chosen, claim)


def theorem_b_claims(kernel: str, trajectories: Sequence[Trajectory]) -> list[Claim]:
    """What Theorem B promises of a certified lane.

    Args:
        kernel: its name.
        trajectories: with probes `loss`, `step_size`, `distance`, `gram`, `b` (`TheoremB`) and `search`
            (`LipschitzSearch`).
    """
    source = "Theorem B"
    chosen = _rows(trajectories, "b")
    reach, moved, kept, unsure, half, found, bound, shifted = [], [], [], [], [], [], [], []
    near, ranked = [], []
    share = sum_rounding(trajectories)
    for trajectory, lanes in chosen:
        distance = _total(trajectory["distance"])[lanes]
        smallest = np.maximum(_recorded(trajectory, "gram", "smallest")[lanes], 0.0)
        off = _recorded(trajectory, "gram", "smallest_error")[lanes]
        moved.append(distance.ravel())
        near.append(trajectory.made("distance")[lanes].ravel())
        ranked.append(trajectory.made("gram")[lanes].ravel())
        reach.append(np.broadcast_to(_recorded(trajectory, "b", "reach")[lanes], distance.shape).ravel())
        shifted.append(np.broadcast_to(_of_weights(trajectory)[lanes, None], distance.shape).ravel())
        kept.append(np.sqrt(smallest).ravel())
        unsure.append((np.sqrt(smallest + off) - np.sqrt(smallest)).ravel())
        half.append(np.broadcast_to(_recorded(trajectory, "b", "sigma_min")[lanes] / 2, smallest.shape).ravel())
        found.append(_recorded(trajectory, "search", "found")[lanes, 0])
        bound.append(_recorded(trajectory, "search", "bound")[lanes, 0])
    sides = [np.concatenate(parts) for parts in (moved, reach, kept, half, found, bound)]
    error, at_distance, at_rank = (np.concatenate(parts) for parts in (unsure, near, ranked))
    slack = share * sides[1] + np.concatenate(shifted)
    said = [
        About(f"b-distance-{kernel}", "Certified lanes stay within 4 ||r_0|| / sigma_0 of the start", source, kernel),
        About(f"b-rank-{kernel}", "Certified lanes keep sigma_min(J_t) >= sigma_0 / 2", source, kernel),
        About(
            f"b-lipschitz-{kernel}",
            "No pair of points in the ball exceeds the claimed Lipschitz constant",
            source,
            kernel,
        ),
        About(f"b-rate-{kernel}", "Certified lanes obey f_t <= (1 - eta sigma_0^2 / 4)^t f_0", source, kernel),
    ]
    return [
        _gathered(chosen, at_most(said[0], sides[0], sides[1], slack=slack, where=at_distance)),
        _gathered(
            chosen,
            at_least(said[1], sides[2], sides[3], slack=share * sides[3], uncertainty=error, where=at_rank),
        ),
        _gathered(chosen, at_most(said[2], sides[4], sides[5], slack=share * sides[5])),
        _rate(said[3], chosen, [_recorded(trajectory, "b", "sigma_min")[:, 0] ** 2 / 4 for trajectory, _ in chosen]),
    ]


def theorem_c_claims(kernel: str, trajectories: Sequence[Trajectory]) -> list[Claim]:
    """What Theorem C promises of a certified lane.

    Args:
        kernel: its name.
        trajectories: with probes `loss`, `step_size`, `features` (`FeatureSpectrum`) and `c` (`TheoremC`).
    """
    source = "Theorem C"
    chosen = _rows(trajectories, "c")
    kept, half = [], []
    for trajectory, lanes in chosen:
        smallest = _recorded(trajectory, "features", "smallest")[lanes]
        kept.append(smallest.ravel())
        half.append(np.broadcast_to(_recorded(trajectory, "c", "lambda_b")[lanes] / 2, smallest.shape).ravel())
    measured, bound = np.concatenate(kept), np.concatenate(half)
    made = np.concatenate([one.made("features")[lanes].ravel() for one, lanes in chosen])
    rank = About(f"c-rank-{kernel}", "Certified lanes keep sigma_min(B_t) >= lambda_B / 2", source, kernel)
    rate = About(f"c-rate-{kernel}", "Certified lanes obey f_t <= (1 - eta mu)^t f_0", source, kernel)
    return [
        _gathered(chosen, at_least(rank, measured, bound, slack=sum_rounding(trajectories) * bound, where=made)),
        _rate(rate, chosen, [_recorded(trajectory, "c", "mu")[:, 0] for trajectory, _ in chosen]),
    ]


def query_block_claims(kernel: str, trajectories: Sequence[Trajectory]) -> list[Claim]:
    """What the certificate of the query block promises of a certified lane.

    Args:
        kernel: its name.
        trajectories: with probes `loss`, `step_size` and `query` (`QueryBlock`, recorded along the run).
    """
    source = "docs/theory/query_block.md"
    chosen = _rows(trajectories, "query")
    kept = [np.sqrt(_recorded(one, "query", "smallest")[lanes]) for one, lanes in chosen]
    start = [_recorded(one, "query", "sigma_min")[lanes, :1] for one, lanes in chosen]
    half = [np.broadcast_to(sigma / 2, k.shape) for sigma, k in zip(start, kept, strict=True)]
    measured, bound = (np.concatenate([part.ravel() for part in parts]) for parts in (kept, half))
    made = np.concatenate([one.made("query")[lanes].ravel() for one, lanes in chosen])
    rank = About(f"query-rank-{kernel}", "Certified lanes keep sigma_min(J_t) >= sigma_0 / 2", source, kernel)
    rate = About(f"query-rate-{kernel}", "Certified lanes obey f_t <= (1 - eta sigma_0^2 / 4)^t f_0", source, kernel)
    return [
        _gathered(chosen, at_least(rank, measured, bound, slack=sum_rounding(trajectories) * bound, where=made)),
        _rate(rate, chosen, [_recorded(one, "query", "sigma_min")[:, 0] ** 2 / 4 for one, _ in chosen]),
    ]

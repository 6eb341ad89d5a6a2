"""The curvature of a run block by block: sizes of all parts, extreme eigenvalues, spectra, and sharpness."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from descentlab._arithmetic import arithmetic
from descentlab._tree import array_names, block_names, is_meant, select
from descentlab._types import Array, PRNGKeyArray, PyTree
from descentlab.curvature import (
    Eigenpairs,
    Hessian,
    Krylov,
    SpectralDensity,
    block_draws,
    eigenpairs,
    spectral_density,
    widening,
)
from descentlab.curvature.blocks import PARTS
from descentlab.estimate import Estimate
from descentlab.mistake import Mistake
from descentlab.objective import Objective
from descentlab.probes import Sharpness
from descentlab.runs import SAMPLES, Run, TrainedLane

__all__ = [
    "PARTS",
    "Blocks",
    "Curvature",
    "CurvaturePlan",
    "check_plan",
    "curvature_at",
    "curvature_of",
    "sharpness_along",
]

Progress = Callable[[int, int], None]

Along = tuple[np.ndarray, Estimate]
"""Steps, and the sharpness there."""

LOOKS = 12
"""Most points of a recorded path at which the sharpness is computed."""


@dataclasses.dataclass(frozen=True)
class CurvaturePlan:
    """How much is computed.

    Attributes:
        blocks: names of the blocks whose spectra are wanted; empty takes all blocks of matrices.
        top: largest eigenvalues of the whole and of each block.
        bottom: smallest ones.
        probes: random draws of traces, norms and densities.
        steps: Lanczos steps of a density.
        batch: examples passed through at once; `None` takes all.
        method: of eigenpairs.
    """

    blocks: tuple[str, ...] = ()
    top: int = 5
    bottom: int = 1
    probes: int = 20
    steps: int = 60
    batch: int | None = None
    method: Krylov = Krylov()


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Sizes of all parts of the Hessian.

    Attributes:
        names: of the arrays, in the order of rows.
        sizes: their parameters.
        norms: squared Frobenius norm by part, axes row block and column block; two errors are a band, see
            `descentlab.curvature.widening`.
        traces: of the diagonal blocks by part.
    """

    names: Sequence[str]
    sizes: Sequence[int]
    norms: Mapping[str, Estimate]
    traces: Mapping[str, Estimate]

    def norm(self, part: str) -> np.ndarray:
        """Frobenius norms of a part, axes row block and column block."""
        return np.sqrt(np.asarray(self.norms[part].value))


@dataclasses.dataclass(frozen=True)
class Curvature:
    """Everything about one point.

    Attributes:
        blocks: sizes of all parts.
        whole: extreme eigenpairs of the Hessian.
        pairs: those of its diagonal blocks, by name.
        densities: of the whole, under the name `all`, and of the diagonal blocks.
        sharpness: steps of the run and the largest eigenvalue there, where it is known along training.
        preconditioned: whether that is the eigenvalue of the preconditioned Hessian.
    """

    blocks: Blocks
    whole: Eigenpairs
    pairs: Mapping[str, Eigenpairs]
    densities: Mapping[str, SpectralDensity]
    sharpness: Along | None = None
    preconditioned: bool = False

    def as_data(self) -> dict[str, Any]:
        """All numbers but the densities as JSON-compatible data."""
        along = self.sharpness
        return {
            "blocks": dict(zip(self.blocks.names, self.blocks.sizes, strict=True)),
            "norms_squared": {part: _as_data(one) for part, one in self.blocks.norms.items()},
            "traces": {part: _as_data(one) for part, one in self.blocks.traces.items()},
            "eigenvalues": {name: pairs.as_data() for name, pairs in {"all": self.whole, **self.pairs}.items()},
            "sharpness": None if along is None else {"step": along[0].tolist()} | _as_data(along[1]),
        }


def _as_data(estimate: Estimate) -> dict[str, Any]:
    return {"value": np.asarray(estimate.value).tolist(), "error": np.asarray(estimate.error).tolist()}


def check_plan(params: PyTree, plan: CurvaturePlan) -> tuple[str, ...]:
    """The names of the blocks whose spectra are wanted, after all that could be wrong with the plan was looked for.

    Raises:
        Mistake: if there is no such block, or more eigenvalues than parameters are wanted.
    """
    arrays = dict(zip(array_names(params), jax.tree.leaves(params), strict=True))
    size = sum(leaf.size for leaf in arrays.values())
    if plan.top + plan.bottom > size:
        raise Mistake(f"there are {size} parameters, got top={plan.top} and bottom={plan.bottom}; ask for fewer")
    if plan.blocks:
        select(params, plan.blocks)
        return plan.blocks
    matrices = [name for name, leaf in arrays.items() if leaf.ndim > 1]
    return tuple(block for block in block_names(params) if any(is_meant(one, block) for one in matrices))


def curvature_of(
    run: Run,
    seed: int | None = None,
    plan: CurvaturePlan = CurvaturePlan(),  # noqa: B008 frozen
    *,
    samples: int = SAMPLES,
    progress: Progress | None = None,
) -> Curvature:
    """The curvature at the end of a lane, with its sharpness along training.

    Args:
        run: with recorded sharpness or parameters, where the sharpness along training is wanted.
        seed: of the lane; `None` takes the first.
        plan: how much is computed.
        samples: most examples on which the loss is evaluated.
        progress: told how many pieces of how many are done.

    Raises:
        Mistake: if the run does not have the seed, the lane stopped early, a block does not exist, or more eigenvalues
            than parameters are wanted.
    """
    lane = run.lane(run.trajectory.seeds[0] if seed is None else seed).sampled(samples)
    found = curvature_at(lane, lane.end, plan, key=jax.random.key(0), progress=progress)
    along, preconditioned = _along(run, lane, plan)
    return dataclasses.replace(found, sharpness=along, preconditioned=preconditioned)


def _along(run: Run, lane: TrainedLane, plan: CurvaturePlan) -> tuple[Along | None, bool]:
    """The sharpness as recorded, or computed at recorded parameters, and whether it is preconditioned."""
    at = run.trajectory.seeds.index(lane.seed)
    for name, probe in run.experiment.probes.items():
        if isinstance(probe, Sharpness) and probe.top:
            record = run.trajectory[name].sel(eigenvalue="top.0")
            value, error = (record.sel(quantity=one).values[at] for one in ("value", "error"))
            return (record.steps, Estimate(value, error)), probe.preconditioned
    return (sharpness_along(lane, plan) if lane.steps.size else None), False


def curvature_at(
    lane: TrainedLane, params: PyTree, plan: CurvaturePlan, *, key: PRNGKeyArray, progress: Progress | None = None
) -> Curvature:
    """The curvature of a lane's loss at some parameters.

    Args:
        lane: whose loss.
        params: the trained blocks, such as `lane.end`.
        plan: how much is computed.
        key: of random draws.
        progress: told how many pieces of how many are done.

    Raises:
        Mistake: if a block does not exist, or more eigenvalues than parameters are wanted.
    """
    names = check_plan(params, plan)
    total = 3 + 2 * len(names)
    done = 0

    def told() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    with arithmetic(lane.precision):
        whole = Hessian(lane.objective, params, plan.batch)
        found = eigenpairs(whole, top=plan.top, bottom=plan.bottom, method=plan.method)
        told()
        sizes = _blocks(lane.objective, params, plan, key)
        told()
        densities = {"all": spectral_density(whole, probes=plan.probes, steps=plan.steps, key=key)}
        told()
        pairs = {}
        for name in names:
            part = whole.among((name,))
            top = min(plan.top, part.shape[0])
            pairs[name] = eigenpairs(part, top=top, bottom=min(plan.bottom, part.shape[0] - top), method=plan.method)
            told()
            densities[name] = spectral_density(part, probes=plan.probes, steps=plan.steps, key=key)
            told()
    return Curvature(sizes, *jax.tree.map(np.asarray, (found, pairs, densities)))


def _blocks(objective: Objective, params: PyTree, plan: CurvaturePlan, key: PRNGKeyArray) -> Blocks:
    """Norms and traces of all blocks."""
    names = array_names(params)
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    first, second = block_draws(objective, params, plan.probes, plan.batch, key=key)
    norms = {part: _estimate(first[:, at]) for at, part in enumerate(PARTS)}
    traces = {part: _estimate(second[:, at]) for at, part in enumerate(PARTS)}
    return Blocks(names, sizes, norms, traces)


def _estimate(draws: Array) -> Estimate:
    values = np.asarray(draws, dtype=np.float64)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return Estimate(values.mean(axis=0), widening(len(values)) * error)


def sharpness_along(lane: TrainedLane, plan: CurvaturePlan) -> Along:
    """The largest eigenvalue at some of the recorded parameters of a lane, with their steps.

    Args:
        lane: one with recorded parameters.
        plan: its batch and method.
    """
    places = np.unique(np.linspace(0, len(lane.steps) - 1, min(LOOKS, len(lane.steps))).astype(int))
    steps = lane.steps[places]
    with arithmetic(lane.precision):
        found: list[Any] = [
            eigenpairs(Hessian(lane.objective, lane.params(step), plan.batch), method=plan.method).values
            for step in steps.tolist()
        ]
    values, errors = (np.asarray([one[i][0] for one in found], dtype=np.float64) for i in range(2))
    return steps, Estimate(values, errors)

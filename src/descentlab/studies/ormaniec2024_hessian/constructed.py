"""Heads and models built for one statement each: merged matrices, one-hot and uniform attention, stacks of layers."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._tree import select
from descentlab._types import Array, Float
from descentlab.attention import Gaussian, Linear, Softmax
from descentlab.curvature import AbstractCurvature, GaussNewton, Hessian
from descentlab.models import LinearNetwork
from descentlab.objective import Examples, Objective
from descentlab.studies.ormaniec2024_hessian.heads import (
    KERNELS,
    PAIRS,
    WIDTH,
    Measured,
    Parts,
    automatic,
    block,
    drawn,
    from_scores,
    matrices,
    second_moment,
)
from descentlab.theory.attention_hessian import BLOCKS, Head, merged

__all__ = ["POWERS", "Constructed", "OfKernel", "Theory", "constructed"]

PEAK = Gaussian(0.5)
"""A kernel whose exponents of whole numbers are exact."""

POWERS = np.geomspace(0.1, 1.0, 3)
"""Factors of the tokens of stacks, whose powers are exact."""


@dataclasses.dataclass(frozen=True)
class Constructed:
    """What was measured; the first axis is the random head.

    Attributes:
        merged: by kernel, of the block of one matrix in the place of query and key, all by automatic differentiation:
            *whole*, and *scores*, what second derivatives of the scores add.
        below: what they add over query and key, Gaussian kernel, no output above its target.
        one_hot: softmax; the largest entry of $M_2$ and of all blocks of query and key, over that of the value block.
        uniform: softmax; relative distance of $M_2$ from the covariance of the tokens.
        raw: Gaussian kernel, all weights one; relative distance of $M_2$ from the products of the tokens.
        peak: Gaussian kernel, each token sees itself alone; H_o(Q,Q) over H(Q,Q), and distance from its formula.
        linear: by the number of layers of linear attention, norms of the blocks of H_o, axes block and scale.
        network: by the number of layers of a linear network, norms of the diagonal blocks of H.
    """

    merged: Mapping[str, Parts]
    below: np.ndarray
    one_hot: np.ndarray
    uniform: np.ndarray
    raw: np.ndarray
    peak: np.ndarray
    linear: Mapping[int, np.ndarray]
    network: Mapping[int, np.ndarray]


class OfKernel(NamedTuple):
    """What was measured of one kernel, and what was built."""

    heads: Measured
    built: Constructed


@dataclasses.dataclass(frozen=True)
class Theory:
    """What claims on theory are about.

    Attributes:
        heads: by kernel.
        built: what was built for one statement each.
    """

    heads: Mapping[str, Measured]
    built: Constructed

    def of(self, kernel: str) -> OfKernel | None:
        """What was measured of one kernel; nothing where it was not."""
        return OfKernel(self.heads[kernel], self.built) if kernel in self.heads else None


def constructed(count: int, layers: tuple[int, ...], depths: tuple[int, ...]) -> Constructed:
    """All numbers, in double precision.

    Args:
        count: of random heads.
        layers: of linear attention.
        depths: of linear networks.
    """
    seeds = range(count)
    return Constructed(
        merged={kernel: _merged(kernel, count) for kernel in ("softmax", "linear")},
        below=np.stack([_below(seed) for seed in seeds]),
        one_hot=np.stack([_one_hot(seed) for seed in seeds]),
        uniform=np.array([_apart("softmax", seed, centred=True) for seed in seeds]),
        raw=np.array([_apart("gaussian", seed, centred=False) for seed in seeds]),
        peak=np.stack([_peak(seed) for seed in seeds]),
        linear={n: _stack(n) for n in layers},
        network={n: _network(n) for n in depths},
    )


def _merged(kernel: str, count: int) -> Parts:
    """The block of one matrix."""
    rows, found = slice(WIDTH**2), []
    for seed in range(count):
        head, targets = drawn(seed)
        one = merged(head.inputs, head.query @ head.key.T, head.value)
        exact, closed = (of(KERNELS[kernel], one, targets) for of in (automatic, matrices))
        found.append({"whole": exact["whole"][rows, rows], "scores": from_scores(exact, closed)[rows, rows]})
    return {part: np.stack([one[part] for one in found]) for part in found[0]}


def _outputs(kernel: str, head: Head) -> Array:
    weights = KERNELS[kernel].weights(head.inputs @ head.query, head.inputs @ head.key)
    return weights @ head.inputs @ head.value


def _below(seed: int) -> np.ndarray:
    """Values positive, targets above the outputs."""
    head, targets = drawn(seed)
    head = head._replace(inputs=jnp.abs(head.inputs), value=jnp.abs(head.value))
    targets = _outputs("gaussian", head) + jnp.abs(targets)
    exact, closed = (of(KERNELS["gaussian"], head, targets) for of in (automatic, matrices))
    return from_scores(exact, closed)[: -(WIDTH**2), : -(WIDTH**2)]


def _one_hot(seed: int) -> np.ndarray:
    """Scores so far apart that all weights but one of a row round to zero."""
    head, targets = drawn(seed)
    head = head._replace(query=1e8 * head.query)
    whole = automatic(KERNELS["softmax"], head, targets)["whole"]
    size = np.abs(block(whole, PAIRS["VV"])).max()
    lost = np.abs(whole[: -(WIDTH**2)]).max()
    return np.array([np.abs(second_moment(Softmax(), head)).max(), lost]) / size


def _apart(kernel: str, seed: int, *, centred: bool) -> float:
    """Relative distance of M_2 from the tokens' products where all weights are equal: a mean, or a sum."""
    head, _ = drawn(seed)
    head = head._replace(query=0 * head.query, key=head.key if centred else 0 * head.key)
    tokens = np.asarray(head.inputs)
    expected = np.cov(tokens.T, bias=True) if centred else tokens.T @ tokens
    found = np.asarray(second_moment(KERNELS[kernel], head))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _peak(seed: int) -> np.ndarray:
    """Queries and keys are the same whole numbers, so far apart that S is the identity."""
    head, targets = drawn(seed)
    same = jnp.round(100 * head.query)
    head = Head(jnp.round(10 * head.inputs), same, same, head.value)
    found, own = matrices(PEAK, head, targets), PAIRS["QQ"]
    values = head.inputs @ head.value
    excess = jnp.sum((values - targets) * values, axis=1)
    # -2c = -1: the curvature of the kernel at its peak.
    expected = -np.kron(head.inputs.T @ jnp.diag(excess) @ head.inputs, np.eye(same.shape[1]))
    outer, whole = (block(found[part], own) for part in ("outer", "whole"))
    size = np.linalg.norm(expected)
    return np.array([np.linalg.norm(outer), np.linalg.norm(whole - expected)]) / size


class _HeadStack(eqx.Module):
    """Layers of linear attention on top of each other, no residual connection."""

    query: tuple[Float[Array, "dim head"], ...]
    key: tuple[Float[Array, "dim head"], ...]
    value: tuple[Float[Array, "dim out"], ...]

    def __call__(self, tokens: Float[Array, "time dim"]) -> Float[Array, "time out"]:
        for query, key, value in zip(self.query, self.key, self.value, strict=True):
            tokens = Linear()(tokens @ query, tokens @ key, tokens @ value)
        return tokens


def _stack(layers: int) -> np.ndarray:
    """Norms of the blocks of H_o."""
    (head, targets), *others = [drawn(seed) for seed in range(layers)]
    each = [head, *(other for other, _ in others)]
    model = _HeadStack(*(tuple(getattr(one, name) for one in each) for name in BLOCKS))
    params, frozen = eqx.partition(model, eqx.is_array)
    return _diagonal(GaussNewton(Objective(frozen, Examples(head.inputs[None], targets[None])), params))


def _network(depth: int) -> np.ndarray:
    """Norms of the diagonal blocks of H."""
    head, targets = drawn(0)
    model = LinearNetwork(depth, WIDTH, WIDTH).init(head.inputs, key=jax.random.key(0))
    params, frozen = select(model, ("weight",))
    return _diagonal(Hessian(Objective(frozen, Examples(head.inputs[None], targets[None])), params))


# As in `descentlab.training`: equinox passes further arguments on to `jax.jit`.
@eqx.filter_jit(compiler_options={"xla_backend_optimization_level": 0})  # pyright: ignore[reportCallIssue]
def _dense(operator: AbstractCurvature, scale: Array) -> Array:
    """The matrix, the tokens multiplied by a scale."""
    return eqx.tree_at(lambda one: one.objective.examples.inputs, operator, scale * operator.objective.inputs).dense()


def _diagonal(operator: AbstractCurvature) -> np.ndarray:
    """Norms of diagonal blocks, axes block and scale."""
    edges = np.cumsum([0, *operator.blocks.values()])
    dense = [np.asarray(_dense(operator, jnp.asarray(scale))) for scale in POWERS]
    places = [slice(first, last) for first, last in zip(edges[:-1], edges[1:], strict=True)]
    return np.array([[np.linalg.norm(matrix[at, at]) for matrix in dense] for at in places])

"""Random heads of attention, and what is measured on them: the Hessian in closed form and by automatic differentiation.

Tokens and targets are standard normal, weights normal with variance one over the width of a token. Numbers leave the
device as NumPy arrays; blocks of a matrix are those of `BLOCKS`, in order.
"""

import dataclasses
import functools
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._types import Array, Float
from descentlab.attention import AbstractAttention, Gaussian, Linear, NormalizedGaussian, Softmax
from descentlab.curvature import Functional, GaussNewton, Hessian
from descentlab.objective import Examples, Objective
from descentlab.theory.attention_hessian import BLOCKS, Head, attention_hessian, joined
from descentlab.theory.attention_moments import moments

__all__ = [
    "KERNELS",
    "PAIRS",
    "SCALES",
    "SMALL",
    "WIDE",
    "Measured",
    "Parts",
    "automatic",
    "block",
    "drawn",
    "eigenvalues",
    "from_scores",
    "matrices",
    "measured",
    "quickly",
    "second_moment",
]

TOKENS, WIDTH, HEAD = 6, 4, 2

KERNELS: Mapping[str, AbstractAttention] = {
    "softmax": Softmax(),
    "linear": Linear(),
    "gaussian": Gaussian(),
    "normalizedgaussian": NormalizedGaussian(),
}

PLACES: Mapping[str, slice] = dict(zip(BLOCKS, (slice(0, 8), slice(8, 16), slice(16, 32)), strict=True))
"""Rows of each block."""

PAIRS = {
    "VV": ("value", "value"),
    "VQ": ("value", "query"),
    "VK": ("value", "key"),
    "QQ": ("query", "query"),
    "KK": ("key", "key"),
    "QK": ("query", "key"),
}
"""The blocks on and above the diagonal, by their names in claims."""

SMALL = np.geomspace(1e-6, 1e-5, 3)
WIDE = 10 ** np.arange(-2, 1.25, 0.5)
SCALES = np.concatenate([SMALL, WIDE])
"""Factors of the tokens: those where leading powers are read off, and those where kernels are compared."""

Parts = Mapping[str, np.ndarray]

quickly = functools.partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})
"""Programs of small matrices: compiling them takes longer than running them."""


def drawn(seed: int) -> tuple[Head, Array]:
    """A head with its tokens, and targets."""
    normal = np.random.default_rng(seed).normal
    weights = (normal(size=(WIDTH, width)) / WIDTH**0.5 for width in (HEAD, HEAD, WIDTH))
    tokens, targets = normal(size=(2, TOKENS, WIDTH))
    return Head(jnp.asarray(tokens), *(jnp.asarray(one) for one in weights)), jnp.asarray(targets)


@quickly
def _closed(attention: AbstractAttention, head: Head, targets: Array) -> dict[str, Array]:
    return {part: joined(blocks) for part, blocks in attention_hessian(attention, head, targets)._asdict().items()}


def matrices(attention: AbstractAttention, head: Head, targets: Array) -> Parts:
    """The parts of the Hessian in closed form, with the sums `functional` and `whole`."""
    found = {part: np.asarray(matrix) for part, matrix in _closed(attention, head, targets).items()}
    functional = found["weights"] + found["scores"] + found["value"]
    return found | {"functional": functional, "whole": found["outer"] + functional}


class _OneHead(eqx.Module):
    """The same head as a model whose blocks are trained."""

    query: Float[Array, "dim head"]
    key: Float[Array, "dim head"]
    value: Float[Array, "dim out"]
    attention: AbstractAttention

    def __call__(self, tokens: Float[Array, "time dim"]) -> Float[Array, "time out"]:
        return self.attention.weights(tokens @ self.query, tokens @ self.key) @ tokens @ self.value


@quickly
def _automatic(attention: AbstractAttention, head: Head, targets: Array) -> dict[str, Array]:
    model = _OneHead(head.query, head.key, head.value, attention)
    params, frozen = eqx.partition(model, lambda leaf: isinstance(leaf, Array) and leaf.ndim == 2)
    objective = Objective(frozen, Examples(head.inputs[None], targets[None]))
    return {
        "outer": GaussNewton(objective, params).dense(),
        "functional": Functional(objective, params).dense(),
        "whole": Hessian(objective, params).dense(),
    }


def automatic(attention: AbstractAttention, head: Head, targets: Array) -> Parts:
    """The Hessian of the package's objective and its two parts, each by automatic differentiation on its own."""
    return {part: np.asarray(matrix) for part, matrix in _automatic(attention, head, targets).items()}


def from_scores(exact: Parts, closed: Parts) -> np.ndarray:
    """What the curvature of the scores adds: the functional part by differentiation without its other two sources."""
    return exact["functional"] - closed["weights"] - closed["value"]


def block(matrix: np.ndarray, pair: tuple[str, str]) -> np.ndarray:
    """Some rows and columns; leading axes stay."""
    return matrix[..., PLACES[pair[0]], PLACES[pair[1]]]


def eigenvalues(matrix: np.ndarray) -> np.ndarray:
    """In ascending order, divided by the largest in size."""
    found = np.linalg.eigvalsh(matrix)
    return found / np.abs(found).max(axis=-1, keepdims=True)


@quickly
def second_moment(attention: AbstractAttention, head: Head) -> Float[Array, "time dim dim"]:
    """$M_2$ of every row."""
    weights = attention.weights(head.inputs @ head.query, head.inputs @ head.key)
    return moments(attention, weights, head.inputs).second


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured with one kernel; the first axis is the random head.

    Attributes:
        closed: the parts at scale 1 in closed form, and their sums.
        automatic: the Hessian and its two parts at scale 1 by automatic differentiation.
        norms: of parts and sums, Frobenius, axes then scale and block of `PAIRS`.
        fitted: of the functional part with targets zero, at the small scales.
        negative: shares of negative eigenvalues of H, by the blocks that it is taken over; axis then scale.
    """

    closed: Parts
    automatic: Parts
    norms: Parts
    fitted: np.ndarray
    negative: Parts


def _norms(matrix: np.ndarray) -> np.ndarray:
    return np.stack([np.linalg.norm(block(matrix, pair)) for pair in PAIRS.values()])


def _negative(matrix: np.ndarray) -> float:
    return float((eigenvalues(matrix) < -1e-10).mean())


def measured(attention: AbstractAttention, count: int) -> Measured:
    """All numbers of one kernel on so many random heads, in double precision."""
    closed, exact, norms, fitted, negative = [], [], [], [], []
    for seed in range(count):
        head, targets = drawn(seed)
        at = [matrices(attention, head._replace(inputs=scale * head.inputs), targets) for scale in SCALES]
        reached = [matrices(attention, head._replace(inputs=scale * head.inputs), 0 * targets) for scale in SMALL]
        closed.append(matrices(attention, head, targets))
        exact.append(automatic(attention, head, targets))
        norms.append({part: np.stack([_norms(one[part]) for one in at]) for part in ("outer", "functional", "whole")})
        fitted.append(np.stack([_norms(one["functional"]) for one in reached]))
        over = {"query": ("query", "query"), "all": None}
        shares = {
            name: np.array([_negative(one["whole"] if pair is None else block(one["whole"], pair)) for one in at])
            for name, pair in over.items()
        }
        negative.append(shares)
    return Measured(_stacked(closed), _stacked(exact), _stacked(norms), np.stack(fitted), _stacked(negative))


def _stacked(each: list[Parts]) -> Parts:
    return {part: np.stack([one[part] for one in each]) for part in each[0]}

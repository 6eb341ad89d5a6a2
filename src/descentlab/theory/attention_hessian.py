r"""The Hessian of one attention head in closed form, block by block, for every kernel that is a link of scores.

With scores $T_{ij}$ of $q_i = x_i W^Q$ and $k_j = x_j W^K$, weights $S = \varphi(T)$ row by row, features
$M_1 = S X$ and outputs $F = M_1 W^V$, the objective of one example is $f = \frac12 \lVert F - Y \rVert^2$. Its
Hessian is the outer-product part $H_o = J^\top J$ plus the functional part $H_f$, which has three sources:

    weights   d2S/dT2, the curvature of the link; none for linear attention
    scores    d2T, the curvature of the scores; only between query and key for a product, in all of them for a distance
    value     F is a product of features and the value block; between value and the two others

Matrices are row-major, as in `reshape`: rows and columns of a block are those of the block's raveled weights. The loss
$\lVert F - Y \rVert^2 / (L d_V)$ of the paper is $2 / (L d_V)$ times f; the objective of N examples is the mean over
them. Statement and proofs: `docs/theory/attention_hessian.md`.
"""

import itertools
from typing import NamedTuple

import jax.numpy as jnp

from descentlab._types import Array, Float
from descentlab.attention import AbstractAttention, AbstractScaling, InverseSqrt
from descentlab.theory.attention_moments import Link, Scores, link, scores

__all__ = ["BLOCKS", "Blocks", "Head", "Parts", "attention_hessian", "joined", "merged"]

BLOCKS = ("query", "key", "value")
"""The blocks in the order of the model's parameters."""

Blocks = dict[tuple[str, str], Array]
"""A matrix by the names of the blocks of its rows and of its columns."""


_SCALING = InverseSqrt()


class Head(NamedTuple):
    """One head with the example it sees.

    Attributes:
        inputs: the tokens X.
        query: $W^Q$.
        key: $W^K$.
        value: $W^V$, followed by the output block where there is one.
    """

    inputs: Float[Array, "time dim"]
    query: Float[Array, "dim head"]
    key: Float[Array, "dim head"]
    value: Float[Array, "dim out"]


class Parts(NamedTuple):
    """The Hessian of f, all nine blocks of each part.

    Attributes:
        outer: $H_o$, from first derivatives of the outputs.
        weights: what $H_f$ has from the curvature of the link.
        scores: what it has from the curvature of the scores.
        value: what it has from the product with the value block.
    """

    outer: Blocks
    weights: Blocks
    scores: Blocks
    value: Blocks

    @property
    def functional(self) -> Blocks:
        """$H_f$, from second derivatives of the outputs."""
        return {pair: self.weights[pair] + self.scores[pair] + self.value[pair] for pair in self.outer}

    @property
    def whole(self) -> Blocks:
        """H, both parts."""
        return {pair: block + self.outer[pair] for pair, block in self.functional.items()}


def merged(
    inputs: Float[Array, "time dim"],
    query_key: Float[Array, "dim dim"],
    value: Float[Array, "dim out"],
    *,
    scaling: AbstractScaling = _SCALING,
) -> Head:
    r"""The head with one matrix in the place of $W^Q W^{K\top}$: the query block is $W^{QK}$, the key block fixed.

    With the key block $r(D) I$ the scores of a product are $T = X W^{QK} X^\top$ over the temperature. A distance has
    no such form: its keys are then the tokens times $r(D)$.

    Args:
        inputs: the tokens X.
        query_key: $W^{QK}$.
        value: $W^V$.
        scaling: of the kernel that the head is for, with divisor r.
    """
    dim = inputs.shape[-1]
    return Head(inputs, query_key, scaling.divisor(dim) * jnp.eye(dim, dtype=inputs.dtype), value)


def attention_hessian(attention: AbstractAttention, head: Head, targets: Float[Array, "time out"]) -> Parts:
    r"""The Hessian of $f = \frac12 \lVert F - Y \rVert^2$ in query, key and value block.

    Args:
        attention: a kernel with known `scores` and `link`; another raises a `TypeError`.
        head: the weights, and the example.
        targets: Y.

    Returns:
        All blocks to rounding, without any automatic differentiation.

    References:
        Ormaniec et al. (2024), arXiv:2410.10986, theorems 3.1 and 3.2, for softmax and linear attention.
    """
    inputs = head.inputs
    query, key = inputs @ head.query, inputs @ head.key
    weights = attention.weights(query, key)
    slopes, score = link(attention, weights), scores(attention, query, key)
    moving = _score_slopes(inputs, score)
    features = {name: jnp.einsum("ijl,ja,ilp->iap", slopes.first, inputs, slope) for name, slope in moving.items()}
    residual = weights @ inputs @ head.value - targets
    cost = residual @ head.value.T @ inputs.T  # of a unit of attention, axes as S
    return Parts(
        outer=_outer(weights @ inputs, features, head.value),
        weights=_from_weights(moving, cost, slopes, head),
        scores=_from_scores(jnp.einsum("ij,ijl->il", cost, slopes.first), score, head),
        value=_from_value(features, residual, head),
    )


def joined(blocks: Blocks, names: tuple[str, ...] = BLOCKS) -> Float[Array, "row row"]:
    """Some blocks as one matrix.

    Args:
        blocks: all of them.
        names: which, in order.
    """
    return jnp.block([[blocks[one, other] for other in names] for one in names])


def _score_slopes(inputs: Array, score: Scores) -> dict[str, Float[Array, "time other param"]]:
    r"""$\partial T_{ij} / \partial \mathrm{vec}(W)$: a query matrix acts on token i, a key matrix on token j."""
    pairs = score.query.shape[:2]
    return {
        "query": jnp.einsum("ia,ije->ijae", inputs, score.query).reshape(*pairs, -1),
        "key": jnp.einsum("ja,ije->ijae", inputs, score.key).reshape(*pairs, -1),
    }


def _outer(mean: Array, features: dict[str, Array], value: Array) -> Blocks:
    r"""$J^\top J$; the outputs move with the features, times $W^V$, and with the value block, times the features."""
    jacobian = {name: jnp.einsum("iap,ao->iop", slope, value) for name, slope in features.items()}
    by_value = jnp.einsum("ia,ok->ioak", mean, jnp.eye(value.shape[1], dtype=value.dtype))
    jacobian["value"] = by_value.reshape(*by_value.shape[:2], -1)
    pairs = itertools.product(BLOCKS, repeat=2)
    return {(one, other): jnp.einsum("iop,ioq->pq", jacobian[one], jacobian[other]) for one, other in pairs}


def _zeros(head: Head) -> Blocks:
    """Nothing, of the right shapes."""
    sizes = {name: getattr(head, name).size for name in BLOCKS}
    pairs = itertools.product(BLOCKS, repeat=2)
    return {(one, other): jnp.zeros((sizes[one], sizes[other]), head.inputs.dtype) for one, other in pairs}


def _from_weights(moving: dict[str, Array], cost: Array, slopes: Link, head: Head) -> Blocks:
    r"""$\sum_i \sum_{lm} \big(\sum_j \mathrm{cost}_{ij} \partial^2_{lm} S_{ij}\big) dT_{il} dT_{im}$."""
    bent = jnp.einsum("ij,ijlm->ilm", cost, slopes.second)
    pairs = itertools.product(moving, repeat=2)
    return _zeros(head) | {
        (one, other): jnp.einsum("ilp,ilm,imq->pq", moving[one], bent, moving[other]) for one, other in pairs
    }


def _from_scores(gradient: Array, score: Scores, head: Head) -> Blocks:
    r"""$\sum_{ij} G_{ij} d^2 T_{ij}$ with $G = \partial f / \partial T$: products with the identity."""
    query_query, query_key, key_key = score.curvature
    inputs, one = head.inputs, jnp.eye(head.query.shape[1], dtype=head.inputs.dtype)

    def spread(matrix: Array) -> Array:
        return jnp.kron(inputs.T @ matrix @ inputs, one)

    between = query_key * spread(gradient)
    return _zeros(head) | {
        ("query", "query"): query_query * spread(jnp.diag(gradient.sum(axis=1))),
        ("query", "key"): between,
        ("key", "query"): between.T,
        ("key", "key"): key_key * spread(jnp.diag(gradient.sum(axis=0))),
    }


def _from_value(features: dict[str, Array], residual: Array, head: Head) -> Blocks:
    """The residual times the moving features: each entry of the value block multiplies one of them."""
    found = _zeros(head)
    for name, slope in features.items():
        block = jnp.einsum("io,iap->aop", residual, slope).reshape(head.value.size, -1)
        found |= {("value", name): block, (name, "value"): block.T}
    return found

r"""The Gram matrix of the query block, a PL bound through independent tokens, and how fast J changes.

The output o of token k of sample i meets the query matrix of head h only in $q_{ikh} = x_{ik} W^Q_h$. With
$g_{ikho} = \partial F_{iko} / \partial q_{ikh}$, stacked over heads into $\Gamma_{ik}$, and X the stacked tokens,

    K_Q = 1/N (X X^T) o (Gamma Gamma^T)   (o is the entrywise product, blockwise over tokens)
    sigma_min(X)^2 gamma^2 / N <= lambda_min(K_Q),    gamma = min_ik sigma_min(Gamma_ik).

The left side is above 0 only if $D \ge Nn$. Proofs: `docs/theory/query_block.md`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from descentlab._types import Array, Float, PyTree
from descentlab.attention import AbstractAttention, Gaussian, Softmax
from descentlab.attention.gaussian import bandwidth
from descentlab.models import MultiHeadAttention
from descentlab.objective import Objective
from descentlab.probes.spectra import certain_smallest

__all__ = ["QueryHead", "curvature_bound", "query_gradients", "query_gram", "query_lipschitz", "token_bound"]


class QueryHead(NamedTuple):
    """One head on one sample: what the query block's derivatives are made of.

    Attributes:
        query: $q_k$.
        key: $k_j$.
        value: $u_j = x_j W^V W^O$, what a unit of attention on token j adds to the outputs.
    """

    query: Float[Array, "time head"]
    key: Float[Array, "time head"]
    value: Float[Array, "time out"]


@functools.singledispatch
def query_gradients(attention: AbstractAttention, head: QueryHead) -> Float[Array, "time out head"] | None:
    """The vectors g of one head and sample, or `None` for a kernel of which no formula is known."""
    del attention, head
    return None


@query_gradients.register
def _(attention: Softmax, head: QueryHead) -> Float[Array, "time out head"]:
    r"""$g_{ko} = \frac{1}{\tau\,r(d)} \sum_j s_{kj} (u_{jo} - \bar u_{ko}) k_j$, the mean taken with the weights."""
    weights = attention.weights(head.query, head.key)
    apart = head.value[None] - (weights @ head.value)[:, None]
    root = attention.temperature * attention.scaling.divisor(head.key.shape[-1])
    return jnp.einsum("kj,kjo,jd->kod", weights, apart, head.key) / root


@query_gradients.register
def _(attention: Gaussian, head: QueryHead) -> Float[Array, "time out head"]:
    r"""$g_{ko} = -2c \sum_j S_{kj} u_{jo} (q_k - k_j)$."""
    weights = attention.weights(head.query, head.key)
    apart = head.query[:, None] - head.key[None]
    return -2 * bandwidth(attention, head.key.shape[-1]) * jnp.einsum("kj,jo,kjd->kod", weights, head.value, apart)


@functools.singledispatch
def curvature_bound(attention: AbstractAttention, head: QueryHead) -> Float[Array, " out"] | None:
    """How fast each g of one head and sample changes with its query at most, wherever that is; `None` if unknown."""
    del attention, head
    return None


@curvature_bound.register
def _(attention: Softmax, head: QueryHead) -> Float[Array, " out"]:
    r"""$\frac{1}{4\tau^2 r(d)^2} (\max_j u_{jo} - \min_j u_{jo}) \max_{jl} \|k_j - k_l\|^2$."""
    widest = jnp.sum((head.key[:, None] - head.key[None]) ** 2, axis=-1).max()
    spread = head.value.max(axis=0) - head.value.min(axis=0)
    return spread * widest / (4 * (attention.temperature * attention.scaling.divisor(head.key.shape[-1])) ** 2)


@curvature_bound.register
def _(attention: Gaussian, head: QueryHead) -> Float[Array, " out"]:
    r"""$2c \sum_j |u_{jo}|$."""
    return 2 * bandwidth(attention, head.key.shape[-1]) * jnp.abs(head.value).sum(axis=0)


def _heads(model: MultiHeadAttention, inputs: Array) -> QueryHead:
    """Every head on every sample, axes sample, head, then those of a head."""
    query, key = (jnp.einsum("nid,hde->nhie", inputs, block) for block in (model.query, model.key))
    return QueryHead(query, key, jax.vmap(model.contributions)(inputs))


def _gradients(model: MultiHeadAttention, inputs: Array) -> Float[Array, "token out heads_head"] | None:
    r"""$\Gamma_{ik}$ of every token, a matrix with one row an output and all heads side by side."""
    heads = _heads(model, inputs)
    found = jax.vmap(jax.vmap(functools.partial(query_gradients, model.attention)))(heads)
    if found is None:
        return None
    samples, _, tokens, outputs, _ = found.shape
    return found.transpose(0, 2, 3, 1, 4).reshape(samples * tokens, outputs, -1)


def query_gram(objective: Objective, params: PyTree) -> Float[Array, "row row"] | None:
    """K of the query block as an entrywise product, rows by sample, token and output.

    Args:
        objective: a layer of multi-head attention with a target for every token.
        params: where; the query block may be among the frozen ones.

    Returns:
        The matrix to rounding, or `None` for a kernel whose g is not known.
    """
    inputs = objective.inputs
    gradients = _gradients(objective.model(params), inputs)
    if gradients is None:
        return None
    tokens = inputs.reshape(-1, inputs.shape[-1])
    rows = gradients.reshape(-1, gradients.shape[-1])
    alike = jnp.repeat(jnp.repeat(tokens @ tokens.T, gradients.shape[1], axis=0), gradients.shape[1], axis=1)
    return alike * (rows @ rows.T) / inputs.shape[0]


def token_bound(objective: Objective, params: PyTree) -> tuple[Array, Array] | None:
    r"""$\sigma_{\min}(X)$ as the singular value with the number of tokens, and $\gamma$; `None` as in `query_gram`.

    The first is 0 where $D < Nn$, the second where a token has more outputs than heads times head width.
    """
    inputs = objective.inputs
    gradients = _gradients(objective.model(params), inputs)
    if gradients is None:
        return None
    tokens = inputs.reshape(-1, inputs.shape[-1])
    of_tokens = jnp.linalg.svd(tokens, compute_uv=False)
    smallest = jnp.where(tokens.shape[1] >= tokens.shape[0], certain_smallest(of_tokens, tokens.shape), 0.0)
    if gradients.shape[2] < gradients.shape[1]:
        return smallest, jnp.zeros_like(smallest)
    of_gradients = jnp.linalg.svd(gradients, compute_uv=False)
    return smallest, jax.vmap(certain_smallest, in_axes=(0, None))(of_gradients, gradients.shape[1:]).min()


def query_lipschitz(model: MultiHeadAttention, inputs: Array) -> Array:
    r"""$\beta = \frac{\|X\|}{\sqrt N} \max_i t_i \max_h \|L_{ih}\|$; NaN where a kernel has no bound."""
    heads = _heads(model, inputs)
    bounds = jax.vmap(jax.vmap(functools.partial(curvature_bound, model.attention)))(heads)
    if bounds is None:
        return jnp.full((), jnp.nan, inputs.dtype)
    steepest = jnp.linalg.norm(bounds, axis=-1).max(axis=-1)
    longest = jnp.linalg.norm(inputs, axis=-1).max(axis=-1)
    whole = jnp.linalg.norm(inputs.reshape(-1, inputs.shape[-1]), ord=2)
    return whole / jnp.sqrt(inputs.shape[0]) * (longest * steepest).max()

r"""How attention weights move with their scores, and the moments of the tokens that this comes to.

Every kernel here is a link of scores, row by row: $S_{i\cdot} = \varphi(T_{i\cdot})$, and a score is quadratic in its
query and its key.

    kernel               T_ij                     phi
    softmax              q_i k_j / (tau r(d))     softmax of the row
    linear               q_i k_j / r(d)           identity
    Gaussian             -c ||q_i - k_j||^2       exp, entry by entry
    normalised Gaussian  -c ||q_i - k_j||^2       softmax of the row

The derivatives of S in T, contracted with the tokens, are the moments $M_1$, $M_2$, $M_3$. For softmax they are mean,
covariance and third central moment of the tokens under a row of S; for the Gaussian kernel they are the raw moments
under weights that do not sum to one. Proofs: `docs/theory/attention_hessian.md`.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp

from descentlab._types import Array, Float
from descentlab.attention import AbstractAttention, Gaussian, Linear, NormalizedGaussian, Softmax
from descentlab.attention.gaussian import bandwidth

__all__ = ["Link", "Moments", "Scores", "link", "moments", "scores", "z1", "z2"]


class Scores(NamedTuple):
    """The derivatives of the scores $T_{ij}$ of a head.

    Attributes:
        query: first, in the query $q_i$.
        key: first, in the key $k_j$.
        curvature: second, in query and query, query and key, key and key: each of these times the identity.
    """

    query: Float[Array, "time other head"]
    key: Float[Array, "time other head"]
    curvature: tuple[Array | float, Array | float, Array | float]


class Link(NamedTuple):
    r"""The derivatives of the weights in the scores of their row.

    Attributes:
        first: $\partial S_{ij} / \partial T_{il}$, axes i, j, l.
        second: $\partial^2 S_{ij} / \partial T_{il} \partial T_{im}$, axes i, j, l, m.
    """

    first: Float[Array, "time other other"]
    second: Float[Array, "time other other other"]


class Moments(NamedTuple):
    r"""The tokens contracted with the weights and their derivatives in the scores.

    Attributes:
        first: $M_1 = S X$.
        second: $M_2^i = \sum_{jl} \partial_l S_{ij}\, x_j x_l^\top$, with $\partial_l$ the derivative in $T_{il}$.
        third: $M_3^i = \sum_{jlm} \partial_l \partial_m S_{ij}\, x_j \otimes x_l \otimes x_m$.
    """

    first: Float[Array, "time dim"]
    second: Float[Array, "time dim dim"]
    third: Float[Array, "time dim dim dim"]


@functools.singledispatch
def scores(attention: AbstractAttention, query: Float[Array, "time head"], key: Float[Array, "other head"]) -> Scores:
    """The derivatives of the scores; register another kernel with `scores.register`, and its `link`.

    Raises:
        TypeError: for a kernel of which no scores are known.
    """
    del query, key
    raise TypeError(f"no scores are known for {type(attention).__name__}; register `scores` and `link` for it")


@scores.register
def _(attention: Softmax | Linear, query: Float[Array, "time head"], key: Float[Array, "other head"]) -> Scores:
    temperature = attention.temperature if isinstance(attention, Softmax) else 1.0
    slope = 1 / (temperature * attention.scaling.divisor(key.shape[-1]))
    pairs = (query.shape[0], *key.shape)
    return Scores(slope * jnp.broadcast_to(key, pairs), slope * jnp.broadcast_to(query[:, None], pairs), (0, slope, 0))


@scores.register
def _(
    attention: Gaussian | NormalizedGaussian, query: Float[Array, "time head"], key: Float[Array, "other head"]
) -> Scores:
    twice = 2 * bandwidth(attention, key.shape[-1])
    apart = twice * (query[:, None] - key)
    return Scores(-apart, apart, (-twice, twice, -twice))


@functools.singledispatch
def link(attention: AbstractAttention, weights: Float[Array, "time other"]) -> Link:
    """The derivatives of the weights in the scores of their row, from the weights themselves.

    Raises:
        TypeError: for a kernel of which no link is known.
    """
    del weights
    raise TypeError(f"no link is known for {type(attention).__name__}; register `scores` and `link` for it")


@link.register
def _(attention: Softmax | NormalizedGaussian, weights: Float[Array, "time other"]) -> Link:
    r"""$s_j(\delta_{jl} - s_l)$ and $s_j(\delta_{jl} - s_l)(\delta_{jm} - s_m) - s_j s_l(\delta_{lm} - s_m)$."""
    del attention
    one = jnp.eye(weights.shape[-1], dtype=weights.dtype)
    rest = weights @ (1 - one)  # not 1 - s, which would round to zero where attention is nearly one-hot
    apart = one * rest[:, None] - (1 - one) * weights[:, None]
    first = weights[..., None] * apart
    second = first[..., None] * apart[:, :, None] - weights[:, :, None, None] * first[:, None]
    return Link(first, second)


@link.register
def _(attention: Linear, weights: Float[Array, "time other"]) -> Link:
    r"""$\delta_{jl}$ and 0."""
    del attention
    rows, tokens = weights.shape
    first = jnp.broadcast_to(jnp.eye(tokens, dtype=weights.dtype), (rows, tokens, tokens))
    return Link(first, jnp.zeros((rows, tokens, tokens, tokens), weights.dtype))


@link.register
def _(attention: Gaussian, weights: Float[Array, "time other"]) -> Link:
    r"""$S_j \delta_{jl}$ and $S_j \delta_{jl} \delta_{jm}$."""
    del attention
    one = jnp.eye(weights.shape[-1], dtype=weights.dtype)
    return Link(weights[..., None] * one, weights[..., None, None] * one[:, :, None] * one[:, None])


def moments(
    attention: AbstractAttention, weights: Float[Array, "time other"], inputs: Float[Array, "other dim"]
) -> Moments:
    """The moments of the tokens.

    Args:
        attention: the kernel.
        weights: its attention matrix S.
        inputs: the tokens X.
    """
    slopes = link(attention, weights)
    second = jnp.einsum("ijl,ja,lb->iab", slopes.first, inputs, inputs)
    third = jnp.einsum("ijlm,ja,lb,mc->iabc", slopes.second, inputs, inputs, inputs)
    return Moments(weights @ inputs, second, third)


def z1(inputs: Float[Array, "time dim"], of: Moments) -> Float[Array, "row column"]:
    r"""$Z_1 = (I \otimes X^\top) \frac{\partial S}{\partial T} (X \otimes X)$.

    Its block row i is $x_i^\top \otimes M_2^i$.

    Args:
        inputs: the tokens X.
        of: their moments.
    """
    tokens, dim = inputs.shape
    return jnp.einsum("ip,iab->iapb", inputs, of.second).reshape(tokens * dim, dim * dim)


def z2(inputs: Float[Array, "time dim"], of: Moments) -> Float[Array, "row column"]:
    r"""$Z_2 = (I \otimes X^\top \otimes X^\top \otimes X^\top) \frac{\partial^2 S}{\partial T^2} (X \otimes X)$.

    Its entry in row (i, a, p, b) and column (q, c) is $M_3^i[a, b, c]\, x_i[p]\, x_i[q]$.

    Args:
        inputs: the tokens X.
        of: their moments.
    """
    tokens, dim = inputs.shape
    entries = jnp.einsum("ip,iq,iabc->iapbqc", inputs, inputs, of.third)
    return entries.reshape(tokens * dim**3, dim * dim)

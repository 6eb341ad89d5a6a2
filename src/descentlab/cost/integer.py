r"""Integer-only arithmetic for inference: exponential, softmax, GELU, LayerNorm and products on 32-bit integers.

A real number r stands as an integer q with a scale, $r \approx q \cdot s$; scales are known before anything runs, so
constants of polynomials are integers too. Nothing here exceeds 32 bits. The approximations are those of I-BERT (Kim
et al. 2021, arXiv:2101.01321); the Gaussian kernel is done with the same exponential.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from descentlab._types import Array, Float, Int
from descentlab.mistake import Mistake

__all__ = [
    "dequantize", "exponential", "gaussian_weights", "gelu", "layer_norm", "matmul", "quantize", "requantize", "root",
    "softmax",
]  # fmt: skip

# exp(p) for p in (-ln 2, 0]: a (p^2 + b p + c).
EXP = (0.35815147, 0.96963238 / 0.35815147, 1.0 / 0.35815147)
# erf(u) for u >= 0: a (min(u, -b) + b)^2 + 1.
ERF = (-0.2888, -1.769)

WORD = 30
"""Bits of a result that leave room for a sign and one addition."""


def _fine(scale: float) -> float:
    """The scale, if it is a finite number above 0.

    Raises:
        Mistake: if it is not.
    """
    if not (scale > 0 and math.isfinite(scale)):
        raise Mistake(f"a scale must be a finite number above 0, got {scale}")
    return float(scale)


def quantize(values: Float[Array, "..."], scale: float, *, zero: int = 0, bits: int = 8) -> Int[Array, "..."]:
    """The uniform quantiser q = round(r / scale) + zero, clipped to signed integers of so many bits.

    Args:
        values: real numbers r.
        scale: the step.
        zero: the integer that stands for 0.
        bits: 2 to 31.

    Returns:
        32-bit integers; where nothing is clipped they are within scale / 2 of the values.
    """
    least = -(2 ** (bits - 1))
    return jnp.clip(jnp.round(values / _fine(scale)).astype(jnp.int32) + zero, least, -least - 1)


def dequantize(integers: Int[Array, "..."], scale: float, *, zero: int = 0) -> Float[Array, "..."]:
    """The real numbers for which integers stand: (q - zero) scale."""
    return (integers - zero) * scale


def exponential(integers: Int[Array, "..."], scale: float) -> tuple[Int[Array, "..."], float]:
    r"""The exponential of numbers at most 0.

    $e^x = 2^{-k} e^p$ with $x = -k \ln 2 + p$ and $e^p \approx a (p^2 + b p + c)$: a product, two additions, a shift.

    Args:
        integers: x / scale, none above 0.
        scale: of x. Above about 0.1 there are few integers between two halvings and the error grows.

    Returns:
        Integers below 2^30 and their scale. The polynomial is within 2e-3; rounding of its constants adds about the
        scale.

    Examples:
        >>> value, scale = exponential(jnp.array([0, -1000]), 0.001)
        >>> [round(one * scale, 3) for one in value.tolist()]
        [1.0, 0.368]
    """
    coarser = max(0, math.ceil(math.log2(math.sqrt(EXP[2] / 2.0**WORD) / _fine(scale))))
    integers, scale = integers >> coarser, scale * 2**coarser
    halving = max(1, round(math.log(2) / scale))
    linear, constant = round(EXP[1] / scale), round(EXP[2] / scale**2)
    clipped = jnp.maximum(integers, -WORD * halving)
    shifts = clipped // -halving
    rest = clipped + shifts * halving
    polynomial = rest * (rest + linear) + constant
    up = WORD - constant.bit_length()
    return (polynomial << up) >> shifts, EXP[0] * scale**2 / 2**up


def softmax(scores: Int[Array, "... other"], scale: float, *, bits: int = 8) -> tuple[Int[Array, "... other"], float]:
    """Softmax over the last axis: the largest score is subtracted, exponentials are divided by their sum.

    Args:
        scores: integers whose differences fit 32 bits.
        scale: of the scores.
        bits: of the result.

    Returns:
        Integers and their scale, 2 to the power of minus `bits`. Every division rounds down, so a row sums to less
        than one.
    """
    peak = jnp.max(scores, axis=-1, keepdims=True)
    powers, _ = exponential(scores - peak, scale)
    short = (powers >> (WORD - 16)).astype(jnp.uint32)
    factor = jnp.uint32(2**32 - 1) // jnp.sum(short, axis=-1, keepdims=True, dtype=jnp.uint32)
    return ((short * factor) >> (32 - bits)).astype(jnp.int32), 2.0**-bits


def gaussian_weights(
    query: Int[Array, "time head"], key: Int[Array, "other head"], scale: float, *, c: float, bits: int = 8
) -> tuple[Int[Array, "time other"], float]:
    r"""Weights of the Gaussian kernel, $\exp(-c \lVert q - k \rVert^2)$, from 8-bit queries and keys of one scale.

    The squared distance of integers is an integer, and rows are not summed: no maximum, no division.

    Args:
        query: integers of 8 bits.
        key: integers of 8 bits.
        scale: of both.
        c: factor in the exponent.
        bits: of the result.

    Returns:
        Integers and their scale.
    """
    lengths = jnp.sum(query**2, axis=-1)[:, None] + jnp.sum(key**2, axis=-1)
    distance = lengths - 2 * matmul(query, key.T)
    powers, fine = exponential(-distance, c * _fine(scale) ** 2)
    top = 2**bits - 1
    return jnp.minimum(requantize(powers, fine * top, bits=bits + 2), top), 1 / top


def gelu(integers: Int[Array, "..."], scale: float) -> tuple[Int[Array, "..."], float]:
    r"""GELU, $x (1 + L(x / \sqrt 2)) / 2$ with a polynomial L of degree two for the error function.

    Args:
        integers: x / scale, below 2^14 in size.
        scale: of x.

    Returns:
        Integers and their scale; the polynomial is within 0.0182.
    """
    inner = _fine(scale) / math.sqrt(2)
    edge, constant = round(ERF[1] / inner), round(1 / ERF[0] / inner**2)
    down = max(0, constant.bit_length() - 15)
    size = jnp.minimum(jnp.abs(integers), -edge) + edge
    error = jnp.sign(integers) * ((-size * size - constant + ((1 << down) >> 1)) >> down)
    unit = -ERF[0] * inner**2 * 2**down
    return integers * (error + round(1 / unit)), scale * unit / 2


def root(integers: Array) -> Array:
    """The square root of 32-bit integers rounded down, by Newton's iteration from a power of two above it."""

    def step(_: Array | int, guess: Array) -> Array:
        return jnp.minimum(guess, (guess + integers // guess) >> 1)

    bits = 32 - jax.lax.clz(jnp.maximum(integers, 1))
    first = jnp.left_shift(jnp.ones_like(integers), (bits + 1) // 2)
    return jnp.where(integers > 0, jax.lax.fori_loop(0, 20, step, first), 0)


def layer_norm(
    integers: Int[Array, "... width"], gamma: Float[np.ndarray, " width"], beta: Float[np.ndarray, " width"]
) -> tuple[Int[Array, "... width"], Float[np.ndarray, " width"]]:
    r"""LayerNorm over the last axis, $\gamma (x - \mathrm{mean}) / \mathrm{std} + \beta$.

    The scale of x cancels.

    Args:
        integers: x in units of any scale, their sum within 32 bits.
        gamma: factors, none of them 0.
        beta: shifts.

    Returns:
        Integers and the scale of each column.
    """
    width = integers.shape[-1]
    mean = (jnp.sum(integers, axis=-1, keepdims=True) + width // 2) // width
    centred = integers - mean
    spread = _norm(jnp.abs(centred))
    factor = jnp.uint32(2**31) // jnp.maximum(spread, 1).astype(jnp.uint32)
    size = (jnp.abs(centred).astype(jnp.uint32) * factor >> 1).astype(jnp.int32)
    scale = math.sqrt(width) / 2**30
    offset = np.floor(np.asarray(beta) / np.asarray(gamma) / scale)
    limit = 2.0**30
    return jnp.sign(centred) * size + np.clip(offset, -limit, limit).astype(np.int32), np.asarray(gamma) * scale


def _norm(sizes: Int[Array, "... width"]) -> Int[Array, "... 1"]:
    """The root of the sum of squares of integers at least 0, with a sum cut by as few bits as make it fit.

    A first sum, of integers cut by so many bits that it fits in any case, says how many bits that is. The cut bits
    take part in the sum through their products with the others, so that nothing but its own last bits is lost.
    """
    sizes = sizes.astype(jnp.uint32)
    room = (32 - math.ceil(math.log2(sizes.shape[-1]))) // 2
    bits = 32 - jax.lax.clz(jnp.max(sizes, axis=-1, keepdims=True))
    coarse = jnp.where(bits > room, bits - room, 0)
    upper = jnp.sum(((sizes >> coarse) + 1) ** 2, axis=-1, keepdims=True, dtype=jnp.uint32)
    spare = jax.lax.clz(upper) // 2
    cut = jnp.where(coarse > spare, coarse - spare, 0)
    high = sizes >> cut
    low = sizes - (high << cut)
    squares, crossed, rest = (
        jnp.sum(product, axis=-1, keepdims=True, dtype=jnp.uint32) for product in (high**2, high * low, low**2)
    )
    return (root(squares + (crossed >> cut << 1) + (rest >> cut >> cut)) << cut).astype(jnp.int32)


def matmul(left: Int[Array, "... row inner"], right: Int[Array, "inner column"]) -> Int[Array, "... row column"]:
    """The product of 8-bit integers with sums of 32 bits, exact for up to 2^16 terms."""
    narrow = [array.astype(jnp.int8) for array in (left, right)]
    return jnp.matmul(*narrow, preferred_element_type=jnp.int32)


def requantize(sums: Int[Array, "..."], ratio: float, *, bits: int = 8) -> Int[Array, "..."]:
    """Sums of a product in the scale of the next operator, by a dyadic factor: round(q b / 2^c) with 15 bits of b.

    Args:
        sums: 32-bit integers.
        ratio: their scale over the new one, from 2^-31 to below 64.
        bits: of the result.

    Returns:
        Integers, clipped to so many bits; their error is at most 1/2, plus 2^-15 of their size.

    Raises:
        Mistake: if the ratio lies elsewhere.
    """
    if not 2.0**-31 <= ratio < 64:
        raise Mistake(f"a ratio of scales must lie between 2^-31 and 64, got {ratio}; choose another new scale")
    mantissa, exponent = math.frexp(ratio)
    if exponent > -2:
        # Beyond these bounds the result is clipped in any case; within them there is room to the left.
        sums = jnp.clip(sums, -(2 ** (bits + 2)), 2 ** (bits + 2)) << exponent + 2
        exponent = -2
    factor, down = round(mantissa * 2**15), 15 - exponent
    high, low = sums >> 16, (sums & 0xFFFF).astype(jnp.uint32)
    # (high 2^16 + low) factor + 2^(down - 1), cut below 2^16 first and then below 2^down: rounded down in two steps is
    # rounded down in one.
    upper = high * factor + (1 << (down - 17)) + ((low * jnp.uint32(factor)) >> 16).astype(jnp.int32)
    least = -(2 ** (bits - 1))
    return jnp.clip(upper >> (down - 16), least, -least - 1)

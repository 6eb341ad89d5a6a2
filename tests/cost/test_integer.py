"""Integer arithmetic against Python's unbounded integers, and against the functions that it approximates."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from descentlab.attention import Gaussian
from descentlab.cost import integer

RNG = np.random.default_rng(0)


def integers(values, scale):
    return np.round(np.asarray(values) / scale).astype(np.int32)


def polynomial(x, scale):
    """The exponential in exact integers: no width, no overflow."""
    a, b, c = integer.EXP
    halving, linear, constant = round(math.log(2) / scale), round(b / scale), round(c / scale**2)
    x = max(x, -30 * halving)
    shift, rest = divmod(-x, halving)
    up = 30 - constant.bit_length()
    return (((-rest) * (-rest + linear) + constant) << up) >> shift, a * scale**2 / 2**up


@pytest.mark.parametrize("scale", [0.1, 0.01, 0.001, 1e-4])
def test_the_exponential_is_that_of_exact_integers(scale):
    x = integers(-np.geomspace(1e-3, 40, 300), scale)
    found, step = integer.exponential(jnp.asarray(x), scale)
    exact = [polynomial(int(one), scale) for one in x]
    assert found.dtype == jnp.int32
    assert found.tolist() == [value for value, _ in exact]
    assert step == exact[0][1]


@pytest.mark.parametrize("scale", [0.001, 1e-5, 1e-6])
def test_the_exponential_is_within_what_its_polynomial_allows(scale):
    x = integers(np.linspace(-12, 0, 2001), scale)
    found, step = integer.exponential(jnp.asarray(x), scale)
    assert np.abs(np.asarray(found) * step - np.exp(x * scale)).max() < 2.0e-3


@pytest.mark.parametrize("bits", [8, 16])
def test_softmax_is_that_of_exact_integers(bits):
    x = integers(RNG.normal(size=(5, 40)) * 2, 0.01)
    found, step = integer.softmax(jnp.asarray(x), 0.01, bits=bits)
    for row, result in zip(x.tolist(), found.tolist(), strict=True):
        powers = [polynomial(one - max(row), 0.01)[0] >> 14 for one in row]
        factor = (2**32 - 1) // sum(powers)
        assert result == [(one * factor) >> (32 - bits) for one in powers]
    assert step == 2.0**-bits
    exact = jax.nn.softmax(jnp.asarray(x * 0.01))
    assert np.abs(np.asarray(found) * step - exact).max() < 5e-3 + 2.0**-bits


@pytest.mark.parametrize("scale", [0.01, 0.001])
def test_gelu_is_within_what_its_polynomial_allows(scale):
    x = integers(np.linspace(-6, 6, 1001), scale)
    found, step = integer.gelu(jnp.asarray(x), scale)
    exact = 0.5 * x * scale * (1 + erf(x * scale / math.sqrt(2)))
    error = np.asarray(found) * step - exact
    assert found.dtype == jnp.int32
    assert 0.018 < np.abs(error).max() < 0.0184
    assert np.abs(np.asarray(found)[x == 0]).max() == 0


def test_the_root_is_the_integer_root():
    numbers = np.concatenate([np.arange(3000), RNG.integers(0, 2**31, 3000), [2**31 - 1]]).astype(np.int32)
    assert integer.root(jnp.asarray(numbers)).tolist() == [math.isqrt(int(one)) for one in numbers]
    large = np.array([2**32 - 1, 2**31, 65535**2, 65536**2 - 1], dtype=np.uint32)
    assert integer.root(jnp.asarray(large)).tolist() == [math.isqrt(int(one)) for one in large]


@pytest.mark.parametrize("size", [3, 500, 60_000, 2_000_000])
def test_the_spread_is_the_root_of_the_exact_sum_of_squares(size):
    x = np.abs(RNG.normal(size=(20, 96)) * size).astype(np.int32)
    found = np.asarray(integer._norm(jnp.asarray(x)))[:, 0]
    for row, spread in zip(x.tolist(), found, strict=True):
        exact = math.isqrt(sum(one**2 for one in row))
        assert exact - max(1, exact >> 13) <= spread <= exact


@pytest.mark.parametrize(("scale", "bound"), [(0.1, 0.07), (0.01, 0.008), (0.001, 0.001)])
def test_layer_norm_is_as_exact_as_its_scale(scale, bound):
    x = RNG.normal(size=(50, 768)) * 1.7 + 0.3
    gamma, beta = RNG.uniform(0.5, 1.0, 768), RNG.normal(size=768)
    found, step = integer.layer_norm(jnp.asarray(integers(x, scale)), gamma, beta)
    exact = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True) * gamma + beta
    assert found.dtype == jnp.int32
    assert np.abs(np.asarray(found) * step - exact).max() < bound


def test_a_product_of_integers_is_exact():
    a, b = RNG.integers(-128, 128, (7, 300)), RNG.integers(-128, 128, (300, 5))
    found = integer.matmul(jnp.asarray(a), jnp.asarray(b))
    assert found.dtype == jnp.int32
    assert np.array_equal(found, a @ b)


@pytest.mark.parametrize("ratio", [0.2, 0.01, 1e-5, 1e-9])
def test_requantising_rounds_the_exact_product_with_a_dyadic_number(ratio):
    sums = RNG.integers(-(2**31), 2**31, 500).astype(np.int32)
    mantissa, exponent = math.frexp(ratio)
    dyadic = Fraction(round(mantissa * 2**15), 2 ** (15 - exponent))
    exact = [math.floor(int(one) * dyadic + Fraction(1, 2)) for one in sums]
    assert integer.requantize(jnp.asarray(sums), ratio, bits=31).tolist() == exact
    assert abs(dyadic / Fraction(ratio) - 1) <= Fraction(1, 2**15)
    narrow = integer.requantize(jnp.asarray(sums), ratio)
    assert narrow.tolist() == [min(max(one, -128), 127) for one in exact]


@pytest.mark.parametrize("ratio", [0.25, 0.3, 1.0, 7.7, 63.9])
def test_requantising_to_a_finer_scale_rounds_and_clips(ratio):
    sums = np.concatenate([np.arange(-600, 600), [2**31 - 1, -(2**31)]]).astype(np.int32)
    mantissa, exponent = math.frexp(ratio)
    dyadic = Fraction(round(mantissa * 2**15)) * Fraction(2) ** (exponent - 15)
    exact = [math.floor(int(one) * dyadic + Fraction(1, 2)) for one in sums]
    assert integer.requantize(jnp.asarray(sums), ratio).tolist() == [min(max(one, -128), 127) for one in exact]


@pytest.mark.parametrize("ratio", [64.0, 0.0, -1.0, 1e-10, math.nan])
def test_a_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(ValueError, match="must lie between 2.-31 and 64"):
        integer.requantize(jnp.ones(1, jnp.int32), ratio)


@pytest.mark.parametrize("scale", [0.0, -0.1, math.inf])
def test_a_scale_out_of_range_is_refused(scale):
    with pytest.raises(ValueError, match="a scale must be a finite number above 0"):
        integer.exponential(jnp.zeros(1, jnp.int32), scale)


def test_quantising_rounds_and_clips():
    values = np.array([-2.0, -0.26, 0.0, 0.24, 1.0, 50.0])
    found = integer.quantize(jnp.asarray(values), 0.25, zero=3)
    assert found.tolist() == [-5, 2, 3, 4, 7, 127]
    inside = integer.dequantize(found, 0.25, zero=3)[:-1]
    assert np.abs(np.asarray(inside) - values[:-1]).max() <= 0.125


def test_gaussian_weights_are_those_of_the_real_kernel_on_the_same_numbers():
    scale, c = 4 / 127, 0.5 / 8
    query, key = (integer.quantize(jnp.asarray(RNG.normal(size=(30, 16))), scale) for _ in range(2))
    found, step = integer.gaussian_weights(query, key, scale, c=c)
    exact = Gaussian(c).weights(query * scale, key * scale)
    assert found.dtype == jnp.int32
    assert np.abs(np.asarray(found) * step - np.asarray(exact)).max() < 2e-3 + step / 2
    same, _ = integer.gaussian_weights(query, query, scale, c=c)
    assert np.diag(same).tolist() == [255] * 30

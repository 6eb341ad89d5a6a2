"""What products of queries and keys are divided by."""

import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.attention import Gaussian, InverseSqrt, Linear, NormalizedGaussian, NoScaling, Power, Softmax

pytestmark = pytest.mark.usefixtures("float64")
RANDOM = np.random.default_rng(4)
QUERY, KEY = (RANDOM.normal(size=(count, 9)) for count in (3, 5))


@pytest.mark.parametrize(
    ("scaling", "divisor"), [(InverseSqrt(), 3.0), (NoScaling(), 1.0), (Power(1.0), 9.0), (Power(-0.5), 1 / 3)], ids=str
)
def test_linear_weights_are_products_over_the_divisor(scaling, divisor):
    assert scaling.divisor(9) == pytest.approx(divisor, rel=1e-15)
    found = Linear(scaling=scaling).weights(jnp.asarray(QUERY), jnp.asarray(KEY))
    np.testing.assert_allclose(found, QUERY @ KEY.T / divisor, rtol=1e-13)


@pytest.mark.parametrize("scaling", [InverseSqrt(), NoScaling(), Power(0.7)], ids=str)
def test_a_normalised_gaussian_is_softmax_of_the_same_scaling_where_keys_have_one_length(scaling):
    query, key = jnp.asarray(QUERY), jnp.asarray(KEY / np.linalg.norm(KEY, axis=1, keepdims=True))
    one, other = (kind(scaling=scaling).weights(query, key) for kind in (NormalizedGaussian, Softmax))
    np.testing.assert_allclose(one, other, rtol=1e-13)


@pytest.mark.parametrize("kind", [Gaussian, NormalizedGaussian])
def test_a_factor_and_a_scaling_are_not_both_given(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__}.c is the whole factor, .* give one of c and scaling"):
        kind(0.5, scaling=NoScaling())


@pytest.mark.parametrize("exponent", [float("nan"), float("inf")])
def test_an_exponent_that_is_not_finite_is_refused(exponent):
    with pytest.raises(ValueError, match=r"Power\.exponent must be a finite number"):
        Power(exponent)

"""What the numbers of a run are on the device at hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab._arithmetic import arithmetic
from support.rounding import rounding


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_products_have_the_digits_of_their_precision(precision):
    rng = np.random.default_rng(0)
    one, other = (rng.normal(size=(256, 256)).astype(precision) for _ in range(2))
    with arithmetic(precision):
        found = np.asarray(jax.jit(jnp.matmul)(one, other))
    exact = np.asarray(one, np.longdouble) @ np.asarray(other, np.longdouble)
    sizes = np.abs(one).astype(np.float64) @ np.abs(other).astype(np.float64)
    assert found.dtype == precision
    assert np.all(np.abs(found - exact) <= rounding(256, precision) * sizes)


def test_other_code_keeps_its_arithmetic():
    with arithmetic("float64"):
        pass
    assert jnp.ones(2).dtype == jnp.float32
    assert jax.config.jax_default_matmul_precision is None

"""Queries a few at a time: what the compiler plans to keep grows as the length, not as its square."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab.attention import Gaussian, Softmax, in_chunks

each = pytest.mark.parametrize("kernel", [Softmax(), Gaussian()], ids=["softmax", "gaussian"])


def gradient(kernel, chunk):
    """Of a sum over outputs, in query, key and value; the last fifth of the keys is padding."""

    def total(query, key, value):
        real = jnp.arange(key.shape[0]) < key.shape[0] * 4 // 5
        return jnp.sum(jnp.sin(in_chunks(kernel, chunk)(query, key, value, real[None])))

    return jax.jit(jax.grad(total, argnums=(0, 1, 2)))


def workspace(kernel, chunk, length):
    """Bytes of intermediate results of the gradient."""
    arrays = [jax.ShapeDtypeStruct((length, 8), np.float32)] * 3
    return gradient(kernel, chunk).lower(*arrays).compile().memory_analysis().temp_size_in_bytes


@each
def test_memory_grows_with_the_length_in_chunks_and_with_its_square_without(kernel):
    parts, whole = ([workspace(kernel, chunk, length) for length in (1024, 2048)] for chunk in (32, None))
    assert parts[1] < 2.1 * parts[0]
    assert whole[1] > 3.5 * whole[0]
    assert parts[1] < whole[1] / 10


@each
@pytest.mark.parametrize("length", [256, 250])
def test_long_sequences_have_the_gradients_of_the_whole_within_rounding(kernel, length):
    arrays = np.random.default_rng(0).normal(size=(3, length, 8))
    with jax.enable_x64(True):
        found, expected = (gradient(kernel, chunk)(*map(jnp.asarray, arrays)) for chunk in (32, None))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13 * np.abs(other).max())
    assert all(np.abs(one).max() > 1e-2 for one in expected)

"""The encoder in integers against the trained model in real arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab._tree import block_names, block_of, named, with_named
from descentlab.attention import Gaussian, Softmax
from descentlab.cost import quantized
from descentlab.models import Classify, Transformer

RNG = np.random.default_rng(0)
EXAMPLES = RNG.integers(1, 6, (32, 12)).astype(np.int32)


def model(attention, depth):
    """A model whose biases, factors and shifts are none of them 0 or 1."""
    sizes = Transformer(attention, width=16, depth=depth, heads=2, hidden=24, vocabulary=6, readout=Classify(4, 16))
    drawn = sizes.init(jnp.asarray(EXAMPLES[0]), key=jax.random.key(1))
    found = named(drawn)
    by_block = [name for block in block_names(drawn) for name in found if block_of(name) == block]
    arrays = {name: np.asarray(found[name]) + 0.1 * RNG.normal(size=found[name].shape) for name in by_block}
    return with_named(drawn, arrays), arrays


@pytest.mark.parametrize(("attention", "bandwidth"), [(Softmax(), None), (Gaussian(0.3), 0.3)])
@pytest.mark.parametrize("depth", [1, 2])
def test_the_encoder_is_the_model_in_real_arithmetic_and_near_it_in_integers(attention, bandwidth, depth):
    trained, arrays = model(attention, depth)
    exact = np.asarray(jax.vmap(trained)(jnp.asarray(EXAMPLES)))
    plan = quantized.calibrate(arrays, EXAMPLES, depth=depth, bandwidth=bandwidth)
    assert np.abs(quantized._real(plan, EXAMPLES, {}) - exact).max() < 1e-5
    found = quantized.classify(plan, jnp.asarray(EXAMPLES))
    assert found.dtype == jnp.int32
    whole = np.asarray(found, dtype=np.float64)
    unit = (whole * exact).sum() / (whole**2).sum()
    assert np.abs(whole * unit - exact).max() < 0.25 * exact.std()
    assert np.corrcoef(whole.ravel(), exact.ravel())[0, 1] > 0.995


def test_a_wrong_bandwidth_is_not_the_model():
    trained, arrays = model(Gaussian(0.3), 1)
    exact = np.asarray(jax.vmap(trained)(jnp.asarray(EXAMPLES)))
    plan = quantized.calibrate(arrays, EXAMPLES, depth=1, bandwidth=3.0)
    whole = np.asarray(quantized.classify(plan, jnp.asarray(EXAMPLES)), dtype=np.float64)
    assert np.corrcoef(whole.ravel(), exact.ravel())[0, 1] < 0.99


def test_rounded_matrices_are_integers_times_a_step():
    _, arrays = model(Softmax(), 1)
    found = quantized.rounded(arrays)
    for name, array in arrays.items():
        if name.endswith(("bias", "scale", "shift")):
            assert np.array_equal(found[name], array)
            continue
        step = np.abs(array).max() / 127
        assert np.abs(found[name] - array).max() <= step / 2 * (1 + 1e-9)
        assert np.abs(found[name] / step - np.round(found[name] / step)).max() < 1e-9
    assert len(np.unique(np.round(found["layers.0.fed.up"] / np.abs(arrays["layers.0.fed.up"]).max(), 9))) <= 255
    zero = {"up": np.zeros((2, 2))}
    assert np.array_equal(quantized.rounded(zero)["up"], zero["up"])


def test_padding_and_missing_blocks_are_refused():
    _, arrays = model(Softmax(), 1)
    with pytest.raises(ValueError, match="sequences of equal length, got padding"):
        quantized.calibrate(arrays, np.zeros((2, 12), dtype=np.int32), depth=1)
    with pytest.raises(ValueError, match=r"blocks that are not there: layers\.1\."):
        quantized.calibrate(arrays, EXAMPLES, depth=2)
    del arrays["layers.0.fed.up"]
    with pytest.raises(ValueError, match=r"blocks that are not there: layers\.0\.fed\.up"):
        quantized.calibrate(arrays, EXAMPLES, depth=1)

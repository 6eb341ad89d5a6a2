"""The deep linear network against its product of matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab._tree import named
from descentlab.models import FanIn, LinearNetwork, Normal

pytestmark = pytest.mark.usefixtures("float64")
TOKENS = jnp.asarray([3, 1, 4, 1])


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("places", [None, (-3, -1)])
def test_it_is_the_product_of_its_matrices_token_after_token(depth, places):
    model = LinearNetwork(depth, 5, 2, 6, places).init(TOKENS, key=jax.random.key(0))
    arrays = named(model)
    matrices = [arrays[f"weight.{layer}"] for layer in range(depth)]
    assert [m.shape for m in matrices] == [(5, 5)] * (depth - 1) + [(5, 2)]
    rows = np.asarray(TOKENS)[slice(*(places or (None,)))]
    expected = np.linalg.multi_dot([np.asarray(arrays["embed"])[rows], *matrices])
    np.testing.assert_allclose(model(TOKENS), expected, rtol=1e-13)


def test_real_tokens_are_mapped_to_the_width():
    patches = np.random.default_rng(0).normal(size=(3, 7))
    model = LinearNetwork(2, 5, 4).init(jnp.asarray(patches), key=jax.random.key(0))
    assert model.embed.shape == (7, 5)
    assert model(jnp.asarray(patches)).shape == (3, 4)


def test_its_blocks_start_as_said():
    model = LinearNetwork(2, 200, 100, 50, None, Normal(2.0), FanIn(0.5)).init(TOKENS, key=jax.random.key(0))
    for array, wanted in ((model.embed, 4.0), (model.weight[0], 0.25 / 200), (model.weight[1], 0.25 / 200)):
        squares = np.asarray(array) ** 2
        assert abs(squares.mean() - wanted) < 4 * squares.std() / np.sqrt(squares.size)


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="LinearNetwork.depth must be a finite number above 0, got 0"):
        LinearNetwork(0)

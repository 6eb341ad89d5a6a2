"""How blocks start."""

import jax
import numpy as np
import pytest

from descentlab.given import Given
from descentlab.models import FanInUniform, Fixed, Normal, Orthogonal, Signs, Uniform, Zero

pytestmark = pytest.mark.usefixtures("float64")


def test_normal_entries_have_their_mean_and_standard_deviation():
    draw = np.asarray(Normal(0.3)((20, 50, 40), key=jax.random.key(0)))
    error = 0.3 / np.sqrt(draw.size)
    assert abs(draw.mean()) < 4 * error
    assert abs(draw.std() - 0.3) < 4 * error / np.sqrt(2)


@pytest.mark.parametrize(("start", "bound"), [(Uniform(0.3), 0.3), (FanInUniform(3.0), 3.0 / np.sqrt(50))], ids=str)
def test_uniform_entries_fill_their_interval(start, bound):
    draw = np.asarray(start((20, 50, 40), key=jax.random.key(0)))
    assert np.all(np.abs(draw) <= bound)
    assert np.abs(draw).max() > 0.999 * bound
    error = bound / np.sqrt(3 * draw.size)
    assert abs(draw.mean()) < 4 * error
    assert abs(draw.std() - bound / np.sqrt(3)) < 4 * error


def test_signs_take_the_mean_over_one_half_less_that_over_the_other():
    block = Signs(0.5)((2, 6, 1), key=jax.random.key(0))
    values = np.arange(6.0)
    np.testing.assert_allclose(values @ np.asarray(block), 0.5 * (values[:3].mean() - values[3:].mean()), rtol=1e-15)
    with pytest.raises(ValueError, match=r"even number of rows to halve, got a block of shape \(1, 3, 2\)"):
        Signs()((1, 3, 2), key=jax.random.key(0))


@pytest.mark.parametrize("shape", [(3, 5, 2), (3, 2, 5), (4, 4)])
def test_every_singular_value_of_an_orthogonal_start_is_its_scale(shape):
    draw = Orthogonal(1.7)(shape, key=jax.random.key(0))
    assert draw.shape == shape
    np.testing.assert_allclose(np.linalg.svd(draw, compute_uv=False), 1.7, rtol=1e-13)
    if len(shape) == 3:
        assert not np.allclose(draw[0], draw[1])


def test_zero_is_zero():
    assert not np.any(Zero()((2, 3), key=jax.random.key(0)))


def test_a_fixed_start_is_the_given_array_and_has_its_shape():
    array = Given("w", np.arange(6).reshape(1, 2, 3))
    np.testing.assert_array_equal(Fixed(array)((1, 2, 3), key=jax.random.key(0)), array.value)
    with pytest.raises(ValueError, match=r"'w' must have the block's shape \(2, 3\), got \(1, 2, 3\)"):
        Fixed(array)((2, 3), key=jax.random.key(0))


@pytest.mark.parametrize("kind", [Normal, Orthogonal])
@pytest.mark.parametrize("scale", [-1.0, float("inf"), float("nan")])
def test_a_scale_that_is_negative_or_not_finite_is_refused(kind, scale):
    with pytest.raises(ValueError, match=f"{kind.__name__}.scale must be a finite number"):
        kind(scale)

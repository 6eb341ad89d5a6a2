"""What holds for every curvature matrix: symmetry, batches, blocks and lanes, whatever the loss."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab._tree import array_names, is_meant
from descentlab.curvature import dense
from descentlab.data import FullBatch
from descentlab.models import EachToken, Transformer
from support import members
from support.problems import CLASSIFYING, SMALL, started

pytestmark = pytest.mark.usefixtures("float64")
DEEP = dataclasses.replace(
    SMALL,
    data=FullBatch(5),
    model=Transformer(width=4, depth=2, heads=2, hidden=3, readout=EachToken(2)),
    trained=("query", "value", "up"),
)
FIVE = [dataclasses.replace(one, data=FullBatch(5)) for one in (SMALL, CLASSIFYING)]
each = pytest.mark.parametrize("kind", members.members(members.MATRICES), ids=lambda kind: kind.__name__)


@each
@pytest.mark.parametrize("experiment", FIVE, ids=["least squares", "cross-entropy"])
def test_it_is_symmetric_and_the_same_in_batches(kind, experiment):
    objective, params = started(experiment)
    whole = np.asarray(kind(objective, params).dense())
    size = np.abs(whole).max()
    assert size > 0
    np.testing.assert_allclose(whole, whole.T, atol=1e-12 * size)
    np.testing.assert_allclose(kind(objective, params, 2).dense(), whole, atol=1e-12 * size)


@each
def test_a_block_is_the_part_of_the_matrix_that_its_names_say(kind):
    objective, params = started(DEEP)
    matrix = kind(objective, params)
    whole = np.asarray(matrix.dense())
    assert list(matrix.blocks) == array_names(params)
    assert sum(matrix.blocks.values()) == len(whole)
    names = np.repeat(list(matrix.blocks), list(matrix.blocks.values()))

    def rows(name):
        return np.flatnonzero([is_meant(one, name) for one in names])

    for pair in [
        ("query", "value"),
        ("layers.1.value", "layers.0.query"),
        ("layers.1.query", "query"),
        ("up", "up"),
        ("layers.0.query", "layers.0.query"),
    ]:
        block = matrix[pair]
        expected = whole[np.ix_(rows(pair[0]), rows(pair[1]))]
        assert block.shape == expected.shape
        np.testing.assert_allclose(dense(block), expected, atol=1e-12 * np.abs(whole).max())
    several = matrix.among(("layers.1.query", "layers.0.value"))
    both = np.sort(np.concatenate([rows("layers.1.query"), rows("layers.0.value")]))
    np.testing.assert_allclose(several.dense(), whole[np.ix_(both, both)], atol=1e-12 * np.abs(whole).max())


@each
def test_lanes_are_mapped(kind):
    objective, params = started(DEEP)
    scales = jnp.asarray([0.5, 2.0])

    def square(scale):
        return jnp.sum(kind(objective, jax.tree.map(lambda leaf: scale * leaf, params))["query"].dense() ** 2)

    np.testing.assert_allclose(
        eqx.filter_jit(jax.vmap(square))(scales), [square(scale) for scale in scales], rtol=1e-10
    )


@each
def test_a_block_that_does_not_exist_and_a_matrix_too_large_are_refused(kind):
    matrix = kind(*started(DEEP))
    with pytest.raises(ValueError, match=r"there is no parameter 'querry' here; did you mean query"):
        matrix["querry"]
    with pytest.raises(ValueError, match=r"there is no parameter 'layers\.2\.query' here"):
        matrix["value", "layers.2.query"]
    with pytest.raises(ValueError, match=r"88 x 88 entries takes .* enough for 11 parameters; take fewer blocks"):
        matrix.dense(memory=1000)

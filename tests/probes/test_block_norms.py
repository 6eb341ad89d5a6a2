"""Norms of the Hessian's blocks against dense matrices, and scaled embeddings against drawn ones."""

import jax
import numpy as np
import pytest

from descentlab._describe import replace_at
from descentlab.curvature import Functional, GaussNewton, Hessian
from descentlab.data import FullBatch
from descentlab.experiment import Experiment, start
from descentlab.models import EachToken, NoNorm, Normal, Rectifier, Transformer
from descentlab.probes.block_norms import block_norms, key_of, scaled
from descentlab.tasks import Addition

_TASK = Addition(digits=2)

SMALL = Experiment(
    task=_TASK,
    data=FullBatch(3),
    model=Transformer(
        width=4,
        depth=2,
        heads=1,
        hidden=16,
        causal=True,
        norm=NoNorm(),
        activation=Rectifier(),
        vocabulary=_TASK.vocabulary,
        readout=EachToken(_TASK.classes, places=_TASK.answered),
        embedding=Normal(1.0),
    ),
    trained=("query", "value"),
    steps=0,
)


@pytest.mark.usefixtures("float64")
def test_norms_are_those_of_dense_blocks():
    objective, params = start(SMALL, key=jax.random.key(0))
    many = jax.jit(jax.vmap(lambda key: block_norms(objective, params, 10, key=key)))
    squares = np.asarray(many(jax.random.split(jax.random.key(1), 40))).reshape(40, 3, 4) ** 2
    for at, kind in enumerate((GaussNewton, Functional, Hessian)):
        whole = kind(objective, params)
        matrix = np.asarray(whole.dense())
        edges = np.cumsum([0, *whole.blocks.values()])
        for place, (first, stop) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            exact = np.sum(matrix[first:stop, first:stop] ** 2)
            found = squares[:, at, place]
            assert abs(found.mean() - exact) <= 4.5 * found.std(ddof=1) / np.sqrt(40) + 1e-13 * exact
    assert list(whole.blocks) == ["layers.0.query", "layers.0.value", "layers.1.query", "layers.1.value"]
    assert np.all(squares[:, 1, 3] == 0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("trained", [("query", "value"), ("embed", "position", "query")])
def test_scaled_embeddings_are_those_drawn_at_the_scale(trained):
    experiment = replace_at(SMALL, "trained", trained)
    objective, params = scaled(*start(experiment, key=jax.random.key(0)), 0.3)
    other, drawn = start(replace_at(experiment, "model.embedding", Normal(0.3)), key=jax.random.key(0))
    for one, same in zip(jax.tree.leaves((objective, params)), jax.tree.leaves((other, drawn)), strict=True):
        np.testing.assert_allclose(one, same, rtol=1e-14)
    assert objective.model(params).embed.std() < 0.5


def test_directions_differ_from_seed_to_seed():
    keys = [key_of(SMALL.task.sample(3, None, key=jax.random.key(seed)).inputs) for seed in range(500)]
    assert len({tuple(np.asarray(jax.random.key_data(key))) for key in keys}) == 500

"""End states at which some tokens are fitted, against the Hessian of the whole query block in NumPy."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from descentlab._tree import select
from descentlab.attention import AbstractAttention, Gaussian, Softmax
from descentlab.losses import CrossEntropy
from descentlab.models import MultiHeadAttention, PerToken
from descentlab.objective import Examples, Objective
from descentlab.theory.fitted import fitted_tokens
from descentlab.theory.flat import flat_projector
from descentlab.theory.stationary import Kind, classify
from support.query_block import Layer

pytestmark = pytest.mark.usefixtures("float64")
LANES = 40
FAST = functools.partial(eqx.filter_jit, compiler_options={"xla_backend_optimization_level": 0})


def problem(layer, query, kernel=None):
    """The package's objective and parameters."""
    kernel = kernel or (Gaussian(layer.c) if layer.temperature is None else Softmax(layer.temperature))
    blocks = (jnp.asarray(block) for block in (query, layer.key, layer.value, layer.output))
    params, frozen = select(MultiHeadAttention(*blocks, kernel, PerToken(), False), ("query",))
    return Objective(frozen, Examples(jnp.asarray(layer.inputs), jnp.asarray(layer.targets))), params


@FAST
def _classify(stacked):
    arrays, structure = eqx.partition(stacked, eqx.is_array)

    def one(arrays):
        (objective, params), start = eqx.combine(arrays, structure)
        return classify(objective, params, start)

    return jax.lax.map(one, arrays)


def endings(instances):
    """The endings of stationary points of one shape, each with the start that the run came from.

    They are made up to the same number of lanes, so that those of one shape share a program.
    """
    lanes = [(problem(layer, query), problem(layer, start)[1]) for layer, query, start in instances]
    lanes += (LANES - len(lanes)) * lanes[:1]
    return _classify(jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes))


def kind(found, lane=0):
    return Kind(int(found.kind[lane]))


def blocked():
    """A run by line search that ended at a strict minimum with one token unfitted, whose queries alone would move on.

    Three fitted tokens span the plane of all tokens, and each blocks a direction.
    """
    tokens = [
        [-1.40321837, 0.04051071],
        [0.23360645, 0.7320062],
        [-0.34348303, 0.61437325],
        [2.5861039, 0.02836537],
    ]
    targets = np.array([0.34074958, 0.20173006, 0.25449652, 0.2721647]).reshape(1, 4, 1)
    first, second = np.array([[[1.0], [0.0]]]), np.array([[[0.0], [1.0]]])
    layer = Layer(np.asarray([tokens]), targets, first, second, np.ones((1, 1, 1)), temperature=1.0)
    start = np.array([[[0.19203386], [0.86274886]]])
    return layer, layer.stationary(start), start


def test_a_direction_that_fitted_tokens_block_makes_no_saddle():
    layer, query, start = blocked()
    residual = (layer.outputs(query) - layer.targets).ravel()
    assert np.abs(residual[1:]).max() < 1e-8 < 0.02 < np.abs(residual[0])
    whole = np.linalg.eigvalsh(layer.hessian(query))
    np.testing.assert_allclose(whole, [0.0781, 0.5486], atol=5e-5)
    assert np.linalg.eigvalsh(layer.hessian(query, [[1, 0, 0, 0]]))[0] == pytest.approx(-0.0234, abs=5e-5)
    for radius in (1e-3, 1e-2, 5e-2):
        around = radius * np.stack([[np.cos(a), np.sin(a)] for a in np.linspace(0, 2 * np.pi, 64)])
        assert min(layer.loss(query + step.reshape(1, 2, 1)) for step in around) > layer.loss(query)
    found = endings([(layer, query, start)])
    assert kind(found) is Kind.MINIMUM
    assert found.smallest.value[0] == pytest.approx(whole[0], abs=1e-9)
    assert found.flat[0] == 0


def beside_a_free_sample():
    """The same sample beside another whose fitted tokens can move and stay fitted, so that the Hessian is singular."""
    layer, query, start = blocked()
    random = np.random.default_rng(1)
    inputs, both = np.zeros((2, 4, 6)), np.zeros((2, 6, 1))
    inputs[0, :, :2], inputs[1, :, 2:] = layer.inputs[0], random.normal(size=(4, 4))
    key, value = both.copy(), both.copy()
    key[0, :2], value[0, :2] = layer.key[0], layer.value[0]
    key[:, 2:], value[:, 2:] = random.normal(size=(2, 2, 4, 1))
    queries, starts = random.normal(size=(2, 2, 6, 1))
    queries[0, :2], starts[0, :2] = query[0], start[0]
    wide = Layer(inputs, np.zeros((2, 4, 1)), key, value, np.ones((2, 1, 1)), temperature=1.0)
    residual = np.zeros((2, 4, 1))
    residual[0] = (layer.outputs(query) - layer.targets)[0]
    return wide.with_residual(queries, residual), queries, starts


def test_tokens_that_move_freely_do_not_hide_what_others_block():
    layer, query, start = beside_a_free_sample()
    whole = np.linalg.eigvalsh(layer.hessian(query))
    assert np.linalg.eigvalsh(layer.hessian(query, [[1, 0, 0, 0], [0] * 4]))[0] < -0.01
    assert np.abs(whole[:6]).max() < 1e-9
    assert whole[6] > 1e-5
    assert kind(endings([(layer, query, start)])) is Kind.MINIMUM


def bent():
    """A point whose Hessian is positive on all but a tangent of the fitted set, along which that set bends downhill.

    The query of the third token is that of the first plus twice that of the second. Moving the second along its circle
    of equal outputs takes the third off its own, unless the first moves too, by the square.
    """
    value = np.zeros((1, 3, 2))
    value[0, 0, 0] = 1.0
    layer = Layer(
        inputs=np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 2.0, 0.0]]]),
        targets=np.zeros((1, 3, 1)),
        key=np.array([[[0.0, 1.5], [0.0, -1.5], [0.0, 0.0]]]),
        value=value,
        output=np.array([[[1.0], [0.0]]]),
        c=0.5,
    )
    query = np.array([[[0.0, 0.0], [0.6, 0.0], [0.0, 0.0]]])
    return layer.with_residual(query, np.array([0.02, 0.0, 0.0])), query, query + 1.0


def test_a_hessian_that_is_positive_off_a_tangent_of_the_fitted_set_shows_no_minimum():
    layer, query, start = bent()
    whole, vectors = np.linalg.eigh(layer.hessian(query)[:4, :4])
    assert abs(whole[0]) < 1e-12 < 0.007 < whole[1]
    np.testing.assert_allclose(np.abs(vectors[:, 0]), [0, 0, 0, 1], atol=1e-12)
    assert layer.loss(query + downhill(layer, query, 0.3)) < (1 - 1e-3) * layer.loss(query)
    assert kind(endings([(layer, query, start)])) is Kind.DEGENERATE


def downhill(layer, query, along):
    """The step whose fourth entry is given and whose first three are the best."""
    step = np.array([0.0, 0.0, 0.0, along, 0.0, 0.0]).reshape(query.shape)
    for _ in range(20):
        rest, bend = layer.gradient(query + step)[:3], layer.hessian(query + step)[:3, :3]
        step.ravel()[:3] -= np.linalg.solve(bend, rest)
    return step


def drawn(random, arrangement, kernel):
    """Four tokens in the plane and a stationary point at which a random part of them is fitted; `None` where none is.

    The gradient is linear in the residual: one in its null space is drawn, and targets follow.
    """
    inputs = random.normal(size=(1, 4, 2))
    if arrangement == "duplicates":
        inputs[0, 3] = inputs[0, 0]
    if arrangement == "rank":
        inputs = inputs @ np.outer(*random.normal(size=(2, 2)))
    key, value, query, start = random.normal(size=(4, 1, 2, 1))
    layer = Layer(inputs, np.zeros((1, 4, 1)), key, value, np.ones((1, 1, 1)), **kernel)
    unfitted = random.permutation(4)[: random.integers(2, 4)]
    left, values, _ = np.linalg.svd(layer.jacobian(query)[unfitted])
    null = left[:, (values > 1e-10 * values[0]).sum() :]
    residual = np.zeros(4)
    residual[unfitted] = 2 * null @ random.normal(size=null.shape[1])
    if not null.size or np.abs(residual[unfitted]).min() < 0.05:
        return None
    return layer.with_residual(query, residual), query, start


def smallest(layer, query, counted=None):
    """Of the Hessian on the span of the tokens, and how near to zero any eigenvalue is there."""
    seen = np.linalg.svd(layer.inputs[0])[2][: np.linalg.matrix_rank(layer.inputs[0])]
    values = np.linalg.eigvalsh(seen @ layer.hessian(query, counted) @ seen.T)
    return values[0], np.abs(values).min()


@pytest.mark.parametrize("kernel", [{"temperature": 1.0}, {"c": 0.5}], ids=["softmax", "gaussian"])
def test_the_class_is_that_of_the_whole_hessian(kernel):
    """Along the null space of the tokens nothing changes, and the start lies elsewhere there: that is no drift."""
    random = np.random.default_rng(0)
    instances, whole, part = [], [], []
    while len(instances) < LANES:
        drawing = drawn(random, ("plain", "duplicates", "rank")[len(instances) % 3], kernel)
        if drawing is not None and smallest(*drawing[:2])[1] > 1e-3:
            layer, query, _ = drawing
            unfitted = np.abs(layer.outputs(query) - layer.targets)[..., 0] > 1e-12
            instances.append(drawing)
            whole.append(smallest(layer, query)[0])
            part.append(smallest(layer, query, unfitted)[0])
    whole, part = np.asarray(whole), np.asarray(part)
    assert (whole < 0).sum() > 5
    assert ((whole > 0) & (part < 0)).sum() > 1
    found = endings(instances)
    assert [kind(found, lane) for lane in range(LANES)] == [Kind.MINIMUM if x > 0 else Kind.SADDLE for x in whole]
    np.testing.assert_allclose(found.smallest.value, whole, rtol=1e-6)
    for lane in np.flatnonzero(whole < 0):
        direction = np.asarray(found.direction.query[lane]).ravel()
        layer, query, _ = instances[lane]
        assert direction @ layer.hessian(query) @ direction == pytest.approx(whole[lane], rel=1e-6)


def test_independent_tokens_block_nothing():
    """With D >= Nn a fall of the unfitted token alone is one of the whole: the others can be kept where they are."""
    layer, query, _ = bent()
    inputs = np.array([[[1.0, 0.2, 0.0], [0.1, 1.0, 0.3], [0.4, 0.0, 1.0]]])
    inverse = np.linalg.inv(inputs[0])
    blocks = ((inverse @ layer.inputs[0] @ block[0])[None] for block in (query, layer.key, layer.value))
    query, key, value = blocks
    free = dataclasses.replace(layer, inputs=inputs, key=key, value=value)
    np.testing.assert_allclose(free.outputs(query), layer.outputs(bent()[1]), atol=1e-12)
    found = endings([(free, query, query + 1.0)])
    assert kind(found) is Kind.SADDLE
    direction = np.asarray(found.direction.query[0])
    curvature = direction.ravel() @ free.hessian(query) @ direction.ravel()
    assert found.smallest.value[0] == pytest.approx(curvature, rel=1e-6)
    assert free.loss(query + 0.1 * direction) < free.loss(query) - 1e-6


class Columns(AbstractAttention):
    """Weights of a key sum to one over queries, so that a token's output depends on the queries of all."""

    def weights(self, query, key, mask=None):
        """Softmax along the other axis."""
        del mask
        return jax.nn.softmax(query @ key.T, axis=0)


def test_a_loss_that_does_not_split_over_tokens_has_no_fitted_ones():
    layer, query, _ = blocked()
    objective, params = problem(layer, query)
    zero = jnp.asarray(1e-15)
    assert fitted_tokens(objective, params, zero).tolist() == [[False, True, True, True]]
    assert fitted_tokens(*problem(layer, query, Columns()), zero) is None
    assert fitted_tokens(dataclasses.replace(objective, loss_function=CrossEntropy()), params, zero) is None


@pytest.mark.parametrize("apart", [0.0, 1e-9])
def test_a_difference_of_tokens_that_is_seen_is_not_flat(apart):
    """Two tokens in the plane: equal ones leave one direction that they do not see, nearly equal ones none."""
    layer, query, _ = blocked()
    tokens = np.array([[[0.3, 0.7], [0.3, 0.7 + apart]]])
    pair = dataclasses.replace(layer, inputs=tokens, targets=layer.targets[:, :2], temperature=None, c=0.5)
    assert jnp.trace(flat_projector(*problem(pair, query))) == pytest.approx(1 if apart == 0 else 0, abs=1e-12)


def test_equal_keys_are_equal_to_rounding():
    """Softmax sees nothing of the queries, though the mean of three tenths is not a tenth."""
    layer, query, _ = blocked()
    tokens = np.array([[[0.1, 0.7], [0.1, -0.4], [0.1, 0.2]]])
    assert np.ptp(tokens[0, :, 0] - tokens[0, :, 0].mean()) == 0 < abs(tokens[0, 0, 0] - tokens[0, :, 0].mean())
    equal = dataclasses.replace(layer, inputs=tokens, targets=layer.targets[:, :3])
    assert jnp.trace(flat_projector(*problem(equal, query))) == pytest.approx(query.size, abs=1e-12)

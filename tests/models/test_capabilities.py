"""What probes and theory ask of a model, and what they say to one that does not offer it."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from descentlab.measures.certification import certify
from descentlab.mistake import Mistake
from descentlab.models import AbstractArchitecture, AttentionLayer, AttentionMatrices, LinearNetwork, offering
from descentlab.probes import AttentionShape, FeatureSpectrum, LayerAttention
from descentlab.probes.spectra import jacobian_modes
from descentlab.tasks import SoftmaxHull, TokenRegression
from descentlab.theory.lipschitz import jacobian_lipschitz
from descentlab.theory.theorem_b import TheoremB
from support.problems import SMALL, point_of, started

pytestmark = pytest.mark.usefixtures("float64")
NETWORK = dataclasses.replace(SMALL, model=LinearNetwork(width=4), trained=None)


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        (AttentionShape(), "the probe AttentionShape asks a model for its method `weights`, which Matrices does not"),
        (LayerAttention(), "the probe LayerAttention asks a model for its method `weights`, which Matrices does not"),
        (FeatureSpectrum(), "the feature matrix B asks a model for its method `features`, which Matrices does not"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_model_that_lacks_what_a_probe_asks_for_is_told_so(probe, said):
    with pytest.raises(ValueError, match=said):
        eqx.filter_eval_shape(probe, point_of(NETWORK))


def test_a_task_asks_for_contributions():
    hull = dataclasses.replace(NETWORK, task=TokenRegression(tokens=3, dim=4, target=SoftmaxHull()))
    with pytest.raises(ValueError, match="SoftmaxHull asks a model for its method `contributions`"):
        started(hull)


def test_a_single_layer_is_looked_at_as_one_of_several():
    one, whole = (np.asarray(probe(point_of(SMALL))) for probe in (AttentionShape(), LayerAttention()))
    np.testing.assert_allclose(whole, one[None], rtol=1e-14)


class Bent(eqx.Module):
    """A user's model with curvature in its only block."""

    weight: Array

    def __call__(self, inputs: Array) -> Array:
        return jnp.sin(inputs @ self.weight)


class Sine(AbstractArchitecture):
    """The architecture of it."""

    def init(self, example, *, key):
        return Bent(0.1 * jax.random.normal(key, (example.shape[-1], 1)))


def test_theorem_b_speaks_of_a_model_whose_bound_a_user_registers():
    @jacobian_lipschitz.register
    def _(model: Bent, objective, params):
        del model, params
        longest = jnp.linalg.norm(objective.inputs, axis=-1).max()
        return lambda radius: jnp.full_like(radius, longest**2)

    objective, params = started(dataclasses.replace(SMALL, model=Sine(), trained=None))
    found = TheoremB().constants(objective, params, jacobian_modes(objective, params)[0])
    longest = np.linalg.norm(objective.inputs, axis=-1).max()
    assert found.beta == pytest.approx(longest**2, rel=1e-14)
    certified = certify(dataclasses.replace(SMALL, model=Sine(), trained=None))
    assert [row.name for row in certified.rows] == ["Theorem B"]
    assert certified.advice == []
    network, blocks = started(NETWORK)
    unknown = TheoremB().constants(network, blocks, jacobian_modes(network, blocks)[0])
    assert np.isnan(unknown.beta)
    with pytest.raises(Mistake, match="no certificate speaks of LinearNetwork with these blocks trained"):
        certify(NETWORK)


def test_a_model_offers_what_it_has_a_method_for():
    layer = AttentionLayer(heads=2).init(jnp.ones((3, 4)), key=jax.random.key(0))
    assert offering(layer, AttentionMatrices, "a test") is layer

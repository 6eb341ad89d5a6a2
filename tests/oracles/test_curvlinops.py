"""Hessian and Gauss-Newton products of an attention layer against curvlinops, on the same weights and data.

Blind spot covered: our products and `jax.hessian` share one automatic differentiation. Here the layer is written again
in PyTorch and differentiated there. `make bench` makes the environment that has both.
"""

import dataclasses

import numpy as np
import pytest

from descentlab.attention import Gaussian, Softmax
from descentlab.curvature import GaussNewton, Hessian, eigenpairs
from support.problems import SMALL, started

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
curvlinops = pytest.importorskip("curvlinops", reason="curvlinops is not installed")

pytestmark = [
    pytest.mark.usefixtures("float64"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning"),
]


class Layer(torch.nn.Module):
    """The layer with its blocks in our shapes: heads, tokens' width, width of a head."""

    def __init__(self, blocks, weigh):
        super().__init__()
        self.blocks = torch.nn.ParameterList([torch.tensor(one) for one in blocks])
        self.weigh = weigh

    def forward(self, tokens):
        query, key, value, output = self.blocks
        queries, keys, values = (torch.einsum("ntd,hde->nhte", tokens, one) for one in (query, key, value))
        return torch.einsum("nhte,hed->ntd", self.weigh(queries, keys) @ values, output)


def softmax(queries, keys):
    return torch.softmax(queries @ keys.mT / queries.shape[-1] ** 0.5, dim=-1)


def gaussian(queries, keys):
    distances = (queries[..., :, None, :] - keys[..., None, :, :]).square().sum(-1)
    return torch.exp(-distances / (2 * queries.shape[-1] ** 0.5))


BLOCKS = ("query", "key", "value", "output")


@pytest.fixture(params=[(Softmax(), softmax), (Gaussian(), gaussian)], ids=["softmax", "gaussian"])
def twins(request):
    """Our objective and parameters; the module with the same weights, and its examples."""
    kernel, weigh = request.param
    objective, params = started(dataclasses.replace(SMALL, model=dataclasses.replace(SMALL.model, attention=kernel)))
    module = Layer([np.array(getattr(params, name)) for name in BLOCKS], weigh)
    examples = [(torch.tensor(np.array(objective.inputs)), torch.tensor(np.array(objective.targets)))]
    assert tuple(Hessian(objective, params).blocks) == BLOCKS
    return objective, params, module, examples


def theirs(kind, module, examples):
    """The matrix for f = 1/(2N) sum of squares, which is a mean of squares but for a factor."""
    operator = kind(module, torch.nn.MSELoss(), list(module.blocks), examples)
    scale = examples[0][1][0].numel() / 2
    return scale * (operator @ torch.eye(operator.shape[1], dtype=torch.float64)).numpy()


@pytest.mark.parametrize("ours", [Hessian, GaussNewton])
def test_products_are_those_of_curvlinops(twins, ours):
    objective, params, module, examples = twins
    kind = {Hessian: curvlinops.HessianLinearOperator, GaussNewton: curvlinops.GGNLinearOperator}[ours]
    expected = theirs(kind, module, examples)
    found = np.asarray(ours(objective, params).dense())
    np.testing.assert_allclose(found, expected, atol=1e-13 * np.abs(expected).max())
    assert np.abs(expected).max() > 1e-3


def test_eigenvalues_are_those_of_its_matrix(twins):
    objective, params, module, examples = twins
    exact = np.linalg.eigvalsh(theirs(curvlinops.HessianLinearOperator, module, examples))
    found = eigenpairs(Hessian(objective, params), top=3, bottom=2)
    assert found.converged.all()
    np.testing.assert_allclose(found.values.value, [*exact[:-4:-1], *exact[:2]], atol=1e-8 * exact[-1])

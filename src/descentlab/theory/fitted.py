r"""Second-order tests where some tokens are fitted already: of the whole loss, and of parts that bound it from below.

With the query block alone trained, $f = \sum_{ik} f_{ik}$ over tokens. Let B be the tokens that are not fitted. Any
set C of tokens that contains B gives a lower bound $f_C = \sum_C f_{ik} \le f$ that equals f where the others are
fitted. So negative curvature of f itself makes a saddle, and positive curvature of some $f_C$, off the directions
that no token of C sees, a minimum. Negative curvature of $f_C$ decides nothing: fitted tokens may block that direction.
Proofs: `docs/theory/stationary.md`.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp

from descentlab._tree import block_names
from descentlab._types import Array, Bool, Float, PyTree
from descentlab.losses import SquaredError
from descentlab.models import MultiHeadAttention, PerToken
from descentlab.objective import Objective
from descentlab.theory.flat import flat_projector, unmoved_tokens

__all__ = ["Tests", "counted_loss", "fitted_tokens", "second_order_tests", "splits_over_tokens"]

FREE = 1e-3
"""A direction leaves fitted outputs as they are when they change by less than this times the most they can.

A residual of 1e-6, which counts as zero, adds a curvature of that size; a change above the root of it outweighs that.
"""


class Tests(NamedTuple):
    """What second derivatives are taken of and which directions are left out, one row a test, the whole loss first.

    Attributes:
        counted: the tokens whose loss is counted.
        left_out: projectors on the directions that are left out.
    """

    counted: Bool[Array, "test batch time"]
    left_out: Float[Array, "test param param"]


def fitted_tokens(objective: Objective, params: PyTree, zero: Array) -> Bool[Array, "batch time"] | None:
    """Which tokens have a loss of at most `zero`, where the loss splits over tokens; `None` where it does not.

    It splits where outputs do (see `splits_over_tokens`) and are trained by least squares.
    """
    if not splits_over_tokens(objective.model(params), params) or not isinstance(objective.loss_function, SquaredError):
        return None
    return _token_losses(objective, params) <= zero


@functools.singledispatch
def splits_over_tokens(model: PyTree, params: PyTree) -> bool:
    """Whether each token's output moves with the trained blocks through that token alone.

    Register it for an architecture of which this is known.
    """
    del model, params
    return False


@splits_over_tokens.register
def _(model: MultiHeadAttention, params: PyTree) -> bool:
    """Where the query block alone is trained, outputs are by token, and a row of S has no other query but its own."""
    by_token = isinstance(model.readout, PerToken) and model.attention.facts.row_by_row
    return by_token and block_names(params) == ("query",)


def counted_loss(objective: Objective, params: PyTree, counted: Bool[Array, "batch time"]) -> Float[Array, ""]:
    """The part of the loss that comes from the tokens that are counted."""
    return jnp.sum(jnp.where(counted, _token_losses(objective, params), 0.0))


def _token_losses(objective: Objective, params: PyTree) -> Float[Array, "batch time"]:
    residual = objective.residual(params).reshape(*objective.inputs.shape[:2], -1)
    return 0.5 * jnp.sum(residual**2, axis=-1)


def second_order_tests(objective: Objective, params: PyTree, fitted: Bool[Array, "batch time"]) -> Tests:
    """The test of the whole loss, which alone can make a saddle, and two of parts of it, which can make a minimum.

    The first leaves out the directions along which the unfitted tokens see nothing and no fitted output changes to
    first order; the Hessian vanishes on them. The second counts, beside the unfitted tokens, the fitted ones that no
    direction left out by the first moves: these may block a direction in which the others fall. The third counts the
    unfitted tokens alone.

    Args:
        objective: one for which `fitted_tokens` is not `None`.
        params: where.
        fitted: which tokens are fitted there.
    """
    unseen = flat_projector(objective, params, ~fitted)
    free = _free(objective, params, fitted, unseen)
    blocking = ~fitted | unmoved_tokens(objective, params, free)
    counted = jnp.stack([jnp.ones_like(fitted), blocking, ~fitted])
    return Tests(counted, jnp.stack([free, flat_projector(objective, params, blocking), unseen]))


def _free(objective: Objective, params: PyTree, fitted: Array, unseen: Array) -> Float[Array, "param param"]:
    """The projector on the part of `unseen` along which no fitted output changes to first order."""
    jacobian = objective.jacobian(params)
    rows = jnp.where(jnp.repeat(fitted.ravel(), jacobian.shape[0] // fitted.size)[:, None], jacobian, 0.0)
    _, values, basis = jnp.linalg.svd(rows @ unseen, full_matrices=False)
    changed = basis * (values > FREE * jnp.linalg.norm(rows, ord=2))[:, None]
    return unseen - changed.T @ changed

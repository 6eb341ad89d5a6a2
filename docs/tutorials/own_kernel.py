r"""A kernel of one's own, and what Theorem B needs to know of it.

Cosine attention takes S_kj = cos(w q_k . k_j / sqrt(d)), without row normalisation. A kernel is one method, `weights`.
Its Lipschitz constants are two more lines of mathematics. With z = w q . k / sqrt(d), |cos'| <= 1 and |cos''| <= 1, so
with x_i = ||X_i||_2, t_i the longest token, kappa as for softmax and [m=2] = 1 where both query and key move:

    ||dZ_i||_F <= w x_i^2 kappa / sqrt(d)               first and second order of the scores, as on the page on
    ||d2Z_i||_F <= [m=2] w x_i^2 / sqrt(d)              Lipschitz constants, section "Proof: softmax and linear"
    ||dS_i||_F <= ||dZ_i||_F
    ||d2S_i||_F <= max_k ||row k of dZ_i|| ||dZ_i||_F + ||d2Z_i||_F,   ||row k of dZ_i|| <= w t_i x_i kappa / sqrt(d)

and B_h multiplies by x_i and averages squares over the samples.
"""

import equinox as eqx
import jax.numpy as jnp

from descentlab import Experiment, FullBatch, certify, train, use_compilation_cache
from descentlab.attention import AbstractAttention
from descentlab.definitions import positive, real
from descentlab.models import AttentionLayer, Normal
from descentlab.optim import GD
from descentlab.probes import Loss
from descentlab.tasks import TokenRegression
from descentlab.theory import LipschitzSearch
from descentlab.theory.lipschitz import KernelBounds, kernel_bounds

use_compilation_cache()


class Cosine(AbstractAttention):
    """Cosine attention; `w` is the frequency."""

    w: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        positive(self, "w")

    def weights(self, query, key, mask=None):
        """The attention matrix S; masked entries (`mask` false) are exactly zero."""
        weights = jnp.cos(self.w * query @ key.T / jnp.sqrt(1.0 * query.shape[-1]))
        return weights if mask is None else jnp.where(mask, weights, 0.0)


model = AttentionLayer(Cosine(2.0), heads=4, head_dim=3, value=Normal(0.0), output=Normal(300.0))
base = Experiment(
    task=TokenRegression(tokens=2, dim=8),
    data=FullBatch(2),
    model=model,
    trained=("query", "key", "value"),
    probes={"loss": Loss(), "search": LipschitzSearch()},
    steps=400,
)


# Without this a certificate says that no bound is known. Register before the first run: programs are compiled once.
@kernel_bounds.register
def _(attention: Cosine, where, radius):
    w, kappa, root = attention.w, where.scores(radius), jnp.sqrt(1.0 * where.head_dim)
    first = w * kappa / root * where.power_sum(where.spectral**3)
    rows = where.longest * where.spectral**4 * (w * kappa / root) ** 2
    return KernelBounds(first, where.power_sum(rows + (where.moving == 2) * w * where.spectral**3 / root))


after = {row.name: row for row in certify(base).rows}["Theorem B"]
print("after:", after.applies, "| ratio", after.factor, "step", after.step, "steps", after.steps)
assert after.applies
assert after.factor <= 1

# Train with the certified step. The search looks for points that change J faster than claimed, and finds none.
run = train(eqx.tree_at(lambda e: e.optimizer, base, GD(after.step)))
found, bound = run["search"].values[0, 0]
print("largest change of J found:", found, "claimed:", bound, "loss:", run["loss"].values[0, [0, -1]])
assert found <= bound
assert run["loss"].values[0, -1] < run["loss"].values[0, 0]

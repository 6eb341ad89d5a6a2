"""The training objective: one convention for loss, gradient, Jacobian and Gram matrix.

With N samples, outputs F(theta) and targets Y, the scaled residual is r = vec(F - Y) / sqrt(N) and

    f(theta) = 1/2 ||r||^2 = 1/(2N) sum_i ||F_i - Y_i||^2,   J = dr/dtheta,   grad f = J^T r,   K = J J^T.

Every rate, step size and certificate of the package is stated in these quantities.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from descentlab._types import Array, Float, PyTree

__all__ = ["ZERO_LOSS", "Objective"]

ZERO_LOSS = 1e-20
"""A loss is called zero when f <= ZERO_LOSS * f_0 in float64; below that, rounding decides."""


class Objective(eqx.Module):
    """Least squares on a full batch as a function of the trained blocks.

    Args:
        frozen: the model with `None` in place of the trained blocks.
        inputs: the N examples, a tree with a leading axis.
        targets: what the model should return for each.
    """

    frozen: PyTree
    inputs: Float[Array, "batch ..."]
    targets: Float[Array, "batch ..."]

    def model(self, params: PyTree) -> PyTree:
        """The whole model, its trained blocks set to `params`."""
        return eqx.combine(params, self.frozen)

    def residual(self, params: PyTree) -> Float[Array, " row"]:
        """The scaled residual r, samples outermost, then tokens, then outputs."""
        outputs = jax.vmap(self.model(params))(self.inputs)
        return (outputs - self.targets).ravel() / jnp.sqrt(outputs.shape[0])

    def loss(self, params: PyTree) -> Float[Array, ""]:
        """f = 1/2 ||r||^2."""
        # A sum, not a product: the compiler fuses it with what makes the residual.
        return 0.5 * jnp.sum(self.residual(params) ** 2)

    def jacobian(self, params: PyTree) -> Float[Array, "row param"]:
        """J, its columns the trained parameters in tree order.

        Each output depends on its own sample alone, so the rows of one sample are found from that sample.
        """

        def of_sample(params: PyTree, example: PyTree) -> Array:
            return self.model(params)(example).ravel()

        rows = jax.vmap(jax.jacrev(of_sample), in_axes=(None, 0))(params, self.inputs)
        samples, outputs = jax.tree.leaves(rows)[0].shape[:2]
        columns = [leaf.reshape(samples * outputs, -1) for leaf in jax.tree.leaves(rows)]
        return jnp.concatenate(columns, axis=1) / jnp.sqrt(samples)

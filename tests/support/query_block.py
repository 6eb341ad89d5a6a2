"""The query block alone in NumPy: outputs, loss, gradient and Hessian by the formulas of `docs/theory/query_block.md`.

Nothing here calls JAX or the package. Axes: sample, token, output, head; a row of a Jacobian is a token's output.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer with its data; `temperature` makes it softmax, `c` Gaussian."""

    inputs: np.ndarray
    targets: np.ndarray
    key: np.ndarray
    value: np.ndarray
    output: np.ndarray
    temperature: float | None = None
    c: float | None = None

    def with_residual(self, query, residual):
        """Targets by which the residual at a query block is what is wanted."""
        return dataclasses.replace(self, targets=self.outputs(query) - residual.reshape(self.targets.shape))

    def attention(self, query):
        """Weights, and their first and second derivatives in a token's query, of every head."""
        queries, keys = (np.einsum("nid,hde->hnie", self.inputs, block) for block in (query, self.key))
        if self.temperature is not None:
            keys = keys / (self.temperature * np.sqrt(keys.shape[-1]))
            logits = np.einsum("hnie,hnje->hnij", queries, keys)
            weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
            weights /= weights.sum(axis=-1, keepdims=True)
            apart = keys[:, :, None] - np.einsum("hnij,hnje->hnie", weights, keys)[:, :, :, None]
            spread = np.einsum("hnij,hnije,hnijf->hnief", weights, apart, apart)
            second = apart[..., :, None] * apart[..., None, :] - spread[:, :, :, None]
            return weights, weights[..., None] * apart, weights[..., None, None] * second
        apart = queries[:, :, :, None] - keys[:, :, None]
        weights = np.exp(-self.c * np.sum(apart**2, axis=-1))
        second = 4 * self.c**2 * apart[..., :, None] * apart[..., None, :] - 2 * self.c * np.eye(apart.shape[-1])
        return weights, -2 * self.c * weights[..., None] * apart, weights[..., None, None] * second

    def values(self):
        return np.einsum("nid,hde,heo->hnio", self.inputs, self.value, self.output)

    def outputs(self, query):
        return np.einsum("hnij,hnjo->nio", self.attention(query)[0], self.values())

    def loss(self, query):
        return np.sum((self.outputs(query) - self.targets) ** 2) / (2 * len(self.inputs))

    def jacobian(self, query):
        """Derivatives of the outputs, not scaled by the number of samples."""
        slopes = np.einsum("hnije,hnjo->niohe", self.attention(query)[1], self.values())
        return np.einsum("nid,niohe->niohde", self.inputs, slopes).reshape(self.targets.size, -1)

    def gradient(self, query):
        return self.jacobian(query).T @ (self.outputs(query) - self.targets).ravel() / len(self.inputs)

    def hessian(self, query, counted=None):
        """Second derivatives of the loss of the tokens that are counted, all by default."""
        residual = self.outputs(query) - self.targets
        share = np.ones(residual.shape[:2]) if counted is None else np.asarray(counted, float)
        rows = self.jacobian(query) * np.repeat(share.ravel(), residual.shape[-1])[:, None]
        bends = np.einsum("nio,hnijef,hnjo->nihef", residual, self.attention(query)[2], self.values())
        heads, dim, width = query.shape
        functional = np.zeros((heads, dim, width, heads, dim, width))
        for h in range(heads):
            functional[h, :, :, h] = np.einsum("ni,nid,nig,nief->degf", share, self.inputs, self.inputs, bends[:, :, h])
        return (rows.T @ rows + functional.reshape(query.size, query.size)) / len(self.inputs)

    def stationary(self, query, rounds=30):
        """The stationary point that Newton's method finds."""
        for _ in range(rounds):
            query = query - np.linalg.solve(self.hessian(query), self.gradient(query)).reshape(query.shape)
        return query

"""Attention, its gradients and its Gram matrices written with loops, and derivatives by differences.

Nothing here calls JAX or the package: the formulas are those of Song et al. (2024) and of their derivation by hand.
"""

import math

import numpy as np

from descentlab import attention

BLOCKS = ("query", "key", "value", "output")


def _kept(mask, row, others):
    return [j for j in range(others) if mask is None or mask[row, j]]


def divisor(scaling, width):
    if isinstance(scaling, attention.Power):
        return width**scaling.exponent
    return 1.0 if isinstance(scaling, attention.NoScaling) else math.sqrt(width)


def softmax(query, key, mask=None, temperature=1.0, scaling=None):
    weights = np.zeros((len(query), len(key)))
    for k, q in enumerate(query):
        kept = _kept(mask, k, len(key))
        logits = [q @ key[j] / (temperature * divisor(scaling, len(q))) for j in kept]
        total = sum(math.exp(z) for z in logits)
        for j, z in zip(kept, logits, strict=True):
            weights[k, j] = math.exp(z) / total
    return weights


def gaussian(query, key, mask=None, c=None, scaling=None):
    c = 1 / (2 * divisor(scaling, query.shape[1])) if c is None else c
    weights = np.zeros((len(query), len(key)))
    for k, q in enumerate(query):
        for j in _kept(mask, k, len(key)):
            weights[k, j] = math.exp(-c * sum((q - key[j]) ** 2))
    return weights


def normalized_gaussian(query, key, mask=None, c=None, scaling=None):
    weights = gaussian(query, key, mask, c, scaling)
    for k in range(len(query)):
        if weights[k].any():
            weights[k] /= sum(weights[k])
    return weights


def linear(query, key, mask=None, scaling=None):
    weights = np.zeros((len(query), len(key)))
    for k, q in enumerate(query):
        for j in _kept(mask, k, len(key)):
            weights[k, j] = q @ key[j] / divisor(scaling, len(q))
    return weights


def relu(query, key, mask=None, scaling=None):
    weights = np.zeros((len(query), len(key)))
    for k in range(len(query)):
        kept = _kept(mask, k, len(key))
        for j in kept:
            weights[k, j] = max(0.0, query[k] @ key[j] / divisor(scaling, query.shape[1])) / len(kept)
    return weights


def alibi(query, key, mask=None, slope=2.0**-8, scaling=None):
    weights = np.zeros((len(query), len(key)))
    for k, q in enumerate(query):
        kept = _kept(mask, k, len(key))
        logits = [q @ key[j] / divisor(scaling, len(q)) - slope * abs(k - j) for j in kept]
        for j, z in zip(kept, logits, strict=True):
            weights[k, j] = math.exp(z) / sum(map(math.exp, logits))
    return weights


def head_gaussian(kernel, query, key, mask=None):
    factor = 1.0 if kernel.factors is None else kernel.factors[0]
    return gaussian(query, key, mask, factor / (2 * divisor(kernel.scaling, query.shape[1])))


WEIGHTS = {
    attention.ALiBi: lambda kernel: lambda q, k, mask=None: alibi(q, k, mask, scaling=kernel.scaling),
    attention.HeadGaussian: lambda kernel: lambda q, k, mask=None: head_gaussian(kernel, q, k, mask),
    attention.Softmax: lambda kernel: lambda q, k, mask=None: softmax(q, k, mask, kernel.temperature, kernel.scaling),
    attention.Gaussian: lambda kernel: lambda q, k, mask=None: gaussian(q, k, mask, kernel.c, kernel.scaling),
    attention.NormalizedGaussian: lambda kernel: (
        lambda q, k, mask=None: normalized_gaussian(q, k, mask, kernel.c, kernel.scaling)
    ),
    attention.Linear: lambda kernel: lambda q, k, mask=None: linear(q, k, mask, kernel.scaling),
    attention.ReLU: lambda kernel: lambda q, k, mask=None: relu(q, k, mask, kernel.scaling),
}
"""The naive attention matrix of a kernel, by its class."""


def difference_quotient(function, at, spacing=1e-3):
    """The derivative of a function of one array, by differences of fourth order in every entry."""
    at = np.array(at, dtype=np.float64)
    columns = []
    for place in np.ndindex(at.shape):
        total = 0.0
        for shift, weight in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
            moved = at.copy()
            moved[place] += shift * spacing
            total = total + weight * np.asarray(function(moved), dtype=np.float64)
        columns.append(total / spacing)
    return np.stack(columns, axis=-1).reshape(np.shape(columns[0]) + at.shape)


def heads(inputs, params, weights):
    """For every sample and head: S, Q, K, V and the token matrix X."""
    for i, x in enumerate(inputs):
        for h in range(len(params["query"])):
            q, k, v = (x @ params[name][h] for name in ("query", "key", "value"))
            yield i, h, weights(q, k), q, k, v, x


def outputs(inputs, params, weights, *, residual=False, pool=False):
    """F, with axes sample, token, output (or sample, output after the mean over tokens)."""
    result = np.zeros((*inputs.shape[:2], params["output"].shape[-1]))
    for i, h, s, _, _, v, _ in heads(inputs, params, weights):
        for k in range(inputs.shape[1]):
            for j in range(inputs.shape[1]):
                result[i, k] += s[k, j] * v[j] @ params["output"][h]
    if residual:
        result = result + inputs
    return np.stack([sum(sample) / len(sample) for sample in result]) if pool else result


def loss(inputs, targets, params, weights):
    """f = 1/(2N) sum of squares."""
    return sum(float(r) ** 2 for r in (outputs(inputs, params, weights) - targets).ravel()) / (2 * len(inputs))


def gradient(inputs, targets, params, kernel):
    """The gradient of f in the four blocks, for `attention.Softmax` and `attention.Gaussian`."""
    weights = WEIGHTS[type(kernel)](kernel)
    residual = outputs(inputs, params, weights) - targets
    found = {name: np.zeros_like(params[name]) for name in BLOCKS}
    for i, h, s, q, k, v, x in heads(inputs, params, weights):
        r, w_out = residual[i], params["output"][h]
        p = s * (r @ w_out.T @ v.T)
        found["value"][h] += x.T @ s.T @ r @ w_out.T
        found["output"][h] += (s @ v).T @ r
        if isinstance(kernel, attention.Softmax):
            g = p - s * p.sum(axis=1, keepdims=True)
            found["query"][h] += x.T @ g @ k / (kernel.temperature * math.sqrt(q.shape[1]))
            found["key"][h] += x.T @ g.T @ q / (kernel.temperature * math.sqrt(q.shape[1]))
        else:
            c = 1 / (2 * math.sqrt(q.shape[1])) if kernel.c is None else kernel.c
            found["query"][h] += -2 * c * x.T @ (np.diag(p.sum(axis=1)) @ q - p @ k)
            found["key"][h] += -2 * c * x.T @ (np.diag(p.sum(axis=0)) @ k - p.T @ q)
    return {name: value / len(inputs) for name, value in found.items()}


def features(inputs, params, weights):
    """B / sqrt(N), rows by sample and token, columns by head and token width."""
    samples, tokens, dim = inputs.shape
    found = np.zeros((samples, tokens, len(params["query"]), dim))
    for i, h, s, _, _, _, x in heads(inputs, params, weights):
        found[i, :, h] = s @ x
    return found.reshape(samples * tokens, -1) / math.sqrt(samples)


def gram_value(inputs, params, weights):
    """K of the value block: sum over heads of (B_h B_h^T) kron (W_O^T W_O)."""
    rows = features(inputs, params, weights)
    dim = inputs.shape[2]
    parts = [rows[:, h * dim : (h + 1) * dim] for h in range(len(params["query"]))]
    return sum(np.kron(b @ b.T, w.T @ w) for b, w in zip(parts, params["output"], strict=True))


def gram_output(inputs, params, weights):
    """K of the output block: C C^T kron I."""
    samples, tokens = inputs.shape[:2]
    found = np.zeros((samples, tokens, len(params["query"]), params["value"].shape[-1]))
    for i, h, s, _, _, v, _ in heads(inputs, params, weights):
        found[i, :, h] = s @ v
    c = found.reshape(samples * tokens, -1) / math.sqrt(samples)
    return np.kron(c @ c.T, np.eye(params["output"].shape[-1]))


def gram_query(inputs, params, kernel):
    """K of the query block where a token has one output: sum over heads of (X X^T) * (Gamma Gamma^T)."""
    samples, tokens, dim = inputs.shape
    width = params["query"].shape[-1]
    rows = np.zeros((len(params["query"]), samples, tokens, width))
    for i, h, s, q, keys, v, _ in heads(inputs, params, WEIGHTS[type(kernel)](kernel)):
        scalars = (v @ params["output"][h])[:, 0]
        for k in range(tokens):
            for j in range(tokens):
                if isinstance(kernel, attention.Softmax):
                    mean = sum(s[k, m] * scalars[m] for m in range(tokens))
                    rows[h, i, k] += s[k, j] * (scalars[j] - mean) * keys[j] / (kernel.temperature * math.sqrt(width))
                else:
                    c = 1 / (2 * math.sqrt(width)) if kernel.c is None else kernel.c
                    rows[h, i, k] += -2 * c * s[k, j] * scalars[j] * (q[k] - keys[j])
    stacked = inputs.reshape(-1, dim)
    flat = rows.reshape(len(rows), -1, width)
    return sum((stacked @ stacked.T) * (g @ g.T) for g in flat) / samples

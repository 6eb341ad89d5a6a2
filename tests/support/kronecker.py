"""The Hessian of one attention head transcribed with Kronecker products and commutation matrices, in NumPy.

Formulas are those of Ormaniec et al. (2024), theorems 3.1 and 3.2, for f = 1/2 ||F - Y||^2; `scale` is the factor of a
score, 1 / (tau sqrt(d)). Derivatives of weights are written entry by entry. Nothing here calls JAX or the package.
"""

import itertools

import numpy as np

eye = np.eye


def kron(*factors):
    found = np.eye(1)
    for factor in factors:
        found = np.kron(found, factor)
    return found


def commutation(rows, columns):
    """Maps vec_r of a matrix of `columns` rows and `rows` columns to vec_r of its transpose."""
    found = np.zeros((rows * columns, rows * columns))
    for a, b in itertools.product(range(rows), range(columns)):
        found[a * columns + b, b * rows + a] = 1
    return found


def softmax_slopes(weights):
    """dA/dT (rows ij, columns kl) and d2A/dT2 (rows i, j, k, l, columns k', m)."""
    length = len(weights)
    first, second = np.zeros((length,) * 4), np.zeros((length,) * 6)
    for i, a in enumerate(weights):
        for j, k in itertools.product(range(length), repeat=2):
            first[i, j, i, k] = a[j] * ((j == k) - a[k])
            for m in range(length):
                bend = ((j == m) - a[m]) * ((j == k) - a[k]) - a[k] * ((k == m) - a[m])
                second[i, j, i, k, i, m] = a[j] * bend
    return first.reshape(length**2, -1), second.reshape(length**4, -1)


def linear_slopes(weights):
    length = len(weights)
    return np.eye(length**2), np.zeros((length**4, length**2))


def gaussian_slopes(weights):
    length = len(weights)
    second = np.zeros((length,) * 6)
    for i, j in itertools.product(range(length), repeat=2):
        second[i, j, i, j, i, j] = weights[i, j]
    return np.diag(weights.ravel()), second.reshape(length**4, -1)


def factors(inputs, slopes):
    """Z_1 and Z_2."""
    tokens, one = inputs.T, eye(len(inputs))
    first, second = slopes
    pairs = kron(inputs, inputs)
    return kron(one, tokens) @ first @ pairs, kron(one, tokens, tokens, tokens) @ second @ pairs


def product_blocks(head, targets, weights, slopes, scale):
    """H_o and H_f of a kernel whose scores are products, by block."""
    inputs, query, key, value = head
    length, dim = inputs.shape
    width, one = query.shape[1], eye(dim)
    first, second = factors(inputs, slopes)
    moves = {"query": kron(one, key), "key": kron(query, one) @ commutation(width, dim)}
    mean = weights @ inputs
    error = (mean @ value - targets).reshape(1, -1)
    spread = kron(one, commutation(dim, dim)) @ kron(one.reshape(-1, 1), one)

    outer = {("value", "value"): kron(mean.T @ mean, one)}
    functional = {("value", "value"): np.zeros((dim * dim, dim * dim))}
    for a, right in moves.items():
        outer["value", a] = scale * kron(mean.T, value.T) @ first @ right
        functional["value", a] = scale * kron(error, eye(dim * dim)) @ kron(eye(length), spread) @ first @ right
        for b, left in moves.items():
            middle = first.T @ kron(eye(length), value @ value.T) @ first
            outer[b, a] = scale**2 * left.T @ middle @ right
    left = kron(error, eye(dim * width)) @ kron(eye(length), value.T, one, key.T) @ second
    functional["query", "query"] = scale**2 * left @ moves["query"]
    inner = kron(eye(length), value.T, one) @ kron(first, one) @ spread
    product = scale * kron(error, eye(dim * width)) @ kron(inner, eye(width))
    functional["query", "key"] = scale**2 * left @ moves["key"] + product
    # The same substitution on the left for the key block: rows of Z_2 are commuted with those of its two matrices.
    bent = kron(error, eye(dim * dim)) @ kron(eye(length), value.T, one, one) @ second
    functional["key", "key"] = scale**2 * moves["key"].T @ bent @ moves["key"]
    return _symmetric(outer), _symmetric(functional)


def merged_blocks(head, targets, weights, slopes):
    """H_o and H_f of the one matrix W_QK of T = X W_QK X^T."""
    inputs, _, _, value = head
    length, dim = inputs.shape
    first, second = factors(inputs, slopes)
    error = (weights @ inputs @ value - targets).reshape(1, -1)
    outer = first.T @ kron(eye(length), value @ value.T) @ first
    functional = kron(error, eye(dim * dim)) @ kron(eye(length), value.T, eye(dim * dim)) @ second
    return outer, functional


def gaussian_blocks(head, targets, weights, slopes, c):
    """H_o and H_f of the Gaussian kernel, from the matrices D of derivatives of its scores."""
    inputs, query, key, value = head
    length, dim = inputs.shape
    width, first = query.shape[1], slopes[0]
    apart = (inputs @ query)[:, None] - (inputs @ key)[None]
    places = list(itertools.product(range(length), repeat=2))
    moves = {
        "query": np.stack([-2 * c * kron(inputs[i][None], apart[i, j][None])[0] for i, j in places]),
        "key": np.stack([2 * c * kron(inputs[j][None], apart[i, j][None])[0] for i, j in places]),
    }
    mean, error = weights @ inputs, weights @ inputs @ value - targets
    through = kron(eye(length), value.T @ inputs.T) @ first
    outer = {("value", "value"): kron(mean.T @ mean, eye(dim))}
    functional = {("value", "value"): np.zeros((dim * dim, dim * dim))}
    for a, right in moves.items():
        outer["value", a] = kron(mean.T, eye(dim)) @ through @ right
        features = (kron(eye(length), inputs.T) @ first @ right).reshape(length, dim, -1)
        functional["value", a] = sum(kron(f, e[:, None]) for f, e in zip(features, error, strict=True))
        for b, left in moves.items():
            outer[b, a] = left.T @ through.T @ through @ right
    cost = np.diag((weights * (error @ value.T @ inputs.T)).ravel())
    from_query, from_key = kron(inputs, np.ones((length, 1))), kron(np.ones((length, 1)), inputs)
    sides = {"query": from_query, "key": -from_key}
    for (a, left), (b, right) in itertools.product(moves.items(), repeat=2):
        bent = -2 * c * kron(sides[a].T @ cost @ sides[b], eye(width))
        functional[a, b] = left.T @ cost @ right + bent
    return _symmetric(outer), _symmetric(functional)


def _symmetric(blocks):
    return {(b, a): block.T for (a, b), block in blocks.items()} | blocks

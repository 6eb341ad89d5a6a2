"""Losses and gradients of small models in NumPy, written down from their formulas and sharing no code with the package.

Each function returns the loss and, but for the decoder, its gradient by block.
"""

import numpy as np
from scipy.special import expit, log_softmax, softmax

Blocks = dict[str, np.ndarray]


def pooled_attention(blocks: Blocks, inputs: np.ndarray, signs: np.ndarray, share: float) -> tuple[float, Blocks]:
    """Softmax attention of one head with scores q^T k, its tokens summed times `share`; mean logistic loss.

    Args:
        blocks: query and key (d, m), value (d, e), output (e,).
        inputs: axes sample, token, d.
        signs: +1 or -1, one a sample.
        share: factor of the sum over tokens.
    """
    query, key, value, output = (blocks[name] for name in ("query", "key", "value", "output"))
    loss, gradient = 0.0, {name: np.zeros_like(array) for name, array in blocks.items()}
    for tokens, sign in zip(inputs, signs, strict=True):
        queries, keys = tokens @ query, tokens @ key
        weights = softmax(queries @ keys.T, axis=1)
        worth = tokens @ value @ output
        logit = share * (weights @ worth).sum()
        loss += np.logaddexp(0, -sign * logit) / len(signs)
        slope = -sign * expit(-sign * logit) * share / len(signs)
        seen = (weights @ tokens).sum(axis=0)
        scores = weights * (worth[None] - (weights @ worth)[:, None])
        gradient["value"] += slope * np.outer(seen, output)
        gradient["output"] += slope * (seen @ value)
        gradient["query"] += slope * tokens.T @ scores @ keys
        gradient["key"] += slope * tokens.T @ scores.T @ queries
    return loss, gradient


def looped(blocks: Blocks, prompts: np.ndarray, targets: np.ndarray, loops: int) -> tuple[float, Blocks]:
    r"""Linear attention in a loop, $Z \leftarrow Z - \frac1n P Z M Z^T Q Z$: half the mean square of $Z_{d+1,n+1} + y$.

    Args:
        blocks: A (d, d) and u (d,) with Q = diag(A, 0) and P zero but for its last row (u, 1).
        prompts: axes sample, d + 1, n + 1; the last entry of the last column is 0.
        targets: one a sample.
        loops: how often.
    """
    count, rows, columns = prompts.shape
    dim, examples = rows - 1, columns - 1
    mask = np.diag([1.0] * examples + [0.0])
    q, p = np.zeros((rows, rows)), np.zeros((rows, rows))
    q[:dim, :dim], p[-1] = blocks["A"], np.append(blocks["u"], 1.0)
    loss, dq, dp = 0.0, np.zeros_like(q), np.zeros_like(p)
    for prompt, target in zip(prompts, targets, strict=True):
        states = [prompt]
        for _ in range(loops):
            z = states[-1]
            states.append(z - p @ z @ mask @ z.T @ q @ z / examples)
        error = -states[-1][-1, -1] - target
        loss += error**2 / (2 * count)
        adjoint = np.zeros_like(prompt)
        adjoint[-1, -1] = -error / count
        for z in reversed(states[:-1]):
            inner, outer = mask @ z.T @ q @ z, p @ z
            dp -= adjoint @ inner.T @ z.T / examples
            dq -= z @ mask @ outer.T @ adjoint @ z.T / examples
            adjoint = (
                adjoint
                - (p.T @ adjoint @ inner.T + q @ z @ adjoint.T @ outer @ mask + q.T @ z @ mask @ outer.T @ adjoint)
                / examples
            )
    return loss, {"A": dq[:dim, :dim], "u": dp[-1, :dim]}


def wide_encoder(
    blocks: Blocks, inputs: np.ndarray, targets: np.ndarray, scale: float
) -> tuple[float, Blocks, dict[str, float]]:
    r"""Least squares of $f(X) = \frac1n \sum_i w^T \mathrm{relu}(V X^T \beta_i)$, $\beta_i$ the softmax of scores.

    Args:
        blocks: query, key and value (m, d), output (m,).
        inputs: axes sample, token, d.
        targets: one a sample.
        scale: of the scores.

    Returns:
        The loss, its gradient, and each block's part of the trace of the Gram matrix.
    """
    query, key, value, output = (blocks[name] for name in ("query", "key", "value", "output"))
    count, time = inputs.shape[:2]
    loss, gradient = 0.0, {name: np.zeros_like(array) for name, array in blocks.items()}
    traces = dict.fromkeys(blocks, 0.0)
    for tokens, target in zip(inputs, targets, strict=True):
        queries, keys = tokens @ query.T, tokens @ key.T
        weights = softmax(scale * queries @ keys.T, axis=1)
        mixed = weights @ tokens
        before = mixed @ value.T
        error = np.maximum(before, 0).sum(axis=0) @ output / time - target
        loss += error**2 / (2 * count)
        back = (before > 0) * output / time
        worth = back @ value @ tokens.T
        scores = scale * weights * (worth - (weights * worth).sum(axis=1, keepdims=True))
        own = {
            "query": (tokens.T @ scores @ keys).T,
            "key": (tokens.T @ scores.T @ queries).T,
            "value": back.T @ mixed,
            "output": np.maximum(before, 0).sum(axis=0) / time,
        }
        for name, array in own.items():
            gradient[name] += error * array / count
            traces[name] += float((array**2).sum()) / count
    return loss, gradient, traces


def decoder(blocks: Blocks, numbers: np.ndarray, following: np.ndarray, heads: int) -> float:
    """Mean cross-entropy of the next token: one causal layer, norm before each branch, GELU in its tanh form.

    Args:
        blocks: of a decoder by their last names; both norms of the layer as `attention.scale`, `feed_forward.scale`
            and so on, that before the read-out as `final.scale`.
        numbers: tokens, axes sample and time.
        following: the tokens after them.
        heads: of the layer.
    """

    def normalised(tokens: np.ndarray, name: str) -> np.ndarray:
        centred = tokens - tokens.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
        return blocks[f"{name}.scale"] * centred / deviation + blocks[f"{name}.shift"]

    time = numbers.shape[1]
    tokens = blocks["embed"][numbers] + blocks["position"][:time]
    seen = normalised(tokens, "attention")
    mixed = np.zeros_like(tokens) + blocks["output_bias"]
    for head in range(heads):
        query, key, value = (seen @ blocks[n][head] + blocks[f"{n}_bias"][head] for n in ("query", "key", "value"))
        scores = query @ key.swapaxes(1, 2) / np.sqrt(query.shape[-1])
        scores[:, ~np.tri(time, dtype=bool)] = -np.inf
        mixed = mixed + softmax(scores, axis=-1) @ value @ blocks["output"][head]
    tokens = tokens + mixed
    hidden = normalised(tokens, "feed_forward") @ blocks["up"] + blocks["up_bias"]
    hidden = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
    tokens = tokens + hidden @ blocks["down"] + blocks["down_bias"]
    logits = normalised(tokens, "final") @ blocks["unembed"] + blocks["unembed_bias"]
    return float(-np.take_along_axis(log_softmax(logits, axis=-1), following[..., None], axis=-1).mean())


def differences(loss, blocks: Blocks, step: float = 1e-5) -> Blocks:
    """The gradient of a function of the blocks by central differences, whose error is of the order of step squared."""
    found = {}
    for name, array in blocks.items():
        gradient = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            moved = {sign: array.copy() for sign in (1, -1)}
            for sign, copy in moved.items():
                copy[place] += sign * step
            up, down = (loss({**blocks, name: copy}) for copy in moved.values())
            gradient[place] = (up - down) / (2 * step)
        found[name] = gradient
    return found

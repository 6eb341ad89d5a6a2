r"""A Transformer encoder that is run in integers after it was trained: calibrate, then classify.

Weights and what enters a product are 8-bit integers with one scale a tensor, found from the largest entry that some
calibration examples give. Sums have 32 bits, the tokens between branches 13, and everything in between is done by
`descentlab.cost.integer`. Factors and shifts of normalisations are folded into the product that follows.
"""

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from descentlab._types import Array, Int
from descentlab.cost import integer
from descentlab.mistake import Mistake

__all__ = ["QuantizationPlan", "calibrate", "classify", "rounded"]

Arrays = Mapping[str, np.ndarray]

TOKEN_BITS = 13
"""Bits of a token between two branches, its sign included."""


@dataclasses.dataclass(frozen=True)
class QuantizationPlan:
    """A trained encoder with pre-norm and what an integer machine needs of it.

    Attributes:
        arrays: its blocks by name as a trajectory keeps them, factors and shifts of normalisations folded in.
        depth: number of layers.
        bandwidth: the Gaussian kernel's factor in the exponent; `None` for softmax attention.
        largest: by place, the largest size of an entry in the calibration examples.
    """

    arrays: Mapping[str, np.ndarray]
    depth: int
    bandwidth: float | None
    largest: Mapping[str, float]

    def scale(self, place: str, bits: int = 8) -> float:
        """The step of integers of so many bits at a place."""
        return self.largest[place] / (2 ** (bits - 1) - 1)


def rounded(arrays: Arrays, *, bits: int = 8) -> dict[str, np.ndarray]:
    """Arrays whose matrices are rounded to integers of so many bits with one scale each, as real numbers again.

    Args:
        arrays: blocks by name; those of one axis (biases, factors) stay as they are.
        bits: of an entry.
    """

    def one(array: np.ndarray) -> np.ndarray:
        scale = float(np.abs(array).max()) / (2 ** (bits - 1) - 1)
        return np.round(array / scale).astype(array.dtype) * scale if scale > 0 else array

    return {name: one(array) if _is_matrix(name) else array for name, array in arrays.items()}


def _is_matrix(name: str) -> bool:
    block = name.rpartition(".")[2]
    return not block.endswith("bias") and block not in ("scale", "shift")


def _folded(arrays: Arrays, depth: int) -> dict[str, np.ndarray]:
    """The same function with all factors of normalisations 1 and shifts 0: W becomes diag(gamma) W, b is b + beta W."""
    found = {name: np.asarray(array, dtype=np.float64) for name, array in arrays.items()}
    found = {place: found[name] for place, name in _places(depth).items()}
    norms = _norms(depth)
    for at in range(depth):
        first, second = norms[2 * at], norms[2 * at + 1]
        for name in ("query", "key", "value"):
            _fold(found, arrays, f"{name}.{at}", f"{name}_bias.{at}", first)
        _fold(found, arrays, f"up.{at}", f"up_bias.{at}", second)
    _fold(found, arrays, "hidden", "hidden_bias", norms[-1])
    return found


_ATTENTION = ("query", "query_bias", "key", "key_bias", "value", "value_bias", "output", "output_bias")
_FED = ("up", "up_bias", "down", "down_bias")
_READOUT = ("hidden", "hidden_bias", "classes", "classes_bias")


def _places(depth: int) -> dict[str, str]:
    """The name in a model of every matrix and bias, by its name here: `query.0` for `layers.0.query`."""
    found = {name: name for name in ("embed", "position")} | {name: f"readout.{name}" for name in _READOUT}
    for at in range(depth):
        found |= {f"{name}.{at}": f"layers.{at}.{name}" for name in _ATTENTION}
        found |= {f"{name}.{at}": f"layers.{at}.fed.{name}" for name in _FED}
    return found


def _norms(depth: int) -> list[str]:
    """The paths of all normalisations in the order in which tokens pass them."""
    return [path for at in range(depth) for path in (f"layers.{at}.norm", f"layers.{at}.fed.norm")] + ["norm"]


def _fold(found: dict[str, np.ndarray], arrays: Arrays, matrix: str, bias: str, norm: str) -> None:
    gamma, beta = (np.asarray(arrays[f"{norm}.{name}"], dtype=np.float64) for name in ("scale", "shift"))
    found[bias] = found[bias] + np.einsum("i,...ij->...j", beta, found[matrix])
    found[matrix] = gamma[:, None] * found[matrix]


def calibrate(arrays: Arrays, examples: np.ndarray, *, depth: int, bandwidth: float | None = None) -> QuantizationPlan:
    """Find the scales of an encoder from the entries that examples give in real arithmetic.

    Args:
        arrays: the final blocks of one lane: of a `Transformer` with pre-norm, GELU, skip connections of factor 1, no
            causal mask and `Classify`, its tokens numbers.
        examples: token numbers, none of them padding.
        depth: number of layers.
        bandwidth: the Gaussian kernel's factor; `None` for softmax.

    Returns:
        The plan.

    Raises:
        Mistake: if a block is missing, or an example is padded.
    """
    wanted = {*_places(depth).values(), *(f"{norm}.scale" for norm in _norms(depth))} - arrays.keys()
    if wanted:
        raise Mistake(f"an encoder needs blocks that are not there: {', '.join(sorted(wanted))}")
    if np.any(np.asarray(examples) <= 0):
        raise Mistake("integer arithmetic wants sequences of equal length, got padding (token number 0)")
    plan = QuantizationPlan(_folded(arrays, depth), depth, bandwidth, {})
    largest: dict[str, float] = {}
    _real(plan, examples, largest)
    return dataclasses.replace(plan, largest=largest)


def _normal(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)


def _real(plan: QuantizationPlan, examples: np.ndarray, largest: dict[str, float]) -> np.ndarray:
    """The encoder in real arithmetic; writes down the largest entry at every place where integers will stand."""
    arrays = plan.arrays

    def seen(place: str, values: np.ndarray) -> np.ndarray:
        largest[place] = max(float(np.abs(values).max()), 1e-6)
        return values

    def branch(name: str, x: np.ndarray, at: int) -> np.ndarray:
        return np.einsum("btd,hde->bhte", x, arrays[f"{name}.{at}"]) + arrays[f"{name}_bias.{at}"][:, None]

    x = arrays["embed"][examples] + arrays["position"][: examples.shape[1]]
    top = np.abs(x).max()
    for at in range(plan.depth):
        z = seen(f"normal.{at}", _normal(x))
        q, k, v = (seen(f"{name}.{at}", branch(name, z, at)) for name in ("query", "key", "value"))
        # Queries and keys share a scale, so that their distance is one of integers.
        largest[f"query.{at}"] = largest[f"key.{at}"] = max(largest[f"query.{at}"], largest[f"key.{at}"])
        mixed = seen(f"mixed.{at}", np.einsum("bhts,bhse->bhte", _weights(plan, q, k), v))
        x = x + np.einsum("bhte,hed->btd", mixed, arrays[f"output.{at}"]) + arrays[f"output_bias.{at}"]
        top = max(top, np.abs(x).max())
        z = seen(f"second.{at}", _normal(x))
        up = seen(f"up.{at}", z @ arrays[f"up.{at}"] + arrays[f"up_bias.{at}"])
        active = seen(f"active.{at}", np.asarray(jax.nn.gelu(up)))
        x = x + active @ arrays[f"down.{at}"] + arrays[f"down_bias.{at}"]
        top = max(top, np.abs(x).max())
    largest["tokens"] = float(top)
    pooled = seen("pooled", _normal(x).mean(axis=1))
    hidden = seen("hidden", np.maximum(pooled @ arrays["hidden"] + arrays["hidden_bias"], 0))
    return hidden @ arrays["classes"] + arrays["classes_bias"]


def _weights(plan: QuantizationPlan, query: np.ndarray, key: np.ndarray) -> np.ndarray:
    products = np.einsum("bhte,bhse->bhts", query, key)
    if plan.bandwidth is None:
        return np.asarray(jax.nn.softmax(products / math.sqrt(query.shape[-1])))
    lengths = (query**2).sum(axis=-1)[..., None] + (key**2).sum(axis=-1)[..., None, :]
    return np.exp(-plan.bandwidth * (lengths - 2 * products))


def classify(plan: QuantizationPlan, examples: Int[Array, "batch time"]) -> Int[Array, "batch classes"]:
    """Outputs of the encoder in integers, one a class; the largest is its answer.

    Args:
        plan: what `calibrate` found.
        examples: token numbers, none of them padding, of the length of the calibration examples.
    """
    return jax.jit(jax.vmap(lambda example: _one(plan, example)))(examples)


def _affine(plan: QuantizationPlan, x: Array, scale: float, matrix: str, bias: str) -> tuple[Array, float]:
    """A product with 8-bit weights plus a bias in its own scale: sums of 32 bits and their scale."""
    weights = plan.arrays[matrix]
    step = float(np.abs(weights).max()) / 127
    whole = jnp.asarray(np.round(weights / step), jnp.int32)
    added = jnp.asarray(np.round(plan.arrays[bias] / (step * scale)), jnp.int32)
    return integer.matmul(x, whole.reshape(-1, whole.shape[-1])) + added, step * scale


def _one(plan: QuantizationPlan, example: Int[Array, " time"]) -> Int[Array, " classes"]:
    unit = plan.scale("tokens", TOKEN_BITS)
    embed, position = (jnp.asarray(np.round(plan.arrays[name] / unit), jnp.int32) for name in ("embed", "position"))
    x = embed[example] + position[: example.shape[0]]
    for at in range(plan.depth):
        x = x + _attended(plan, _centred(plan, x, f"normal.{at}"), at, unit)
        x = x + _passed(plan, _centred(plan, x, f"second.{at}"), at, unit)
    width = x.shape[-1]
    normal, scale = integer.layer_norm(x, np.ones(width), np.zeros(width))
    pooled = jnp.sum(normal >> 8, axis=0)
    step = float(scale[0]) * 2**8 / example.shape[0]
    pooled = integer.requantize(pooled, step / plan.scale("pooled"))
    sums, step = _affine(plan, pooled[None], plan.scale("pooled"), "hidden", "hidden_bias")
    hidden = integer.requantize(jnp.maximum(sums, 0), step / plan.scale("hidden"))
    return _affine(plan, hidden, plan.scale("hidden"), "classes", "classes_bias")[0][0]


def _centred(plan: QuantizationPlan, x: Array, place: str) -> Int[Array, "time width"]:
    width = x.shape[-1]
    normal, scale = integer.layer_norm(x, np.ones(width), np.zeros(width))
    return integer.requantize(normal, float(scale[0]) / plan.scale(place))


def _attended(plan: QuantizationPlan, x: Array, at: int, unit: float) -> Int[Array, "time width"]:
    """The attention branch in units of the tokens."""
    heads = [_head(plan, x, at, head) for head in range(plan.arrays[f"query.{at}"].shape[0])]
    mixed = jnp.concatenate(heads, axis=-1)
    sums, scale = _affine(plan, mixed, plan.scale(f"mixed.{at}"), f"output.{at}", f"output_bias.{at}")
    return integer.requantize(sums, scale / unit, bits=TOKEN_BITS + 1)


def _head(plan: QuantizationPlan, x: Array, at: int, head: int) -> Int[Array, "time head"]:
    """What one head mixes, in 8 bits."""
    parts = {}
    for name in ("query", "key", "value"):
        one = dataclasses.replace(
            plan, arrays={"matrix": plan.arrays[f"{name}.{at}"][head], "bias": plan.arrays[f"{name}_bias.{at}"][head]}
        )
        sums, scale = _affine(one, x, plan.scale(f"normal.{at}"), "matrix", "bias")
        parts[name] = integer.requantize(sums, scale / plan.scale(f"{name}.{at}"))
    step = plan.scale(f"query.{at}")
    if plan.bandwidth is None:
        scores = integer.matmul(parts["query"], parts["key"].T)
        weights, fine = integer.softmax(scores, step**2 / math.sqrt(parts["query"].shape[-1]))
    else:
        weights, fine = integer.gaussian_weights(parts["query"], parts["key"], step, c=plan.bandwidth)
    # Weights of 0 to 255 as signed integers: 128 is taken off and its share of the sum put back.
    mixed = integer.matmul(weights - 128, parts["value"]) + 128 * jnp.sum(parts["value"], axis=0)
    return integer.requantize(mixed, fine * plan.scale(f"value.{at}") / plan.scale(f"mixed.{at}"))


def _passed(plan: QuantizationPlan, x: Array, at: int, unit: float) -> Int[Array, "time width"]:
    """The feed-forward branch in units of the tokens."""
    sums, scale = _affine(plan, x, plan.scale(f"second.{at}"), f"up.{at}", f"up_bias.{at}")
    fine = plan.scale(f"up.{at}", TOKEN_BITS)
    active, step = integer.gelu(integer.requantize(sums, scale / fine, bits=TOKEN_BITS), fine)
    narrow = integer.requantize(active, step / plan.scale(f"active.{at}"))
    sums, scale = _affine(plan, narrow, plan.scale(f"active.{at}"), f"down.{at}", f"down_bias.{at}")
    return integer.requantize(sums, scale / unit, bits=TOKEN_BITS + 1)

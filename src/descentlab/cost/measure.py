"""This machine's roofline and the time of real operators on it, in JAX."""

import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from descentlab._types import Array
from descentlab.cost.operators import Matmul, Operator
from descentlab.cost.roofline import Machine
from descentlab.mistake import Mistake

__all__ = ["here", "operator_seconds"]

SIDE = 1536
"""Of the product that measures the rate."""

COPIED = 2**25
"""Entries of the array that measures the bandwidth: larger than caches."""

TOGETHER = 2**24
"""Entries of an operator's batch that are made at once."""


_ROWS: dict[str, Callable[..., Array]] = {
    "softmax": lambda x: jax.nn.softmax(x / 8),
    "normalized-gaussian": lambda x: jax.nn.softmax(x / 8 + x[:1]),
    "gaussian": lambda x: jnp.exp(x / 8 - x[:, :1] - x[:1]),
    "relu": lambda x: jax.nn.relu(x / 8) / x.shape[-1],
    "linear": lambda x: x / 8,
    "lengths": lambda x: jnp.sum(x**2, axis=-1),
    "norm": jax.nn.standardize,
    "routing": jax.nn.softmax,
}
_ENTRIES: dict[tuple[str, int], Callable[..., Array]] = {
    ("activation", 1): jax.nn.gelu,
    ("activation", 2): lambda x, y: jax.nn.silu(x) * y,
    ("residual", 2): jnp.add,
}
"""What elementwise operators compute: on whole rows, or on so many arrays entry by entry. An operator is known by the
first word of its name, or by its last one, *activation*."""


def here(precision: str = "float32", *, repeats: int = 15) -> Machine:
    """This machine's roofline: the rate of a large product and the bandwidth of changing a large array in place.

    Args:
        precision: float16 or float32.
        repeats: of each; the shortest counts, so the rates are those of a machine that does nothing else.

    Raises:
        Mistake: if the precision is another one.
    """
    if precision not in ("float16", "float32"):
        raise Mistake(f"this machine is measured in float16 or float32, not in {precision}; add --precision float32")
    matrix = jnp.ones((SIDE, SIDE), precision)
    vector = jnp.ones(COPIED, precision)

    def scaled(array: Array) -> Array:
        return jax.lax.fori_loop(0, repeats, lambda _, x: -x, array)

    product = _shortest(jax.jit(jnp.matmul), (matrix, matrix), repeats)
    copy = _shortest(jax.jit(scaled), (vector,), repeats) / repeats
    name = f"{jax.devices()[0].device_kind} here"
    return Machine(name, {precision: 2 * SIDE**3 / product}, 2 * vector.nbytes / copy, "measured")


def operator_seconds(operators: Sequence[Operator], precision: str, *, repeats: int = 5) -> dict[str, float]:
    """The measured time of every operator of a pass, all its instances one after another, by its name.

    Products of attention and elementwise operators are done for many instances at once, those with weights one by one.

    Args:
        operators: with single sizes.
        precision: of the entries.
        repeats: of each; the shortest counts.

    Raises:
        Mistake: if a size is an array of several.
    """
    return {one.name: _seconds(one, precision, repeats) for one in operators}


def _shortest(function: Callable[..., Array], arguments: tuple[Array, ...], repeats: int) -> float:
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - begun)
    return min(times)


def _seconds(operator: Operator, precision: str, repeats: int) -> float:
    count = _single(operator, "count")
    if isinstance(operator, Matmul):
        rows, inner, columns = (_single(operator, name) for name in ("rows", "inner", "columns"))
        largest = max(rows * inner, inner * columns, rows * columns)
        batch = max(1, min(count, TOGETHER // largest)) if operator.group == "attention" else 1
        factors = (jnp.ones((batch, rows, inner), precision), jnp.ones((batch, inner, columns), precision))
        return _shortest(jax.jit(jnp.matmul), factors, repeats) * count / batch
    total, row = count * _single(operator, "elements"), _single(operator, "row")
    first, last = operator.name.split()[0], operator.name.split()[-1]
    kind = "activation" if last == "activation" else first
    if kind in _ROWS:
        function, arrays = _ROWS[kind], 1
        total *= row if kind == "lengths" else 1
    elif (kind, operator.reads) in _ENTRIES:
        function, arrays = _ENTRIES[kind, operator.reads], operator.reads
    elif operator.name == "mixture":
        function, arrays = lambda *parts: sum(parts), operator.reads
    else:
        raise Mistake(f"{operator.name} cannot be measured; only operators of Transformers can")
    rows = max(1, min(total, TOGETHER) // row)
    arguments = tuple(jnp.ones((rows, row), precision) for _ in range(arrays))
    return _shortest(jax.jit(function), arguments, repeats) * total / (rows * row)


def _single(operator: Operator, name: str) -> int:
    size = np.asarray(getattr(operator, name))
    if size.size != 1:
        raise Mistake(f"only a pass can be measured, but {operator.name} has {size.size} sizes; add --phase pass")
    return int(size.item())

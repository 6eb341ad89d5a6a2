"""The arithmetic of a run: what its numbers are, and what the products of its matrices are."""

import contextlib
from collections.abc import Iterator

import jax

__all__ = ["arithmetic"]


@contextlib.contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """The context in which everything about a run is computed: its start, its steps, and what is measured afterwards.

    A graphics processor multiplies matrices of float32 with 10 bits of their fraction unless it is told otherwise, and
    products are then off by 3e-4 where float32 has 2e-7 (measured on an NVIDIA H200). Here they have all their 23.

    Args:
        precision: of the run, `"float64"` or `"float32"`.
    """
    whole = contextlib.nullcontext() if jax.default_backend() == "cpu" else jax.default_matmul_precision("highest")
    with jax.enable_x64(precision == "float64"), whole:
        yield

"""What fits: the memory that is there, and sizes in words."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from descentlab.mistake import Mistake

__all__ = ["TooLarge", "explained", "in_words", "inner_programs", "largest_product", "machine", "nbytes"]

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux says how much memory the processes of a container may have."""


class TooLarge(Mistake):
    """Something does not fit into memory: what is needed, what is there, what would fit."""


def machine() -> int:
    """Bytes of memory of the device that computes, all of it, used or not."""
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit is not None:
        return int(limit)
    found = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # a system that does not tell
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit ("max")
            found.append(int(path.read_text()))
    return min(found, default=2**63)


def nbytes(tree: Any) -> int:
    """Bytes of all arrays of a tree, or of what would be arrays."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "shape") and hasattr(leaf, "dtype")]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def largest_product(jaxpr: Jaxpr) -> int:
    """Bytes of the largest product of matrices in a program: what compilers fuse into others, they make of the rest."""
    sizes = [0]
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            sizes.append(nbytes([out.aval for out in equation.outvars]))
        sizes += [largest_product(inner) for inner in inner_programs(equation)]
    return max(sizes)


def inner_programs(equation: JaxprEqn) -> list[Jaxpr]:
    """The programs that an operation calls, such as the body of a loop."""
    found = jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: isinstance(x, ClosedJaxpr | Jaxpr))
    return [x.jaxpr if isinstance(x, ClosedJaxpr) else x for x in found if isinstance(x, ClosedJaxpr | Jaxpr)]


def in_words(count: int) -> str:
    """Bytes with a unit and three digits, such as 1.5 GiB."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    power = min(max(count.bit_length() - 1, 0) // 10, len(units) - 1)
    return f"{count / 1024**power:.3g} {units[power]}"


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn the refusal of the device to give memory into a sentence.

    Raises:
        TooLarge: if it refuses.
        JaxRuntimeError: if anything else went wrong there.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise TooLarge(
            f"this does not fit into the {in_words(machine())} of this machine ({str(error).splitlines()[0]}); choose "
            "smaller sizes or fewer examples at once"
        ) from error

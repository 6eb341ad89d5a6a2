"""Many experiments with their seeds that one program trains: what varies among them, and what they share."""

import dataclasses
import functools
from collections.abc import Mapping
from contextlib import AbstractContextManager

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._arithmetic import arithmetic
from descentlab._check import counted
from descentlab._definition import Untraced
from descentlab._describe import digest, structure
from descentlab._types import PyTree
from descentlab.experiment import Experiment, stored
from descentlab.mistake import Mistake
from descentlab.objective import Splits

__all__ = ["MOST_SEED", "Lanes", "experiment_of"]

MOST_SEED = 2**32 - 1
"""The largest seed: seeds are numbers of 32 bits."""


@dataclasses.dataclass(frozen=True)
class Lanes:
    """Experiments with their seeds, equal up to floats.

    Attributes:
        experiments: one a lane.
        seeds: one a lane.
        ends: the blocks at the end of each lane's origin, where the experiments have one.

    Raises:
        Mistake: if there are none, or their structures differ.
    """

    experiments: tuple[Experiment, ...]
    seeds: tuple[int, ...]
    ends: tuple[Mapping[str, np.ndarray], ...] = ()

    def __post_init__(self):
        if not self.experiments or len(self.experiments) != len(self.seeds):
            raise Mistake(f"wanted one seed an experiment, got {len(self.experiments)} and {len(self.seeds)}")
        for seed in self.seeds:
            counted("a seed", seed, MOST_SEED)
        if len({structure(one) for one in {e.digest: e for e in self.experiments}.values()}) > 1:
            raise Mistake("experiments of one program may differ in their floats only; run the others separately")
        if len(self.ends) != (0 if self.first.origin is None else len(self.seeds)):
            raise Mistake(f"wanted the end of the origin of each of {len(self.seeds)} lanes, got {len(self.ends)}")

    @property
    def first(self) -> Experiment:
        """An experiment that has the structure of all."""
        return self.experiments[0]

    def precision(self) -> AbstractContextManager:
        """The context in which everything about these lanes is computed."""
        return arithmetic(self.first.precision)

    def varying(self) -> tuple[PyTree, PyTree]:
        """The floats, stacked over lanes, and the rest of the definition, shared by them."""
        return self._varying

    @functools.cached_property
    def _varying(self) -> tuple[PyTree, PyTree]:
        # Kept, because it takes 0.2 ms a lane and every segment asks for it.
        whole = functools.partial(jax.tree.map, _Whole.of, is_leaf=_is_untraced)
        floats, rest = zip(*(eqx.partition(whole(one), _is_float) for one in self.experiments), strict=True)
        dtype = np.float64 if self.first.precision == "float64" else np.float32
        return jax.tree.map(lambda *leaves: np.asarray(leaves, dtype=dtype), *floats), rest[0]

    @functools.cached_property
    def stored(self) -> Splits | None:
        """The data set, shared by all lanes."""
        return jax.tree.map(jnp.asarray, stored(self.first))

    def stacked_ends(self) -> Mapping[str, np.ndarray] | None:
        """The blocks at the end of the origins, stacked over lanes."""
        return jax.tree.map(lambda *arrays: np.stack(arrays), *self.ends) if self.ends else None


@dataclasses.dataclass(frozen=True, eq=False)
class _Whole:
    """A part of a definition of which a compiled program traces nothing; one that differs needs another program."""

    definition: Untraced

    @staticmethod
    def of(part: PyTree) -> PyTree:
        """The part, in one piece if nothing of it may be traced."""
        return _Whole(part) if _is_untraced(part) else part

    @functools.cached_property
    def _digest(self) -> str:
        return digest(self.definition)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, _Whole) and self._digest == other._digest)

    def __hash__(self) -> int:
        return hash(self._digest)


def _is_untraced(part: PyTree) -> bool:
    return isinstance(part, Untraced)


def experiment_of(floats: PyTree, rest: PyTree) -> Experiment:
    """A lane's experiment inside a program."""
    return jax.tree.map(lambda leaf: leaf.definition if isinstance(leaf, _Whole) else leaf, eqx.combine(floats, rest))


def _is_float(leaf: PyTree) -> bool:
    return isinstance(leaf, float)

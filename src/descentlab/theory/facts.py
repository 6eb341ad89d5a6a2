"""What is measured at a start for certificates: the spectrum of J, the residual, and each theorem's constants.

Everything is measured in double precision at the weights and data that the experiment starts with, whatever precision
it runs in.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._arithmetic import arithmetic
from descentlab._tree import block_names, blocks
from descentlab._types import Array, PyTree
from descentlab.experiment import Experiment
from descentlab.experiment import start as begin
from descentlab.mistake import Mistake
from descentlab.models import MultiHeadAttention, PerToken
from descentlab.objective import Objective
from descentlab.probes.precision import double
from descentlab.probes.spectra import RANK_TOLERANCE, distinct_tokens, jacobian_modes, rank_tolerance, singular_error
from descentlab.theory.modes import Modes, least_squares_floor

if TYPE_CHECKING:
    from descentlab.theory.certificate import AbstractCertificate

__all__ = ["BLOCKS", "Facts", "largest_rank", "measure"]

BLOCKS = ("query", "key", "value", "output")

LARGEST = 2048
"""Rows of a Jacobian whose dense spectrum is still found; a certificate takes no other."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What was measured at a start.

    Attributes:
        experiment: whose start it is.
        seed: of its draws.
        trained: names of the trained blocks.
        loss: f_0.
        singular: singular values of J, as many as it has rows, largest first.
        components: of the residual along the left singular vectors.
        columns: number of trained parameters.
        possible: a rank that J cannot exceed whatever the weights are.
        repeated: how many tokens equal another one of their sample.
        zero: names of the blocks of which every entry is zero.
        head_dim: width of a head; `None` for a model that is not a layer of attention.
        certificates: those that speak of the model and its trained blocks.
        constants: of each of them, by its id and their names.
    """

    experiment: Experiment
    seed: int
    trained: tuple[str, ...]
    loss: float
    singular: np.ndarray
    components: np.ndarray
    columns: int
    possible: int
    repeated: int
    zero: tuple[str, ...]
    head_dim: int | None
    certificates: tuple["AbstractCertificate", ...]
    constants: dict[str, dict[str, float]]

    @property
    def kernel(self) -> str:
        """The class of the kernel, or of a model without one."""
        model = self.experiment.model
        return type(getattr(model, "attention", model)).__name__

    @property
    def linear(self) -> bool:
        """Whether the model is linear in what is trained, so that Theorem A or A' speaks of it."""
        return self.trained in {("value",), ("output",)}

    @property
    def modes(self) -> Modes:
        """Eigenvalues of K and squared components of the residual."""
        return Modes(self.singular**2, self.components**2)

    @property
    def rows(self) -> int:
        """Rows of J, one an output that has a target."""
        return len(self.singular)

    @property
    def rank(self) -> int:
        """The rank of K to the rank tolerance."""
        tolerance = rank_tolerance((self.rows, self.columns), self.singular.dtype)
        return int((self.singular > tolerance * self.singular[0]).sum())

    @property
    def below(self) -> str:
        """That singular values are too small to be told from zero."""
        return (
            f"{self.rows - self.rank} of {self.rows} singular values of the Jacobian lie below the rank tolerance, "
            f"{RANK_TOLERANCE:g} of the largest, and cannot be told from 0"
        )

    @property
    def error(self) -> float:
        """The error of a singular value."""
        return singular_error((self.rows, self.columns), self.singular.dtype) * float(self.singular[0])

    @property
    def condition(self) -> float:
        """lambda_max / lambda_min of K; infinite where it has not full rank."""
        return float((self.singular[0] / self.singular[-1]) ** 2) if self.rank == self.rows else math.inf

    @property
    def floor(self) -> float:
        """The least-squares floor relative to f_0, if what lies below the rank tolerance is zero."""
        return least_squares_floor(self.modes) / self.loss if self.loss > 0 else 0.0

    @property
    def certain_floor(self) -> float:
        r"""A lower bound of the floor relative to f_0; 0 where the rank is not known for certain.

        It is known where as many singular values count as algebra allows at most. The null space is then known up to
        an angle of the error over the smallest of them (Wedin's theorem).
        """
        if self.rank != self.possible:
            return 0.0
        angle = 2 * self.error / float(self.singular[self.rank - 1]) if self.rank else 0.0
        return max(0.0, math.sqrt(self.floor) - angle) ** 2


def measure(experiment: Experiment, seed: int, certificates: Sequence["AbstractCertificate"]) -> Facts:
    """The facts at the start of an experiment.

    Args:
        experiment: whose start.
        seed: of its draws.
        certificates: whose constants are found, as far as they speak of the model.

    Raises:
        Mistake: if the experiment does not fit together, has more targets than a dense spectrum is found for, or
            its loss at the start is not a finite number.
    """
    floats, rest = eqx.partition(experiment, lambda leaf: isinstance(leaf, float))
    with arithmetic(experiment.precision):
        objective, params, trained = eqx.filter_eval_shape(_named_start, experiment)
        if objective.targets.size > LARGEST:
            raise Mistake(
                f"a certificate needs the dense spectrum of all targets, at most {LARGEST}, got "
                f"{objective.targets.size}; give fewer samples"
            )
        # Arrays are traced and numbers are not: experiments that differ in floats share a program.
        floats, model = jax.tree.map(jnp.asarray, floats), objective.model(params)
        speaking = tuple(one for one in certificates if one.speaks_of(model, trained))
        found = jax.tree.map(np.asarray, _measured(floats, rest, jnp.asarray(seed, jnp.uint32), speaking))
    if not math.isfinite(found["loss"]):
        raise Mistake(f"the loss at the start must be finite, got {found['loss']}; scale the data or the weights")
    return Facts(
        experiment=experiment,
        seed=seed,
        trained=trained,
        loss=float(found["loss"]),
        singular=found["singular"],
        components=found["components"],
        columns=sum(leaf.size for leaf in jax.tree.leaves(params)),
        possible=largest_rank(model, objective, params, int(found["repeated"])) if found["singular"][0] > 0 else 0,
        repeated=int(found["repeated"]),
        zero=tuple(name for name, largest in found["largest"].items() if not largest > 0),
        head_dim=model.query.shape[2] if isinstance(model, MultiHeadAttention) else None,
        certificates=speaking,
        constants={
            one.id: {name: float(value) for name, value in values._asdict().items()}
            for one, values in zip(speaking, found["constants"], strict=True)
        },
    )


def _named_start(experiment: Experiment) -> tuple[Objective, PyTree, tuple[str, ...]]:
    """Some start of an experiment, and the names of what is trained, which shapes alone do not have."""
    objective, params = begin(experiment, key=jax.random.key(0))
    return objective, params, block_names(params)


@functools.singledispatch
def largest_rank(model: PyTree, objective: Objective, params: PyTree, repeated: int) -> int:
    """A rank that J cannot exceed, whatever the weights are; register that of another model.

    Args:
        model: the whole model.
        objective: what is minimised.
        params: the trained blocks.
        repeated: how many tokens equal another one of their sample.
    """
    del model, repeated
    return min(objective.targets.size, sum(leaf.size for leaf in jax.tree.leaves(params)))


@largest_rank.register
def _(model: MultiHeadAttention, objective: Objective, params: PyTree, repeated: int) -> int:
    """From the sizes of the blocks and the number of repeated tokens.

    A head's value block acts through $W^V_h W^O_h$ alone, which has D min(d, d_o) dimensions; rows of tokens that are
    equal are equal.
    """
    sizes = {name: getattr(model, name).size for name in BLOCKS if getattr(params, name) is not None}
    if "value" in sizes and "output" not in sizes:
        sizes["value"] = sizes["value"] // model.value.shape[2] * min(model.output.shape[1:])
    rows = objective.targets.size
    if isinstance(model.readout, PerToken):
        rows -= repeated * model.output.shape[2]
    return min(rows, sum(sizes.values()))


# One evaluation a structure: compiled unoptimised, which is much faster.
@eqx.filter_jit(compiler_options={"xla_backend_optimization_level": 0})  # pyright: ignore[reportCallIssue]
def _measured(
    floats: PyTree, rest: PyTree, seed: Array, speaking: Sequence["AbstractCertificate"]
) -> dict[str, PyTree]:
    experiment = eqx.combine(floats, rest)
    objective, params = begin(experiment, key=jax.random.key(seed))
    with jax.enable_x64(True):
        return _constants(speaking, *double((objective, params)))


def _constants(speaking: Sequence["AbstractCertificate"], objective: Objective, params: PyTree) -> dict[str, PyTree]:
    model = objective.model(params)
    singular, components = jacobian_modes(objective, params)
    count = objective.inputs.shape[0] * objective.inputs.shape[1]
    arrays = {name: jnp.stack([jnp.abs(one).max() for one in found]).max() for name, found in blocks(model).items()}
    return {
        "loss": objective.loss(params),
        "singular": singular,
        "components": components,
        "repeated": count - distinct_tokens(objective.inputs),
        "largest": arrays,
        "constants": [one.constants(objective, params, singular) for one in speaking],
    }

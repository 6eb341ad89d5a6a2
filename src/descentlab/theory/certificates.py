"""The certificates evaluated at one start: what was measured there, and one row a theorem.

Everything is measured in double precision at the weights and data that the experiment starts with, whatever precision
it runs in. A printed step is rounded down and a printed number of steps up, so that what is said holds of the numbers
that are shown.
"""

import dataclasses
import decimal
import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._arithmetic import arithmetic
from descentlab._describe import value_at
from descentlab._tree import blocks
from descentlab._types import Array, PyTree
from descentlab.attention import AbstractAttention
from descentlab.experiment import Experiment
from descentlab.experiment import start as begin
from descentlab.mistake import Mistake
from descentlab.models import AbstractArchitecture, AttentionLayer, MultiHeadAttention, PerToken
from descentlab.objective import Objective
from descentlab.probes.precision import double
from descentlab.probes.spectra import RANK_TOLERANCE, distinct_tokens, jacobian_modes, rank_tolerance, singular_error
from descentlab.theory import query_block, theorem_b, theorem_c
from descentlab.theory.theorem_a import least_squares_floor, steps_to

__all__ = [
    "BLOCKS",
    "Facts",
    "Row",
    "Theorem",
    "best",
    "certificates",
    "largest_rank",
    "measure",
    "rounded_down",
    "rounded_up",
    "theorems",
]

BLOCKS = ("query", "key", "value", "output")

LARGEST = 2048
"""Rows of a Jacobian whose dense spectrum is still found; a certificate takes no other."""

DIGITS = 6
"""Digits of a step and of a number of steps."""


def rounded_down(value: float, digits: int = DIGITS) -> float:
    """The largest number of so many digits that is at most the value."""
    return _rounded(value, digits, decimal.ROUND_FLOOR)


def rounded_up(value: float, digits: int = DIGITS) -> float:
    """The smallest number of so many digits that is at least the value."""
    return _rounded(value, digits, decimal.ROUND_CEILING)


def _rounded(value: float, digits: int, how: str) -> float:
    if not math.isfinite(value):
        return value
    return float(decimal.Context(prec=digits, rounding=how).create_decimal(value))


@dataclasses.dataclass(frozen=True)
class Row:
    """One certificate's answer.

    Attributes:
        name: the theorem.
        source: where it is proved.
        applies: whether its assumptions hold here.
        obstacle: the assumption that fails, in words; empty where it applies.
        factor: how many times too large the decisive quantity is; at most 1 where it applies.
        step: the largest admissible step size, rounded down to six digits.
        steps: predicted number of steps of that size to the tolerance: an upper bound, rounded up to six digits.
        detail: the constants.
    """

    name: str
    source: str
    applies: bool
    obstacle: str = ""
    factor: float | None = None
    step: float | None = None
    steps: float | None = None
    detail: str = ""


class Theorem(NamedTuple):
    """One theorem for `certify`.

    Attributes:
        name: of its constants in `Facts`.
        constants: by name, found from objective, trained blocks and the singular values of J.
        row: its answer from the facts and the tolerance; `None` where it does not speak of the trained blocks.
    """

    name: str
    constants: Callable[[Objective, PyTree, Array], dict[str, Array]]
    row: Callable[["Facts", float], Row | None]


@functools.singledispatch
def theorems(model: AbstractArchitecture) -> tuple[Theorem, ...]:
    """The theorems that speak of an architecture, none unless they are registered with `theorems.register`."""
    del model
    return ()


@theorems.register
def _(model: AttentionLayer) -> tuple[Theorem, ...]:
    del model
    return (
        Theorem("a", lambda *_: {}, _row_a),
        Theorem("query", lambda *start: query_block.query_block(*start)._asdict(), _row_query),
        Theorem("b", lambda *start: theorem_b.theorem_b(*start)._asdict(), _row_b),
        Theorem("c", lambda objective, params, _: theorem_c.theorem_c(objective, params)._asdict(), _row_c),
    )


@dataclasses.dataclass(frozen=True)
class Facts:
    """What was measured at a start.

    Attributes:
        experiment: whose start it is.
        seed: of its draws.
        loss: f_0.
        singular: singular values of J, as many as it has rows, largest first.
        components: of the residual along the left singular vectors.
        columns: number of trained parameters.
        possible: a rank that J cannot exceed whatever the weights are.
        repeated: how many tokens equal another one of their sample.
        zero: names of the blocks of which every entry is zero.
        head_dim: width of a head; `None` for a model that is not a layer of attention.
        constants: of every theorem that speaks of the model, by its name and theirs.
    """

    experiment: Experiment
    seed: int
    loss: float
    singular: np.ndarray
    components: np.ndarray
    columns: int
    possible: int
    repeated: int
    zero: tuple[str, ...]
    head_dim: int | None
    constants: dict[str, dict[str, float]]

    @property
    def trained(self) -> tuple[str, ...]:
        """The trained blocks."""
        return self.experiment.trained or BLOCKS

    @property
    def attention(self) -> AbstractAttention:
        """The kernel."""
        return value_at(self.experiment, "model.attention")

    @property
    def linear(self) -> bool:
        """Whether the model is linear in what is trained, so that Theorem A or A' speaks of it."""
        return self.trained in {("value",), ("output",)}

    @property
    def spectrum(self) -> np.ndarray:
        """Eigenvalues of K and squared components of the residual, as two rows."""
        return np.stack([self.singular, self.components]) ** 2

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
        return least_squares_floor(self.spectrum) / self.loss if self.loss > 0 else 0.0

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


def measure(experiment: Experiment, seed: int) -> Facts:
    """The facts at the start of an experiment.

    Raises:
        Mistake: if the experiment does not fit together, has more targets than a dense spectrum is found for, or
            its loss at the start is not a finite number.
    """
    floats, rest = eqx.partition(experiment, lambda leaf: isinstance(leaf, float))
    with arithmetic(experiment.precision):
        objective, params = eqx.filter_eval_shape(begin, experiment, key=jax.random.key(0))
        if objective.targets.size > LARGEST:
            raise Mistake(
                f"a certificate needs the dense spectrum of all targets, at most {LARGEST}, got "
                f"{objective.targets.size}; give fewer samples"
            )
        # Arrays are traced and numbers are not: experiments that differ in floats share a program.
        floats = jax.tree.map(jnp.asarray, floats)
        found = jax.tree.map(np.asarray, _measured(floats, rest, jnp.asarray(seed, jnp.uint32)))
    if not math.isfinite(found["loss"]):
        raise Mistake(f"the loss at the start must be finite, got {found['loss']}; scale the data or the weights")
    kinds, model = theorems(experiment.model), objective.model(params)
    return Facts(
        experiment=experiment,
        seed=seed,
        loss=float(found["loss"]),
        singular=found["singular"],
        components=found["components"],
        columns=sum(leaf.size for leaf in jax.tree.leaves(params)),
        possible=largest_rank(model, objective, params, int(found["repeated"])) if found["singular"][0] > 0 else 0,
        repeated=int(found["repeated"]),
        zero=tuple(name for name, largest in found["largest"].items() if not largest > 0),
        head_dim=model.query.shape[2] if isinstance(model, MultiHeadAttention) else None,
        constants={
            kind.name: {name: float(one) for name, one in values.items()}
            for kind, values in zip(kinds, found["constants"], strict=True)
        },
    )


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
def _measured(floats: PyTree, rest: PyTree, seed: Array) -> dict[str, PyTree]:
    experiment = eqx.combine(floats, rest)
    objective, params = begin(experiment, key=jax.random.key(seed))
    with jax.enable_x64(True):
        return _constants(theorems(experiment.model), *double((objective, params)))


def _constants(kinds: Sequence[Theorem], objective: Objective, params: PyTree) -> dict[str, PyTree]:
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
        "constants": [kind.constants(objective, params, singular) for kind in kinds],
    }


def best(rows: Sequence[Row]) -> Row | None:
    """The certificate that applies and predicts the fewest steps; `None` where none applies."""
    return min((row for row in rows if row.applies), key=lambda row: row.steps or math.inf, default=None)


def certificates(facts: Facts, tolerance: float) -> list[Row]:
    """One row a theorem that speaks of the trained blocks.

    Args:
        facts: what was measured at the start.
        tolerance: the loss, relative to the start, to which steps are predicted.
    """
    rows = [kind.row(facts, tolerance) for kind in theorems(facts.experiment.model)]
    return [row for row in rows if row is not None]


def _admitted(row: Row, step: float, decay: Callable[[float], float], tolerance: float) -> Row:
    """The row of a certificate that applies, with a step of few digits and the steps f_t <= (1 - decay)^t f_0 takes."""
    short = rounded_down(step)
    steps = _geometric(decay(short), tolerance)
    if not (short > 0 and math.isfinite(steps)):
        return dataclasses.replace(row, obstacle="its constants are beyond the range of double precision")
    return dataclasses.replace(row, applies=True, step=short, steps=rounded_up(steps))


def _geometric(decay: float, tolerance: float) -> float:
    """Steps after which (1 - decay)^t is at most the tolerance."""
    if decay >= 1:
        return 1.0
    return float(math.ceil(math.log(tolerance) / math.log1p(-decay))) if decay > 0 else math.inf


def _row_a(facts: Facts, tolerance: float) -> Row | None:
    if not facts.linear:
        return None
    block = facts.trained[0]
    name, page = ("Theorem A", "theorem_a.md") if block == "value" else ("Theorem A'", "theorem_a_prime.md")
    row = Row(name, f"docs/theory/{page}", False)
    if facts.rank < facts.rows:
        detail = f"least-squares floor {facts.floor:.3g} f_0" + (
            "" if facts.rank == facts.possible else ", if they are 0"
        )
        missing = f"the Gram matrix of the {block} block has rank {facts.rank}, {facts.rows} is needed"
        obstacle = missing if facts.rank == facts.possible else _below(facts)
        return dataclasses.replace(row, obstacle=obstacle, factor=facts.rows / max(facts.rank, 1), detail=detail)
    # Singular values may be off by their error, to the unfavourable side.
    smallest = (float(facts.singular[-1]) - facts.error) ** 2
    largest = (float(facts.singular[0]) + facts.error) ** 2
    row = _admitted(row, 1 / largest, lambda step: step * smallest * (2 - step * smallest), tolerance)
    if not row.applies or row.step is None:
        return row
    exact = _modal_steps(facts, row.step, tolerance)
    detail = f"L/mu {facts.condition:.3g}; {exact} steps by the modal formula"
    return dataclasses.replace(row, factor=1 / facts.condition, detail=detail)


def _modal_steps(facts: Facts, step: float, tolerance: float) -> str:
    """The number of steps by the modal formula, with as many digits as the smallest singular value allows."""
    steps, error = steps_to(facts.spectrum, step, tolerance), 2 * facts.error / float(facts.singular[-1])
    if steps < 10**DIGITS and steps * error < 0.5:
        return f"exactly {steps:.0f}"
    return f"about {steps:.{min(DIGITS, max(1, int(-math.log10(error))))}g}"


def _below(facts: Facts) -> str:
    """That singular values are too small to be told from zero."""
    return (
        f"{facts.rows - facts.rank} of {facts.rows} singular values of the Jacobian lie below the rank tolerance, "
        f"{RANK_TOLERANCE:g} of the largest, and cannot be told from 0"
    )


def _row_b(facts: Facts, tolerance: float) -> Row:
    return _by_jacobian(facts, tolerance, Row("Theorem B", "docs/theory/theorem_b.md", False), "b")


def _row_query(facts: Facts, tolerance: float) -> Row | None:
    if facts.trained != ("query",):
        return None
    row, constants = Row("Query block", "docs/theory/query_block.md", False), facts.constants["query"]
    if math.isnan(constants["tokens"]):
        kernel = type(facts.attention).__name__
        obstacle = f"it needs a target for every token and a kernel with known constants, here {kernel}"
        return dataclasses.replace(row, obstacle=obstacle)
    said = f"PL bound {constants['bound']:.3g} of lambda_min(K_Q) {constants['smallest']:.3g}"
    row = _by_jacobian(facts, tolerance, row, "query")
    return dataclasses.replace(row, detail=f"{said}, {row.detail}")


def _by_jacobian(facts: Facts, tolerance: float, row: Row, theorem: str) -> Row:
    """What a certificate concludes that bounds how fast J changes; `row` gives its name and source."""
    constants = facts.constants[theorem]
    said = f"sigma_0 {constants['sigma_min']:.3g}, beta {constants['beta']:.3g}, ||r_0|| {constants['residual']:.3g}"
    row = dataclasses.replace(row, detail=said)
    if facts.rank < facts.rows:
        whole = "the Jacobian of the trained blocks has not full row rank"
        return dataclasses.replace(row, obstacle=whole if facts.rank == facts.possible else _below(facts))
    if math.isnan(constants["beta"]):
        kernel = type(facts.attention).__name__
        return dataclasses.replace(row, obstacle=f"no bound of the second derivative is known for {kernel}")
    ratio = constants["ratio"]
    if not ratio <= 1:
        return _exceeded(row, "8 beta ||r_0|| exceeds sigma_0^2", ratio)
    row = dataclasses.replace(row, factor=ratio)
    return _admitted(row, constants["step"], lambda step: step * constants["sigma_min"] ** 2 / 4, tolerance)


def _exceeded(row: Row, obstacle: str, ratio: float) -> Row:
    if not math.isfinite(ratio):
        return dataclasses.replace(row, obstacle=f"{obstacle}, by more than double precision can say")
    return dataclasses.replace(row, obstacle=obstacle, factor=ratio)


def _row_c(facts: Facts, tolerance: float) -> Row:
    constants = facts.constants["c"]
    said = f"lambda_B {constants['lambda_b']:.3g}, omega {constants['omega']:.3g}, mu {constants['mu']:.3g}"
    row = Row("Theorem C", "docs/theory/theorem_c.md", False, detail=said)
    obstacle = ""
    if set(facts.trained) != set(theorem_c.TRAINED):
        obstacle = "it needs query, key and value trained and the output block fixed"
    elif constants["lambda_b"] == 0:
        obstacle = f"B has not full row rank to the rank tolerance, {RANK_TOLERANCE:g} of its largest singular value"
    elif constants["omega"] == 0:
        obstacle = "an output matrix has not full column rank (value_dim >= output_dim is needed)"
    elif math.isnan(constants["step"]):
        obstacle = f"no bound of the first derivative is known for {type(facts.attention).__name__}"
    if obstacle:
        return dataclasses.replace(row, obstacle=obstacle)
    if not constants["ratio"] <= 1:
        return _exceeded(row, "query and key may move further than the features can bear", constants["ratio"])
    row = dataclasses.replace(row, factor=constants["ratio"])
    return _admitted(row, constants["step"], lambda step: step * constants["mu"], tolerance)

"""Certificates: theorems that tell from a start alone what gradient descent on the full batch will do.

A certificate is one file with one class. From it follow the row of `certify`, the probe that records its constants, and
the claims that hold its promises against runs.
"""

import dataclasses
import decimal
import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from descentlab._definition import Definition
from descentlab._types import Array, Float, PyTree
from descentlab.axis import Axis
from descentlab.claims import Claim
from descentlab.objective import Objective
from descentlab.point import Point
from descentlab.probes import AbstractProbe
from descentlab.probes.precision import in_float64
from descentlab.probes.spectra import jacobian_modes
from descentlab.schedule import AbstractSchedule, At
from descentlab.theory.facts import Facts
from descentlab.theory.full_batch import full_batch
from descentlab.trajectory import Trajectory

__all__ = [
    "DIGITS",
    "AbstractCertificate",
    "Certified",
    "Obstacle",
    "CertificateRow",
    "exceeded",
    "jacobian_obstacle",
    "rounded_down",
    "rounded_up",
]

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


class Obstacle(NamedTuple):
    """The assumption that fails.

    Attributes:
        words: what it is.
        factor: how many times too large the decisive quantity is, where there is one.
    """

    words: str
    factor: float | None = None


@dataclasses.dataclass(frozen=True)
class CertificateRow:
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


class AbstractCertificate(Definition):
    """A theorem about gradient descent with a constant step on all examples, from constants of its start.

    Its constants have a `ratio`, at most 1 where the theorem applies, and a `step`, the longest that it speaks of.

    Attributes:
        id: short name: of its constants, of its probe in an experiment, and the beginning of the ids of its claims.
        name: of the theorem.
        page: where it is proved.
        Constants: a named tuple of numbers, with `ratio` and `step` among them.
    """

    id: ClassVar[str]
    name: ClassVar[str]
    page: ClassVar[str]
    Constants: ClassVar[Any]

    @abstractmethod
    def speaks_of(self, model: PyTree, trained: tuple[str, ...]) -> bool:
        """Whether it can apply to a model of which these blocks are trained."""

    @abstractmethod
    def constants(self, objective: Objective, params: PyTree, singular: Float[Array, " row"]) -> Any:
        """The `Constants` at a start, in the precision of what is given; NaN for what is not known.

        Args:
            objective: what is minimised.
            params: the trained blocks at the start.
            singular: the singular values of J there, of `jacobian_modes`.
        """

    @abstractmethod
    def decay(self, step: Any, constants: Any) -> Any:
        """d with f_{t+1} <= (1 - d) f_t at every step of such a size.

        Args:
            step: its size, a number or an array.
            constants: the `Constants`, numbers or arrays.
        """

    @abstractmethod
    def obstacle(self, facts: Facts) -> Obstacle | None:
        """The assumption that fails at a start; `None` where the theorem applies."""

    @abstractmethod
    def detail(self, facts: Facts, row: CertificateRow, tolerance: float) -> str:
        """What else is worth saying beside the row."""

    @abstractmethod
    def promises(self, case: str, trajectories: Sequence[Trajectory]) -> list[Claim]:
        """What the theorem promises of certified lanes, held against runs.

        Args:
            case: what the runs have in common, such as their kernel.
            trajectories: with the probes `loss`, `step_size`, one of its constants under its `id`, and those that its
                docstring names.
        """

    def numbers(self, facts: Facts) -> Any:
        """The `Constants` that were measured at a start, as numbers."""
        return self.Constants(**facts.constants[self.id])

    def row(self, facts: Facts, tolerance: float) -> CertificateRow:
        """The answer at a start.

        Args:
            facts: what was measured there.
            tolerance: the loss, relative to the start, to which steps are predicted.
        """
        row, constants = CertificateRow(self.name, self.page, applies=False), self.numbers(facts)
        obstacle = self.obstacle(facts)
        if obstacle is not None:
            row = dataclasses.replace(row, obstacle=obstacle.words, factor=obstacle.factor)
            return dataclasses.replace(row, detail=self.detail(facts, row, tolerance))
        short = rounded_down(constants.step)
        steps = _geometric(self.decay(short, constants), tolerance)
        if not (short > 0 and math.isfinite(steps)):
            row = dataclasses.replace(row, obstacle="its constants are beyond the range of double precision")
        else:
            row = dataclasses.replace(row, applies=True, step=short, steps=rounded_up(steps))
        row = dataclasses.replace(row, factor=constants.ratio)
        return dataclasses.replace(row, detail=self.detail(facts, row, tolerance))


def _geometric(decay: float, tolerance: float) -> float:
    """Steps after which (1 - decay)^t is at most the tolerance."""
    if decay >= 1:
        return 1.0
    return float(math.ceil(math.log(tolerance) / math.log1p(-decay))) if decay > 0 else math.inf


def exceeded(words: str, ratio: float) -> Obstacle | None:
    """The obstacle of a ratio above 1, or one that is not a number."""
    if ratio <= 1:
        return None
    if not math.isfinite(ratio):
        return Obstacle(f"{words}, by more than double precision can say")
    return Obstacle(words, ratio)


def jacobian_obstacle(facts: Facts, beta: float) -> Obstacle | None:
    """What stands in the way of a certificate that bounds how fast J changes, before its numbers are compared.

    Args:
        facts: what was measured at the start.
        beta: the bound; NaN where none is known.
    """
    if facts.rank < facts.rows:
        whole = "the Jacobian of the trained blocks has not full row rank"
        return Obstacle(whole if facts.rank == facts.possible else facts.below)
    if math.isnan(beta):
        return Obstacle(f"no bound of the second derivative is known for {facts.kernel}")
    return None


class Certified(AbstractProbe):
    """The constants of a certificate at a point; certified where `ratio` is at most 1.

    Args:
        certificate: whose.
        when: the steps at which they are recorded.
    """

    certificate: AbstractCertificate
    when: AbstractSchedule = At((0,))

    def __call__(self, point: Point) -> Array:
        """Its `Constants`, stacked."""
        full_batch(point.data, f"the constants of {self.certificate.name}")
        return in_float64(self._constants, point)

    def _constants(self, objective: Objective, params: PyTree) -> Array:
        return jnp.stack(self.certificate.constants(objective, params, jacobian_modes(objective, params)[0]))

    def axes(self, params: PyTree) -> tuple[Axis, ...]:
        """The constants."""
        del params
        return (Axis("quantity", self.certificate.Constants._fields),)

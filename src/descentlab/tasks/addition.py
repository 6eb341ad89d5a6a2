"""Addition of two numbers written as tokens: a language whose next token can be computed."""

from abc import abstractmethod

import jax
import jax.numpy as jnp

from descentlab._check import UNROLLED, at_most, positive
from descentlab._definition import Definition
from descentlab._types import Array, Float, Int, PRNGKeyArray, PyTree
from descentlab.losses import AbstractLossFunction, CrossEntropy, SquaredError
from descentlab.objective import Examples
from descentlab.tasks.base import AbstractTask

__all__ = ["AbstractAnswer", "Addition", "NextDigits", "SamePlaces"]

PLUS, EQUALS, SYMBOLS = 10, 11, 12

NINES = 0.2
"""Probability that a batch has columns made to sum to 9, and the share of its columns that then do."""


class AbstractAnswer(Definition):
    """What is wanted of the outputs at the places before the tokens of the answer."""

    @property
    @abstractmethod
    def loss_function(self) -> AbstractLossFunction:
        """How outputs are compared with it."""

    @abstractmethod
    def __call__(self, symbols: Int[Array, "batch time"], places: slice) -> Array:
        """The targets.

        Args:
            symbols: whole sequences, numbers below 12.
            places: those whose outputs are compared.
        """


class NextDigits(AbstractAnswer):
    """The digit that follows, by cross-entropy."""

    @property
    def loss_function(self) -> CrossEntropy:
        """How outputs are compared with it."""
        return CrossEntropy()

    def __call__(self, symbols: Int[Array, "batch time"], places: slice) -> Int[Array, "batch digits"]:
        """The digits of the sum."""
        return jnp.roll(symbols, -1, axis=1)[:, places]


class SamePlaces(AbstractAnswer):
    """The symbol at the place itself, one-hot, by least squares: it is copied, nothing is added.

    An oddity of published code, kept so that its numbers can be compared. There the squares are summed; the loss here,
    as everywhere in the package, is that sum over 2N.
    """

    @property
    def loss_function(self) -> SquaredError:
        """How outputs are compared with it."""
        return SquaredError()

    def __call__(self, symbols: Int[Array, "batch time"], places: slice) -> Float[Array, "batch digits symbols"]:
        """One-hot vectors of the symbols at the places."""
        return jax.nn.one_hot(symbols[:, places], SYMBOLS)


class Addition(AbstractTask):
    r"""Sequences $x_1 \dots x_d + y_1 \dots y_d = z_0 z_1 \dots z_d$ of two numbers and their sum, leading digit first.

    Digits of x and y are uniform. With probability 1/5 a batch has a fifth of the digits of one of the two numbers
    replaced so that their column sums to 9, where a carry from the right decides two digits at once. Symbols are the
    digits, 10 for plus and 11 for equals. Tokens are symbols plus one, since token 0 is padding: a model needs 13 rows
    of embeddings, of which the first is never read, and 12 outputs, at the places `answered` only.

    Args:
        digits: d of either number.
        answer: what is wanted of the outputs.

    Raises:
        Mistake: if `digits` is not above 0.

    References:
        Quirke and Barez (2024), arXiv:2310.13121; as used by Ormaniec et al. (2024), arXiv:2410.10986.
    """

    digits: int = 5
    answer: AbstractAnswer = NextDigits()

    def __check_init__(self):
        positive(self, "digits")
        at_most(self, "digits", UNROLLED, "every digit is compiled on its own")

    @property
    def loss_function(self) -> AbstractLossFunction:
        """How outputs are compared with targets."""
        return self.answer.loss_function

    @property
    def vocabulary(self) -> int:
        """Tokens are below this."""
        return SYMBOLS + 1

    @property
    def classes(self) -> int:
        """Outputs a place."""
        return SYMBOLS

    @property
    def answered(self) -> tuple[int, int]:
        """The places whose outputs are compared, from equals to the last token but one, as bounds of a slice."""
        return -(self.digits + 2), -1

    def sample(self, count: int, world: PyTree, *, key: PRNGKeyArray) -> Examples:
        """Token sequences with what is wanted at the places of the answer."""
        del world
        symbols = self._symbols(count, key)
        return Examples(symbols + 1, self.answer(symbols, slice(*self.answered)))

    def _symbols(self, count: int, key: PRNGKeyArray) -> Int[Array, "batch time"]:
        first, second = self._operands(count, key)
        columns, carry = [], jnp.zeros(count, jnp.int32)
        for column in reversed(range(self.digits)):
            total = first[:, column] + second[:, column] + carry
            columns.append(total % 10)
            carry = total // 10
        plus, equals = (jnp.full((count, 1), symbol, jnp.int32) for symbol in (PLUS, EQUALS))
        total = jnp.stack([carry, *reversed(columns)], axis=1)
        return jnp.concatenate([first, plus, second, equals, total], axis=1)

    def _operands(self, count: int, key: PRNGKeyArray) -> Int[Array, "two batch digits"]:
        keys = jax.random.split(key, 4)
        drawn = jax.random.randint(keys[0], (2, count, self.digits), 0, 10, jnp.int32)
        which = jax.random.randint(keys[1], (), 0, 2)
        size = count * self.digits
        chosen = jax.random.permutation(keys[2], jnp.arange(size) < int(NINES * size)).reshape(count, self.digits)
        nines = jnp.where(chosen & jax.random.bernoulli(keys[3], NINES), 9 - drawn[1 - which], drawn[which])
        return drawn.at[which].set(nines)

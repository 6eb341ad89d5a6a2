"""Windows of a text, byte by byte: real, correlated tokens with repeated content."""

from abc import abstractmethod
from importlib import resources

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab._check import bytes_in_a_row, not_negative, positive, real
from descentlab._definition import Definition
from descentlab._types import Array, Float, Int, PRNGKeyArray, PyTree
from descentlab.given import Given
from descentlab.mistake import Mistake
from descentlab.objective import Examples
from descentlab.tasks.base import AbstractTask

__all__ = ["AbstractByteTarget", "LetterClass", "TextWindows", "Vowel", "bundled_text"]

_VOWELS = np.isin(np.arange(256), np.frombuffer(b"aeiouAEIOU", dtype=np.uint8))
_LETTERS = np.isin(np.arange(256), [byte for byte in range(128) if chr(byte).isalpha()])
_SPACES = np.isin(np.arange(256), np.frombuffer(b" \t\r\n", dtype=np.uint8))


def bundled_text() -> Given:
    """The text that comes with the package.

    It is Letter I of Mary Wollstonecraft Shelley, *Frankenstein; or, The Modern Prometheus* (1818; punctuation and
    spelling of later editions), which is in the public domain.
    """
    data = resources.files("descentlab.tasks").joinpath("frankenstein.txt").read_bytes()
    return Given("frankenstein.txt", np.frombuffer(data, dtype=np.uint8))


class AbstractByteTarget(Definition):
    """What is wanted of a token, read off the byte that follows it."""

    @abstractmethod
    def __call__(self, following: Int[Array, "batch time"]) -> Float[Array, "batch time out"]:
        """Targets of the tokens before the given bytes."""


class Vowel(AbstractByteTarget):
    """+1 where a vowel follows, -1 elsewhere: one output a token."""

    def __call__(self, following: Int[Array, "batch time"]) -> Float[Array, "batch time out"]:
        """Targets of the tokens before the given bytes."""
        return jnp.where(jnp.asarray(_VOWELS)[following], 1.0, -1.0)[..., None]


class LetterClass(AbstractByteTarget):
    """One-hot class of the byte that follows: vowel, other letter, space, anything else; four outputs a token."""

    def __call__(self, following: Int[Array, "batch time"]) -> Float[Array, "batch time out"]:
        """Targets of the tokens before the given bytes."""
        rest = ~(_LETTERS | _SPACES)
        classes = np.stack([_VOWELS, _LETTERS & ~_VOWELS, _SPACES, rest], axis=-1).astype(np.float64)
        return jnp.asarray(classes, dtype=jnp.result_type(float))[following]


class TextWindows(AbstractTask):
    r"""Windows of consecutive bytes of a text, at distinct random places.

    Token k of a window is $(E_{b_k} + p\,P_k)/\sqrt{1 + p^2}$ with $b_k$ its byte, $E$ a fixed random byte embedding,
    $P$ fixed random positions (entries of both with variance $1/D$) and p the `position_scale`. With p > 0 no two
    tokens of a window are equal; with p = 0 equal bytes are equal tokens.

    Args:
        text: the text as bytes (uint8); any encoding will do.
        window: bytes n of a window.
        dim: token width D.
        target: what is read off the byte that follows a token.
        position_scale: weight p of the positions.

    Raises:
        Mistake: if a size is not above 0, or the text is no row of bytes, or too short for one window.
    """

    text: Given = eqx.field(default_factory=bundled_text)
    window: int = 8
    dim: int = 32
    target: AbstractByteTarget = Vowel()
    position_scale: float = eqx.field(default=1.0, converter=real)

    def __check_init__(self):
        positive(self, "window")
        positive(self, "dim")
        not_negative(self, "position_scale")
        bytes_in_a_row(self, "text")
        self._places(1)

    @property
    def width(self) -> int:
        """Numbers a token."""
        return self.dim

    @property
    def distinct(self) -> int:
        """How many windows there are."""
        return self._places(1)

    def _places(self, count: int) -> int:
        """Number of places where a window and the byte after it fit; raises where they are fewer than `count`."""
        length = self.text.value.shape[0]
        places = max(0, length - self.window)
        if places < count:
            raise Mistake(
                f"the text {self.text.name!r} must have at least {count + self.window} bytes for {count} windows of "
                f"{self.window}, got {length}; give a longer text, fewer samples or a smaller window"
            )
        return places

    def _bytes(self, count: int, key: PRNGKeyArray) -> Int[Array, "batch bytes"]:
        starts = jax.random.choice(key, self._places(count), (count,), replace=False)
        text = jnp.asarray(self.text.value)
        return text[starts[:, None] + jnp.arange(self.window + 1)].astype(jnp.int32)

    def sample(self, count: int, world: PyTree, *, key: PRNGKeyArray) -> Examples:
        """The embedded windows of distinct places, with the targets of every token."""
        del world
        read = self._bytes(count, key)
        table = jax.random.normal(jax.random.key(0), (256, self.dim)) / jnp.sqrt(1.0 * self.dim)
        positions = jax.random.normal(jax.random.key(1), (self.window, self.dim)) / jnp.sqrt(1.0 * self.dim)
        tokens = (table[read[:, :-1]] + self.position_scale * positions) / jnp.sqrt(1 + self.position_scale**2)
        return Examples(tokens, self.target(read[:, 1:]))

"""Made sequences that need attention: which symbol follows the mark most often?"""

import numpy as np

from descentlab._check import positive
from descentlab.datasets.base import AbstractDataset
from descentlab.objective import Examples, Splits

__all__ = ["Marked"]


class Marked(AbstractDataset):
    """Sequences of random symbols and marks; the class is the symbol that follows a mark most often.

    A sequence whose most frequent follower is not unique is drawn again. A third of the tokens are marks.

    Args:
        tokens: of a sequence.
        symbols: number of symbols and classes; tokens 1 to `symbols`, the mark is one more.
        train: number of sequences to train on.
        development: number of sequences for calibration.
        test: number of sequences for the test.
        seed: of the random numbers.

    Raises:
        Mistake: if a number is not above 0.
    """

    tokens: int = 24
    symbols: int = 4
    train: int = 20_000
    development: int = 1024
    test: int = 4096
    seed: int = 0

    def __check_init__(self):
        for name in ("tokens", "symbols", "train", "development", "test"):
            positive(self, name)

    def load(self) -> Splits:
        """The sequences, int16 of axes example and time, and their int32 classes."""
        random = np.random.default_rng(self.seed)
        return Splits(*(self._drawn(random, count) for count in (self.train, self.development, self.test)))

    def _drawn(self, random: np.random.Generator, count: int) -> Examples:
        kept: list[tuple[np.ndarray, np.ndarray]] = []
        while sum(len(one) for one, _ in kept) < count:
            tokens = random.integers(1, self.symbols + 1, (2 * count, self.tokens))
            tokens = np.where(random.random(tokens.shape) < 1 / 3, self.symbols + 1, tokens)
            follows = tokens[:, :-1] == self.symbols + 1
            counts = np.stack([(follows & (tokens[:, 1:] == 1 + s)).sum(axis=1) for s in range(self.symbols)], axis=1)
            ordered = np.sort(counts, axis=1)
            unique = ordered[:, -1] > ordered[:, -2] if self.symbols > 1 else np.ones(len(tokens), dtype=bool)
            kept.append((tokens[unique], counts.argmax(axis=1)[unique]))
        inputs, targets = (np.concatenate(part)[:count] for part in zip(*kept, strict=True))
        return Examples(inputs.astype(np.int16), targets.astype(np.int32))

    @property
    def classes(self) -> tuple[str, ...]:
        """The symbols."""
        return tuple(str(symbol) for symbol in range(1, self.symbols + 1))

    @property
    def vocabulary(self) -> int:
        """Symbols, the mark, and padding."""
        return self.symbols + 2

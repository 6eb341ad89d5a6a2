"""A data set that needs no files."""

import numpy as np

from descentlab.datasets import AbstractDataset
from descentlab.objective import Examples, Splits


class Counting(AbstractDataset):
    """Tokens 1 to 4 followed by padding; the class says whether more ones than twos stand among them.

    Args:
        time: tokens of a sequence.
        train: training examples; there are half as many in the other parts.
    """

    time: int = 6
    train: int = 40

    def load(self) -> Splits:
        return Splits(
            *(self._part(seed, count) for seed, count in enumerate((self.train, self.train // 2, self.train // 2)))
        )

    def _part(self, seed, count):
        random = np.random.default_rng(seed)
        tokens = random.integers(1, 5, (count, self.time))
        lengths = random.integers(2, self.time + 1, count)
        tokens[np.arange(self.time) >= lengths[:, None]] = 0
        classes = (tokens == 1).sum(axis=1) > (tokens == 2).sum(axis=1)
        return Examples(tokens.astype(np.int16), classes.astype(np.int32))

    @property
    def classes(self):
        return ("fewer", "more")

    @property
    def vocabulary(self):
        return 5

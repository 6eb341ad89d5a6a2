"""Made sequences whose class is the most frequent follower of a mark."""

import numpy as np

from descentlab.datasets import Marked


def test_sequences_have_the_class_that_counting_gives():
    found = Marked(tokens=9, symbols=3, train=40, development=8, test=8)
    splits = found.load()
    for tokens, target in zip(*splits.train[:2], strict=True):
        follows = [int(tokens[i + 1]) for i in range(8) if tokens[i] == 4 and tokens[i + 1] != 4]
        counts = [follows.count(symbol) for symbol in (1, 2, 3)]
        assert counts[target] == max(counts)
        assert counts.count(max(counts)) == 1
    assert splits.train.inputs.min() >= 1
    assert splits.train.inputs.max() < found.vocabulary
    assert found.classes == ("1", "2", "3")
    assert np.array_equal(found.load().test.inputs, splits.test.inputs)

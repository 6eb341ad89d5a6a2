"""What holds for every data set: balanced shapes, padding at the end only, classes and tokens within their range."""

import numpy as np
import platformdirs
import pytest

from descentlab.datasets import AbstractDataset, folder
from support import members


class NotHere(Exception):
    """A data set would be downloaded."""


def not_here(names, source):
    raise NotHere(f"needs {names[0]} in the folder that {folder.VARIABLE} names")


@pytest.mark.parametrize("member", members.examples(AbstractDataset), ids=members.name)
def test_a_data_set_gives_padded_tokens_and_the_numbers_of_classes(member, tmp_path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path))
    monkeypatch.setattr(folder, "_download", not_here)
    try:
        splits = member.load()
    except NotHere as reason:
        pytest.skip(str(reason))
    assert len(splits.train.inputs) > 0
    for inputs, targets, *_ in splits:
        assert len(inputs) == len(targets)
        assert targets.dtype == np.int32
        assert set(targets.tolist()) <= set(range(len(member.classes)))
        assert inputs.shape[1:] == splits.train.inputs.shape[1:]
        if member.vocabulary is None:
            assert inputs.ndim == 3
            assert np.all(np.isfinite(inputs))
        else:
            assert inputs.ndim == 2
            assert np.issubdtype(inputs.dtype, np.integer)
            assert np.all((inputs >= 0) & (inputs < member.vocabulary))
            assert np.all(inputs[:, 0] > 0)
            assert not np.any((inputs[:, :-1] == 0) & (inputs[:, 1:] > 0))
    again = member.load()
    for one, other in zip(splits, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))

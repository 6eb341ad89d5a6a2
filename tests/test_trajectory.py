"""Records by name, step and label."""

import numpy as np
import pytest

from descentlab.status import Status
from descentlab.trajectory import Series, Trajectory, joined

STEPS = np.array([0, 1, 5])


def trajectory(seed, status=Status.FINISHED):
    values = seed + np.arange(6.0).reshape(1, 3, 2)
    return Trajectory(
        seeds=(seed,),
        series={"norm": Series(STEPS, values, ("query", "key")), "loss": Series(STEPS, values[..., 0])},
        final={"query": np.full((1, 2), seed)},
        status=(status,),
        ended=(-1 if status == Status.FINISHED else 5,),
    )


def test_lanes_are_joined_in_order_and_taken_apart_again():
    both = joined([trajectory(3), trajectory(8, Status.DIVERGED)])
    assert both.seeds == (3, 8)
    assert both.finished.tolist() == [True, False]
    back = both.lanes(np.array([1]))
    assert back.seeds == (8,)
    assert back.ended == (5,)
    np.testing.assert_array_equal(back["norm"].values, trajectory(8)["norm"].values)
    np.testing.assert_array_equal(both.lanes(np.array([1, 0])).final["query"], [[8, 8], [3, 3]])


def test_records_are_found_by_label_and_step():
    series = trajectory(0)["norm"]
    assert series["key"].tolist() == [[1, 3, 5]]
    assert series.at(5).tolist() == [[4, 5]]
    assert series.before(1).values.tolist() == [[[0, 1], [2, 3]]]
    assert series.before(1).labels == ("query", "key")


def test_what_was_not_recorded_is_named_with_what_was():
    with pytest.raises(KeyError, match="did you mean loss"):
        trajectory(0)["los"]
    with pytest.raises(KeyError, match="did you mean query"):
        trajectory(0)["norm"]["quer"]
    with pytest.raises(KeyError, match="step 2 was not recorded"):
        trajectory(0)["norm"].at(2)


def test_every_status_has_a_sentence():
    assert len({status.sentence for status in Status}) == len(Status)

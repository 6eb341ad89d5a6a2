"""Which steps are recorded."""

import numpy as np
import pytest

from descentlab.schedule import At, Every, LogSpaced


def test_every_kth_step_and_the_last():
    assert Every(4).steps(10).tolist() == [0, 4, 8, 10]
    assert Every().steps(3).tolist() == [0, 1, 2, 3]
    assert Every(100).steps(3).tolist() == [0, 3]


def test_given_steps_within_the_run():
    assert At((7, 0, 7, 30)).steps(10).tolist() == [0, 7]
    assert At(()).steps(10).tolist() == []


@pytest.mark.parametrize("per_decade", [1, 3, 100])
def test_a_decade_holds_a_bounded_number_of_steps(per_decade):
    steps = LogSpaced(per_decade).steps(100_000)
    assert steps[0] == 0
    assert steps[-1] == 100_000
    for decade in range(5):
        within = (steps > 10**decade) & (steps <= 10 ** (decade + 1))
        assert 1 <= within.sum() <= per_decade
    gaps = np.diff(np.log10(steps[1:]))
    assert gaps.max() <= max(np.log10(2), 1.5 / per_decade)


@pytest.mark.parametrize("last", [0, 1, 2])
def test_short_runs_are_recorded_whole(last):
    for schedule in (Every(), LogSpaced(), LogSpaced(3)):
        assert schedule.steps(last).tolist() == list(range(last + 1))


@pytest.mark.parametrize("make", [lambda: Every(0), lambda: LogSpaced(0), lambda: At((-1,))])
def test_impossible_schedules_are_refused(make):
    with pytest.raises(ValueError, match="must"):
        make()

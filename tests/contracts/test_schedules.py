"""What holds for every schedule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descentlab.schedule import AbstractSchedule
from support import members


@pytest.mark.parametrize("schedule", members.examples(AbstractSchedule), ids=members.name)
@settings(max_examples=25, deadline=None)
@given(last=st.one_of(st.integers(0, 30), st.integers(0, 20_000)))
def test_steps_are_sorted_distinct_and_within_the_run(schedule, last):
    steps = schedule.steps(last)
    assert np.issubdtype(steps.dtype, np.integer)
    assert np.all(np.diff(steps) > 0)
    assert steps.size == 0 or (steps[0] >= 0 and steps[-1] <= last)
    assert np.array_equal(steps, schedule.steps(last))

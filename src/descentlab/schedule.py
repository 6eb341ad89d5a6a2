"""When a probe records: `Every`, `At`, `LogSpaced`, `AtEnd`.

How many records there are is known before a run, so buffers have a known size.
"""

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from descentlab._check import positive
from descentlab._definition import Untraced
from descentlab.mistake import Mistake

__all__ = ["AbstractSchedule", "At", "AtEnd", "Every", "LogSpaced"]


class AbstractSchedule(Untraced):
    """Which steps of a run are recorded.

    Attributes:
        at_end: whether the one record is of the point where each lane ends, whenever that is.
    """

    at_end: ClassVar[bool] = False

    @abstractmethod
    def steps(self, last: int) -> np.ndarray:
        """Sorted distinct steps between 0 and `last`, both included."""

    def most(self, last: int) -> int:
        """A number that the records until `last` do not exceed; the schedules here find it without listing steps."""
        return len(self.steps(last))


class Every(AbstractSchedule):
    """Steps 0, k, 2k, ... and the last one.

    Args:
        k: distance between records, in steps.
    """

    k: int = 1

    def __check_init__(self):
        positive(self, "k")

    def steps(self, last: int) -> np.ndarray:
        """Sorted distinct steps between 0 and `last`, both included."""
        return np.union1d(np.arange(0, last + 1, self.k), [last])

    def most(self, last: int) -> int:
        """A number that the records until `last` do not exceed."""
        return last // self.k + 2


class At(AbstractSchedule):
    """The given steps, those beyond the last one left out.

    Args:
        at: the steps; 0 is the start.
    """

    at: tuple[int, ...] = (0,)

    def __check_init__(self):
        if any(step < 0 for step in self.at):
            raise Mistake(f"At.at must hold steps of at least 0, got {self.at}")

    def steps(self, last: int) -> np.ndarray:
        """Sorted distinct steps between 0 and `last`, both included."""
        steps = np.unique(np.asarray(self.at, dtype=np.int64))
        return steps[steps <= last]

    def most(self, last: int) -> int:
        """A number that the records until `last` do not exceed."""
        del last
        return len(self.at)


class AtEnd(AbstractSchedule):
    """The point where each lane ends: the last step, or the one at which it diverged or reached what it ran for.

    Lanes end at steps of their own (`Trajectory.ended`); the record of all is counted as that of the last step.
    """

    at_end: ClassVar[bool] = True

    def steps(self, last: int) -> np.ndarray:
        """The last step, at which a lane ends that nothing stops before."""
        return np.asarray([last])


class LogSpaced(AbstractSchedule):
    """Steps 0, 1, 2, ... with a bounded number in each decade, and the last one.

    Args:
        per_decade: records in a factor of ten; small steps are all there as long as they are fewer.
    """

    per_decade: int = 100

    def __check_init__(self):
        positive(self, "per_decade")

    def steps(self, last: int) -> np.ndarray:
        """Sorted distinct steps between 0 and `last`, both included."""
        if self.per_decade > np.log(10) * last:  # neighbours would lie less than a step apart
            return np.arange(last + 1)
        decades = np.log10(max(last, 1))
        spaced = np.logspace(0, decades, int(np.ceil(decades * self.per_decade)) + 1)
        steps = np.union1d(np.round(spaced).astype(np.int64), [0, last])
        return steps[steps <= last]

    def most(self, last: int) -> int:
        """A number that the records until `last` do not exceed."""
        return min(last + 1, self.per_decade * len(str(last)) + 3)

"""How a run ended. A numerical failure is a status, not an exception."""

import enum


class Status(enum.IntEnum):
    """The state of one lane of a run; `sentence` says it in words."""

    FINISHED = 0
    DIVERGED = 1
    INACCURATE = 2
    REACHED = 3

    @property
    def sentence(self) -> str:
        """What this status means."""
        return {
            Status.FINISHED: "all steps were made",
            Status.DIVERGED: "the loss stopped being a finite number",
            Status.INACCURATE: "the step could not be made to its tolerance",
            Status.REACHED: "the stopping rule held",
        }[self]

"""What theorems take for granted of the examples: the same at every step, and all count the same."""

from descentlab.data import AbstractData, FullBatch
from descentlab.mistake import Mistake
from descentlab.objective import Objective

__all__ = ["all_alike", "full_batch"]


def full_batch(data: AbstractData | None, what: str) -> None:
    """Raise unless a run has the same examples at every step; where it is not known how it is fed, it is believed.

    Args:
        data: of the run.
        what: speaks of such runs only, as the subject of a sentence in the plural.

    Raises:
        Mistake: if it has not.
    """
    if data is not None and not isinstance(data, FullBatch):
        raise Mistake(f"{what} are for a FullBatch, got {type(data).__name__}; change Experiment.data, or leave it out")


def all_alike(objective: Objective) -> None:
    """Raise where examples have weights.

    Raises:
        Mistake: if they have.
    """
    if objective.examples.weights is not None:
        raise Mistake("these bounds are for examples that all count the same, got weights; leave the weights out")

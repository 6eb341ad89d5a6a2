"""A user's own arrays as a task."""

import jax.numpy as jnp
import numpy as np

from descentlab._types import PRNGKeyArray, PyTree
from descentlab.formats import finite
from descentlab.given import Given
from descentlab.mistake import Mistake
from descentlab.objective import Examples
from descentlab.tasks.base import AbstractTask


class Arrays(AbstractTask):
    """Given inputs of shape (N, n, D) with targets of shape (N, n), (N, n, d_o), or (N, d_o) for a pooled read-out.

    Args:
        given_inputs: the examples.
        given_targets: what the model should return for each; (N, n) stands for one output a token.

    Raises:
        Mistake: if shapes disagree, there is nothing in them, or a value is not finite.
    """

    given_inputs: Given
    given_targets: Given

    def __check_init__(self):
        inputs, targets = self.given_inputs.value, self.given_targets.value
        if not isinstance(inputs, np.ndarray) or not isinstance(targets, np.ndarray):
            return
        if inputs.ndim != 3 or 0 in inputs.shape:
            raise Mistake(f"inputs must have shape (samples, tokens, dim), none of them 0, got {inputs.shape}")
        if targets.ndim not in (2, 3) or targets.shape[0] != inputs.shape[0]:
            raise Mistake(
                f"targets must have shape ({inputs.shape[0]}, {inputs.shape[1]}) or ({inputs.shape[0]}, "
                f"{inputs.shape[1]}, outputs) to go with inputs {inputs.shape}, got {targets.shape}"
            )
        for name, array in (("inputs", inputs), ("targets", targets)):
            finite(name, array)

    @property
    def width(self) -> int:
        """Numbers a token."""
        return self.given_inputs.value.shape[-1]

    @property
    def distinct(self) -> int:
        """How many examples there are."""
        return self.given_inputs.value.shape[0]

    def sample(self, count: int, world: PyTree, *, key: PRNGKeyArray) -> Examples:
        """The first `count` given examples.

        Raises:
            Mistake: if there are not so many.
        """
        del world, key
        inputs, targets = self.given_inputs.value, self.given_targets.value
        if count > self.distinct:
            raise Mistake(f"the given arrays hold {self.distinct} samples, {count} were asked for; ask for fewer")
        if targets.ndim == 2 and targets.shape[1] == inputs.shape[1]:
            targets = targets[..., None]
        dtype = jnp.result_type(float)
        return Examples(jnp.asarray(inputs[:count], dtype), jnp.asarray(targets[:count], dtype))

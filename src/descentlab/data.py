"""How a task's examples are put together for training."""

import equinox as eqx

from descentlab._check import positive

__all__ = ["FullBatch"]


class FullBatch(eqx.Module):
    """The same N samples at every step.

    Args:
        samples: N.

    Raises:
        ValueError: if it is not above 0.
    """

    samples: int = 4

    def __check_init__(self):
        positive(self, "samples")

"""What attention kernels cost, for the cost of the models that use them."""

import dataclasses
import functools

from descentlab.attention import AbstractAttention, Linear, NoScaling, ReLU
from descentlab.cost import Kernel
from descentlab.cost.attention import kernel

__all__ = ["kernel_cost"]


@functools.singledispatch
def kernel_cost(attention: AbstractAttention) -> Kernel:
    """What a kernel costs; register your own with `kernel_cost.register`.

    Raises:
        ValueError: if that is not known.
    """
    return kernel(type(attention).__name__)


@kernel_cost.register
def _(attention: Linear | ReLU) -> Kernel:
    """Nothing is multiplied where scores are the products themselves."""
    found = kernel(type(attention).__name__)
    return dataclasses.replace(found, flops=found.flops - isinstance(attention.scaling, NoScaling))

"""What attention kernels cost, for the cost of the models that use them."""

import dataclasses
import functools

from descentlab.attention import AbstractAttention, ALiBi, HeadGaussian, Linear, NoScaling, ReLU
from descentlab.cost import KERNELS, Kernel
from descentlab.cost.attention import kernel

__all__ = ["kernel_cost"]


@functools.singledispatch
def kernel_cost(attention: AbstractAttention) -> Kernel:
    """What a kernel costs; register your own with `kernel_cost.register`.

    Raises:
        Mistake: if that is not known.
    """
    return kernel(type(attention).__name__)


@kernel_cost.register
def _(attention: Linear | ReLU) -> Kernel:
    """Nothing is multiplied where scores are the products themselves."""
    found = kernel(type(attention).__name__)
    return dataclasses.replace(found, flops=found.flops - isinstance(attention.scaling, NoScaling))


@kernel_cost.register
def _(attention: ALiBi) -> Kernel:
    """Softmax, and a slope times a distance that is subtracted."""
    del attention
    return dataclasses.replace(KERNELS["softmax"], flops=KERNELS["softmax"].flops + 2)


@kernel_cost.register
def _(attention: HeadGaussian) -> Kernel:
    """That of the Gaussian kernel: the factor is multiplied anyway."""
    del attention
    return KERNELS["gaussian"]

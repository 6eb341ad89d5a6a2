"""Attention kernels, one file a family."""

from descentlab.attention.base import AbstractAttention as AbstractAttention
from descentlab.attention.chunks import in_chunks as in_chunks
from descentlab.attention.gaussian import Gaussian as Gaussian
from descentlab.attention.gaussian import NormalizedGaussian as NormalizedGaussian
from descentlab.attention.heads import AbstractHeadwise as AbstractHeadwise
from descentlab.attention.heads import ALiBi as ALiBi
from descentlab.attention.heads import HeadGaussian as HeadGaussian
from descentlab.attention.heads import Heads as Heads
from descentlab.attention.heads import over_heads as over_heads
from descentlab.attention.linear import Linear as Linear
from descentlab.attention.linear import ReLU as ReLU
from descentlab.attention.scaling import AbstractScaling as AbstractScaling
from descentlab.attention.scaling import InverseSqrt as InverseSqrt
from descentlab.attention.scaling import NoScaling as NoScaling
from descentlab.attention.scaling import Power as Power
from descentlab.attention.softmax import Softmax as Softmax

"""Architectures, one file each, and how their blocks start."""

from descentlab.models.attention_layer import AbstractReadout as AbstractReadout
from descentlab.models.attention_layer import AttentionLayer as AttentionLayer
from descentlab.models.attention_layer import MeanPool as MeanPool
from descentlab.models.attention_layer import MultiHeadAttention as MultiHeadAttention
from descentlab.models.attention_layer import PerToken as PerToken
from descentlab.models.base import AbstractArchitecture as AbstractArchitecture
from descentlab.models.initializers import AbstractInit as AbstractInit
from descentlab.models.initializers import Fixed as Fixed
from descentlab.models.initializers import Normal as Normal
from descentlab.models.initializers import Orthogonal as Orthogonal
from descentlab.models.initializers import Zero as Zero

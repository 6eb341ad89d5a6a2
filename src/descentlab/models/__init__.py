"""Architectures, one file each, and how their blocks start."""

from descentlab.models.attention_layer import AbstractReadout as AbstractReadout
from descentlab.models.attention_layer import AttentionLayer as AttentionLayer
from descentlab.models.attention_layer import MeanPool as MeanPool
from descentlab.models.attention_layer import MultiHeadAttention as MultiHeadAttention
from descentlab.models.attention_layer import PerToken as PerToken
from descentlab.models.base import AbstractArchitecture as AbstractArchitecture
from descentlab.models.initializers import AbstractInit as AbstractInit
from descentlab.models.initializers import FanIn as FanIn
from descentlab.models.initializers import Fixed as Fixed
from descentlab.models.initializers import Normal as Normal
from descentlab.models.initializers import Orthogonal as Orthogonal
from descentlab.models.initializers import Zero as Zero
from descentlab.models.normalization import AbstractNormalization as AbstractNormalization
from descentlab.models.normalization import LayerNorm as LayerNorm
from descentlab.models.normalization import NoNorm as NoNorm
from descentlab.models.normalization import PostNorm as PostNorm
from descentlab.models.normalization import PreNorm as PreNorm
from descentlab.models.output_layer import AbstractOutputLayer as AbstractOutputLayer
from descentlab.models.output_layer import Classify as Classify
from descentlab.models.output_layer import EachToken as EachToken
from descentlab.models.transformer import GELU as GELU
from descentlab.models.transformer import AbstractActivation as AbstractActivation
from descentlab.models.transformer import Encoder as Encoder
from descentlab.models.transformer import Identity as Identity
from descentlab.models.transformer import Rectifier as Rectifier
from descentlab.models.transformer import Transformer as Transformer

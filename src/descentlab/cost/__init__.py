"""The cost of inference: arithmetic, memory traffic, bounds, a modelled accelerator, mappings, integer arithmetic.

Nothing here depends on training. Only `integer`, `quantized` and `measure` compute with JAX; all else counts.
"""

from descentlab.cost.accelerator import Accelerator as Accelerator
from descentlab.cost.accelerator import Energy as Energy
from descentlab.cost.attention import KERNELS as KERNELS
from descentlab.cost.attention import Kernel as Kernel
from descentlab.cost.config import from_config as from_config
from descentlab.cost.config import read as read
from descentlab.cost.costed import Cost as Cost
from descentlab.cost.costed import cost as cost
from descentlab.cost.model import Model as Model
from descentlab.cost.operators import Elementwise as Elementwise
from descentlab.cost.operators import Matmul as Matmul
from descentlab.cost.operators import convolution as convolution
from descentlab.cost.operators import total as total
from descentlab.cost.precision import Precision as Precision
from descentlab.cost.roofline import MACHINES as MACHINES
from descentlab.cost.roofline import Machine as Machine
from descentlab.cost.setting import Setting as Setting
from descentlab.cost.summary import CostRow as CostRow
from descentlab.cost.summary import breakdown as breakdown
from descentlab.cost.transformer import TransformerSizes as TransformerSizes
from descentlab.cost.transformer import encoder as encoder
from descentlab.cost.transformer import generation as generation

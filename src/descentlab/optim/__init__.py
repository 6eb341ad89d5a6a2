"""Optimizers, one file a family."""

from descentlab.optim.adaptive import Adam as Adam
from descentlab.optim.base import AbstractOptimizer as AbstractOptimizer
from descentlab.optim.base import Update as Update
from descentlab.optim.flow import GradientFlow as GradientFlow
from descentlab.optim.gradient_descent import GD as GD
from descentlab.optim.gradient_descent import GramGD as GramGD
from descentlab.optim.gradient_descent import Momentum as Momentum
from descentlab.optim.line_search import Armijo as Armijo
from descentlab.optim.sign import SignGD as SignGD
from descentlab.optim.wrappers import AbstractRamp as AbstractRamp
from descentlab.optim.wrappers import Clipped as Clipped
from descentlab.optim.wrappers import Cosine as Cosine
from descentlab.optim.wrappers import OneCycle as OneCycle
from descentlab.optim.wrappers import Scheduled as Scheduled

"""Tasks, one file a family."""

from descentlab.tasks.addition import AbstractAnswer as AbstractAnswer
from descentlab.tasks.addition import Addition as Addition
from descentlab.tasks.addition import NextDigits as NextDigits
from descentlab.tasks.addition import SamePlaces as SamePlaces
from descentlab.tasks.arrays import Arrays as Arrays
from descentlab.tasks.base import AbstractTask as AbstractTask
from descentlab.tasks.classification import Classification as Classification
from descentlab.tasks.text_windows import AbstractByteTarget as AbstractByteTarget
from descentlab.tasks.text_windows import LetterClass as LetterClass
from descentlab.tasks.text_windows import TextWindows as TextWindows
from descentlab.tasks.text_windows import Vowel as Vowel
from descentlab.tasks.token_regression import AbstractTarget as AbstractTarget
from descentlab.tasks.token_regression import AbstractTokens as AbstractTokens
from descentlab.tasks.token_regression import GaussianTokens as GaussianTokens
from descentlab.tasks.token_regression import InRange as InRange
from descentlab.tasks.token_regression import Noise as Noise
from descentlab.tasks.token_regression import SoftmaxHull as SoftmaxHull
from descentlab.tasks.token_regression import Teacher as Teacher
from descentlab.tasks.token_regression import TokenRegression as TokenRegression
from descentlab.tasks.token_regression import UnitNorm as UnitNorm

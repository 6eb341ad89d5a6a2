"""What a class of one's own is made with: the base of definitions, and checks of its fields."""

from descentlab._check import finite, not_negative, positive, real
from descentlab._definition import LATER, Definition, DefinitionError

__all__ = ["LATER", "Definition", "DefinitionError", "finite", "not_negative", "positive", "real"]

"""Statements about runs: claims, and one file a certificate."""

from descentlab.theory.endings import EndState as EndState
from descentlab.theory.query_block import QueryBlock as QueryBlock
from descentlab.theory.theorem_b import LipschitzSearch as LipschitzSearch
from descentlab.theory.theorem_b import TheoremB as TheoremB
from descentlab.theory.theorem_c import TheoremC as TheoremC

"""Statements about runs: claims, and one file a certificate."""

from descentlab.theory.certificate import AbstractCertificate as AbstractCertificate
from descentlab.theory.certificate import Certified as Certified
from descentlab.theory.endings import EndState as EndState
from descentlab.theory.lipschitz_search import LipschitzSearch as LipschitzSearch
from descentlab.theory.query_block import QueryBlock as QueryBlock
from descentlab.theory.theorem_a import TheoremA as TheoremA
from descentlab.theory.theorem_a_prime import TheoremAPrime as TheoremAPrime
from descentlab.theory.theorem_b import TheoremB as TheoremB
from descentlab.theory.theorem_c import TheoremC as TheoremC

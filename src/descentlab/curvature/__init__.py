"""Curvature of an objective: its Hessian by blocks, the Gram matrix of its trained blocks, spectra and traces."""

from descentlab.curvature.blocks import BlockDraws as BlockDraws
from descentlab.curvature.blocks import block_draws as block_draws
from descentlab.curvature.density import SpectralDensity as SpectralDensity
from descentlab.curvature.density import spectral_density as spectral_density
from descentlab.curvature.eigen import Eigenpairs as Eigenpairs
from descentlab.curvature.eigen import Krylov as Krylov
from descentlab.curvature.eigen import eigenpairs as eigenpairs
from descentlab.curvature.gram import Gram as Gram
from descentlab.curvature.gram import GramExtremes as GramExtremes
from descentlab.curvature.gram import dense_extremes as dense_extremes
from descentlab.curvature.gram import krylov_extremes as krylov_extremes
from descentlab.curvature.gram import largest_eigenvalue as largest_eigenvalue
from descentlab.curvature.operators import AbstractCurvature as AbstractCurvature
from descentlab.curvature.operators import Block as Block
from descentlab.curvature.operators import EmpiricalFisher as EmpiricalFisher
from descentlab.curvature.operators import Functional as Functional
from descentlab.curvature.operators import GaussNewton as GaussNewton
from descentlab.curvature.operators import Hessian as Hessian
from descentlab.curvature.operators import Operator as Operator
from descentlab.curvature.operators import Preconditioned as Preconditioned
from descentlab.curvature.operators import dense as dense
from descentlab.curvature.traces import diagonal as diagonal
from descentlab.curvature.traces import frobenius_squared as frobenius_squared
from descentlab.curvature.traces import trace as trace
from descentlab.curvature.traces import widening as widening

"""Curvature of the objective: the Gram matrix of the trained blocks, and the Hessian."""

from descentlab.curvature.gram import GramExtremes as GramExtremes
from descentlab.curvature.gram import dense_extremes as dense_extremes
from descentlab.curvature.gram import gram_product as gram_product
from descentlab.curvature.gram import lanczos_extremes as lanczos_extremes
from descentlab.curvature.gram import largest_eigenvalue as largest_eigenvalue
from descentlab.curvature.hessian import hessian_product as hessian_product
from descentlab.curvature.hessian import sharpness as sharpness

r"""What does the Hessian of a Transformer's loss look like at its start, block by block, and what makes it so?

Ormaniec et al. (2024) derive the exact Hessian of an attention layer and find that its blocks are unlike those of other
networks: with inputs of size $\sigma$ the value block's Hessian is of order 2 in $\sigma$, the query block's of order
3 to 6, and both softmax and the product of query and key make the latter indefinite. Normalisation tames the
difference. All their experiments are at the start of training: a Transformer on the addition of two five-digit numbers.

*Theorems* holds the formulas against automatic differentiation. *Heterogeneity* looks at the Hessian of a small layer
entry by entry. *Growth* follows the Frobenius norms of the query and the value block, and of the two parts of the
Hessian, as embeddings grow, without normalisation and with pre-norm. *Depth* does so for several layers, for linear
attention, and for a linear network. The Gaussian kernel stands beside softmax everywhere: its rows are not normalised
and its exponent is quadratic in the query, which changes the powers. *Training* goes beyond the start: how sharpness,
indefiniteness and the disparity of the blocks evolve under gradient descent, Adam and sign descent.
"""

from descentlab.attention import Gaussian, Softmax
from descentlab.studies.ormaniec2024_hessian import depth, growth, heterogeneity, theorems, training
from descentlab.studies.ormaniec2024_hessian.findings import FINDINGS
from descentlab.studies.ormaniec2024_hessian.setting import BASE, with_kernel
from descentlab.study import Study

study = Study(
    name="ormaniec2024_hessian",
    title="The Hessian of a Transformer, block by block",
    question=__doc__ or "",
    paper="Ormaniec, Dangel, Singh (2024), arXiv:2410.10986",
    base=BASE,
    axis=("model.attention", (with_kernel(Softmax()), with_kernel(Gaussian()))),
    sections=(theorems.section, heterogeneity.section, growth.section, depth.section, training.section),
    findings=FINDINGS,
)

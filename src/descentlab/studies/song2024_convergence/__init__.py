"""When does gradient descent train one Transformer layer, how fast, and what decides it?

Song et al. (2024) ask which attention layers gradient descent trains to a global optimum, and which initial conditions
make it fast. We train a single layer of multi-head attention, with the softmax and with the Gaussian kernel, on a
target for every token, and hold theorems against the runs: a sharp threshold HD >= Nn for the value block, the
exact rate of its training, what heads and width buy, joint training of query, key and value, certificates that say in
advance that training succeeds, degenerate starts, and windows of real text.

N samples have n tokens of width D each; H is the number of heads. The loss is f = 1/(2N) times the sum of squared
residuals, J the Jacobian of the scaled residual in the trained blocks, K = J J^T, and B the attention-feature matrix
[S_1 X, ..., S_H X] / sqrt(N). "Zero loss" means f <= 1e-20 f_0 in float64.
"""

from descentlab.studies.song2024_convergence import certificates, degenerate, joint, text, value_block
from descentlab.studies.song2024_convergence.experiments import BASE, KERNELS
from descentlab.studies.song2024_convergence.findings import FINDINGS
from descentlab.study import Study

study = Study(
    name="song2024_convergence",
    title="When gradient descent trains one Transformer layer",
    question=__doc__ or "",
    paper="Song, Han, Zhang, Ding, Hong (2024), arXiv:2411.07538",
    base=BASE,
    axis=("model.attention", KERNELS),
    sections=(value_block.section, joint.section, certificates.section, degenerate.section, text.section),
    findings=FINDINGS,
)

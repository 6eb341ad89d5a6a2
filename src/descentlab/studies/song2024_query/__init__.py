"""What happens when the query block alone is trained, with the softmax and with the Gaussian kernel?

Song et al. (2024) compare the two attention kernels where a single block moves, and say that softmax may end in a
suboptimal solution where the Gaussian kernel does not. We hold the Gram matrix of the query block and the PL bound that
follows from it against runs; build the obstructions of softmax and the limits of the Gaussian kernel one by one; and
search for spurious end states: thousands of starts, each end state polished to a stationary point and classified as
zero loss, strict local minimum, saddle, drifting to infinity, degenerate or not converged.

N samples have n tokens of width D each; H heads have width d. With D >= Nn independent tokens the query of every
token can be moved on its own. Key, value and output blocks stay as they start.
"""

from descentlab.studies.song2024_query import gram, limits, obstructions, reduced, search
from descentlab.studies.song2024_query.experiments import BASE, KERNELS
from descentlab.studies.song2024_query.findings import FINDINGS
from descentlab.study import Study

study = Study(
    name="song2024_query",
    title="Training the query block alone",
    question=__doc__ or "",
    paper="Song, Han, Zhang, Ding, Hong (2024), arXiv:2411.07538",
    base=BASE,
    axis=("model.attention", KERNELS),
    sections=(gram.section, obstructions.section, limits.section, reduced.section, search.section),
    findings=FINDINGS,
    figure=search.reached,
)
